//! What the header of an encoded image tells that its decoded pixels do not.

use std::io::Cursor;

use image::{ColorType, ImageDecoder, ImageReader};

use super::Format;

/// What becomes of an image on its way to 8-bit RGB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Details {
    /// Its samples have 16 bits, of which [`Limits::levels`](super::Limits::levels) picks a range.
    pub(crate) has_16_bits: bool,
    /// It has more pages than the one that is read.
    pub(crate) has_more_pages: bool,
}

impl Details {
    /// Those of an image that was decoded from these bytes.
    pub(crate) fn of(bytes: &[u8], format: Format) -> Self {
        match format {
            Format::Png => Self { has_16_bits: has_16_bits(bytes, format), has_more_pages: false },
            Format::Tiff => {
                Self { has_16_bits: has_16_bits(bytes, format), has_more_pages: has_more_pages(bytes) }
            }
            // No others have 16 bits, and frames of an animation are no pages.
            _ => Self::default(),
        }
    }
}

fn has_16_bits(bytes: &[u8], format: Format) -> bool {
    let reader = ImageReader::with_format(Cursor::new(bytes), format.library());
    let color = reader.into_decoder().map(|decoder| decoder.color_type());
    matches!(color, Ok(ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16))
}

fn has_more_pages(bytes: &[u8]) -> bool {
    tiff::decoder::Decoder::new(Cursor::new(bytes)).is_ok_and(|decoder| decoder.more_images())
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageFormat};
    use tiff::encoder::{TiffEncoder, colortype};

    use super::*;

    #[test]
    fn images_of_16_bits_are_told_from_others() {
        for (image, has_16_bits) in [
            (DynamicImage::new_luma16(3, 2), true),
            (DynamicImage::new_rgb16(3, 2), true),
            (DynamicImage::new_luma8(3, 2), false),
            (DynamicImage::new_rgb8(3, 2), false),
        ] {
            for (library, format) in [(ImageFormat::Png, Format::Png), (ImageFormat::Tiff, Format::Tiff)] {
                let mut file = Cursor::new(Vec::new());
                image.write_to(&mut file, library).expect("memory");
                let expected = Details { has_16_bits, has_more_pages: false };
                assert_eq!(Details::of(file.get_ref(), format), expected, "{format:?} {:?}", image.color());
            }
        }
    }

    #[test]
    fn a_stack_has_more_pages() {
        let mut file = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut file).expect("memory");
        for _ in 0..2 {
            encoder.write_image::<colortype::Gray8>(2, 2, &[1, 2, 3, 4]).expect("memory");
        }
        let expected = Details { has_16_bits: false, has_more_pages: true };
        assert_eq!(Details::of(file.get_ref(), Format::Tiff), expected);
    }
}
