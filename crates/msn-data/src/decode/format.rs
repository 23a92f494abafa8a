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
        image::guess_format(bytes).ok().and_then(Self::of_library).ok_or_else(|| {
            let first: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
            DecodeError::UnknownFormat { found: first.join(" ") }
        })
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// How files of this format end, without the dot.
    pub fn extension(self) -> &'static str {
        self.row().2
    }

    /// What the `image` crate calls it.
    pub(super) fn library(self) -> ImageFormat {
        self.row().0
    }

    /// As the `image` crate knows it, its name, and how its files end.
    fn row(self) -> (ImageFormat, &'static str, &'static str) {
        match self {
            Self::Jpeg => (ImageFormat::Jpeg, "JPEG", "jpg"),
            Self::Png => (ImageFormat::Png, "PNG", "png"),
            Self::WebP => (ImageFormat::WebP, "WebP", "webp"),
            Self::Bmp => (ImageFormat::Bmp, "BMP", "bmp"),
            Self::Tiff => (ImageFormat::Tiff, "TIFF", "tif"),
            Self::Gif => (ImageFormat::Gif, "GIF", "gif"),
            Self::Pnm => (ImageFormat::Pnm, "PNM", "pnm"),
        }
    }

    /// What the `image` crate tells by the first bytes, bare pixels aside, of which it takes text as well.
    fn of_library(library: ImageFormat) -> Option<Self> {
        let formats = [Self::Jpeg, Self::Png, Self::WebP, Self::Bmp, Self::Tiff, Self::Gif];
        formats.into_iter().find(|format| format.library() == library)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_pixmaps_are_no_known_format() {
        assert!(matches!(Format::of(b"P3\n1 1\n255\n0 0 0\n"), Err(DecodeError::UnknownFormat { .. })));
        assert_eq!(Format::of(b"P6\n1 1\n255\nabc"), Ok(Format::Pnm));
    }
}
