//! Images made to fit a square.

use fast_image_resize::{FilterType, ResizeAlg};

use crate::Image;

/// Size of an image that fits a square of `side` pixels: photographs are shrunk, tiny images enlarged by a whole number
/// so that their pixels stay pixels.
pub(super) fn fitting_size(width: u32, height: u32, side: usize) -> (u32, u32) {
    let (side, longer) = (side as u32, width.max(height));
    if longer <= side {
        let factor = side / longer;
        return (width * factor, height * factor);
    }
    let scaled =
        |length: u32| (u64::from(length) * u64::from(side)).div_ceil(u64::from(longer)).max(1) as u32;
    (scaled(width), scaled(height))
}

/// The image at its [`fitting_size`].
pub(super) fn fit(image: &Image, side: usize) -> Image {
    let (width, height) = fitting_size(image.width(), image.height(), side);
    let enlarged = width > image.width();
    let algorithm = if enlarged { ResizeAlg::Nearest } else { ResizeAlg::Convolution(FilterType::Lanczos3) };
    image.resized(width, height, algorithm)
}

/// Each pixel becomes `factor` x `factor` of them.
pub(super) fn enlarged(image: &Image, factor: usize) -> Image {
    image.resized(image.width() * factor as u32, image.height() * factor as u32, ResizeAlg::Nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photographs_shrink_and_tiny_images_grow_by_whole_numbers() {
        for (size, fitting) in
            [((500, 375), (96, 72)), ((32, 32), (96, 96)), ((96, 40), (96, 40)), ((10_000, 3), (96, 1))]
        {
            assert_eq!(fitting_size(size.0, size.1, 96), fitting);
        }
        let image = Image::new(2, 1, vec![0, 0, 0, 200, 100, 50]);
        let grown = fit(&image, 5);
        assert_eq!((grown.width(), grown.height()), (4, 2));
        assert_eq!(grown.pixels()[..12], [[0; 6], [200, 100, 50, 200, 100, 50]].concat());
    }
}
