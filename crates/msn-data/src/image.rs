//! A decoded image.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{ResizeAlg, ResizeOptions, Resizer};

/// 8-bit RGB image: rows from top to bottom, pixels from left to right, channels interleaved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Image {
    /// An image from its pixels, `3 * width * height` bytes.
    ///
    /// # Panics
    /// If the number of bytes does not fit the size, or if the image has no pixel.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Self {
        let expected = width as usize * height as usize * 3;
        assert!(expected > 0, "an image of {width} x {height} has no pixel");
        assert_eq!(pixels.len(), expected, "bytes of a {width} x {height} RGB image");
        Self { width, height, pixels }
    }

    /// Width in pixels, at least 1 (0 only for `Image::default()`, the empty buffer to decode into).
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1 (0 only for `Image::default()`, the empty buffer to decode into).
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The `3 * width * height` bytes.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The `3 * width * height` bytes, given away.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// Whether red, green and blue are alike in every pixel.
    pub(crate) fn is_grey(&self) -> bool {
        self.pixels.as_chunks().0.iter().all(|[r, g, b]| r == g && g == b)
    }

    /// The whole image at another size, neither side of which is 0.
    pub(crate) fn resized(&self, width: u32, height: u32, algorithm: ResizeAlg) -> Self {
        let mut pixels = vec![0; 3 * width as usize * height as usize];
        let source = TypedImageRef::<U8x3>::from_buffer(self.width, self.height, &self.pixels)
            .expect("an Image has the bytes of its size");
        let mut target =
            TypedImage::<U8x3>::from_buffer(width, height, &mut pixels).expect("just made of this length");
        Resizer::new()
            .resize_typed(&source, &mut target, &ResizeOptions::new().resize_alg(algorithm))
            .expect("both have the same pixel type");
        Self::new(width, height, pixels)
    }

    /// Takes the size given and the buffer for its pixels, keeping the allocation. The content is arbitrary.
    pub(crate) fn reset(&mut self, width: u32, height: u32) -> &mut [u8] {
        self.width = width;
        self.height = height;
        self.pixels.resize(width as usize * height as usize * 3, 0);
        &mut self.pixels
    }
}
