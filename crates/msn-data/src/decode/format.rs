//! The formats of encoded images, told apart by their first bytes.

use image::ImageFormat;

use super::pnm;
use crate::DecodeError;

/// A format of encoded images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    WebP,
    /// Windows bitmap.
    Bmp,
    /// TIFF.
    Tiff,
    /// GIF.
    Gif,
    /// Binary PPM or PGM: what sources of bare pixels (CIFAR, IDX) give.
    Pnm,
}

impl Format {
    /// The format of these bytes, whatever the name of the file is.
    ///
    /// # Errors
    /// [`DecodeError::Empty`] and [`DecodeError::UnknownFormat`], with the first bytes.
    pub fn of(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Err(DecodeError::Empty);
        }
        if pnm::accepts(bytes) {
            return Ok(Self::Pnm);
        }
        let guessed = image::guess_format(bytes).ok().filter(|&guessed| guessed != ImageFormat::Pnm);
        let found = FORMATS.iter().find(|(_, library, ..)| Some(*library) == guessed);
        found.map(|&(format, ..)| format).ok_or_else(|| {
            let first: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
            DecodeError::UnknownFormat { found: first.join(" ") }
        })
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// How files of this format end, without the dot.
    pub fn extension(self) -> &'static str {
        self.row().3
    }

    /// What the `image` crate calls it.
    pub(super) fn library(self) -> ImageFormat {
        self.row().1
    }

    fn row(self) -> &'static (Self, ImageFormat, &'static str, &'static str) {
        FORMATS.iter().find(|(format, ..)| *format == self).expect("every format has a row")
    }
}

/// Each format as the `image` crate knows it, its name, and how its files end.
const FORMATS: [(Format, ImageFormat, &str, &str); 7] = [
    (Format::Jpeg, ImageFormat::Jpeg, "JPEG", "jpg"),
    (Format::Png, ImageFormat::Png, "PNG", "png"),
    (Format::WebP, ImageFormat::WebP, "WebP", "webp"),
    (Format::Bmp, ImageFormat::Bmp, "BMP", "bmp"),
    (Format::Tiff, ImageFormat::Tiff, "TIFF", "tif"),
    (Format::Gif, ImageFormat::Gif, "GIF", "gif"),
    (Format::Pnm, ImageFormat::Pnm, "PNM", "pnm"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_a_row_of_its_own() {
        for (format, library, name, extension) in FORMATS {
            assert_eq!((format.library(), format.name(), format.extension()), (library, name, extension));
        }
    }

    #[test]
    fn text_pixmaps_are_no_known_format() {
        assert!(matches!(Format::of(b"P3\n1 1\n255\n0 0 0\n"), Err(DecodeError::UnknownFormat { .. })));
        assert_eq!(Format::of(b"P6\n1 1\n255\nabc"), Ok(Format::Pnm));
    }
}
