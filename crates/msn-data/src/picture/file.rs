//! Pictures as PNG files that can be told from those of other programs.

use png::{BitDepth, ColorType, Encoder};

use crate::Image;

/// Name of the program in the file, so that a picture may be written over an older one and over nothing else.
const SOFTWARE: (&str, &str) = ("Software", "msn data");

/// A PNG file of the picture.
pub fn encode_picture(picture: &Image) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, picture.width(), picture.height());
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    let memory = "memory takes everything";
    encoder.add_text_chunk(SOFTWARE.0.to_owned(), SOFTWARE.1.to_owned()).expect("no header yet");
    let mut writer = encoder.write_header().expect(memory);
    writer.write_image_data(picture.pixels()).expect("an Image has the bytes of its size");
    writer.finish().expect(memory);
    file
}

/// Whether a file that starts like this (64 bytes will do) is one of [`encode_picture`].
pub fn is_picture(start: &[u8]) -> bool {
    // Signature (8 bytes), header chunk (25 bytes), length and type of the text chunk (8 bytes), its text.
    let text = format!("tEXt{}\0{}", SOFTWARE.0, SOFTWARE.1);
    start.starts_with(b"\x89PNG\r\n\x1a\n")
        && start.get(37..).is_some_and(|rest| rest.starts_with(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, decode};

    #[test]
    fn pictures_are_known_again_and_other_pngs_are_none() {
        let picture = Image::new(3, 2, (0..18).collect());
        let file = encode_picture(&picture);
        assert!(is_picture(&file[..64]));
        assert_eq!(decode(&file, &Limits::default()), Ok(picture));
        let mut other = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(3, 2).write_to(&mut other, image::ImageFormat::Png).expect("memory");
        assert!(!is_picture(other.get_ref()));
        assert!(!is_picture(b""));
    }
}
