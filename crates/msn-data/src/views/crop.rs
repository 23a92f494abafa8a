//! Random resized crop.

use crate::rng::Rng;

/// Draws of area and aspect before the crop falls back on the centre.
const TRIES: usize = 10;

/// A part of an image, in whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropBox {
    /// Columns left of the box.
    pub left: u32,
    /// Rows above the box.
    pub top: u32,
    /// Columns of the box, at least 1.
    pub width: u32,
    /// Rows of the box, at least 1.
    pub height: u32,
}

impl CropBox {
    /// Draws a box whose area is uniform in `scale` (fractions of the image) and whose aspect (width / height) is
    /// log-uniform in `aspect`, anywhere in the image; if ten such boxes do not fit, the largest centred box of an
    /// allowed aspect (torchvision's `RandomResizedCrop`).
    pub fn sample(width: u32, height: u32, scale: [f64; 2], aspect: [f64; 2], rng: &mut Rng) -> Self {
        Self::try_sample(width, height, scale, aspect, rng)
            .unwrap_or_else(|| Self::centred(width, height, aspect))
    }

    /// The rows of the box in a plane of `width` columns.
    ///
    /// # Panics
    /// If the box leaves the plane.
    pub(crate) fn rows(self, plane: &mut [f32], width: usize) -> impl Iterator<Item = &mut [f32]> {
        let [left, top, columns, rows] = [self.left, self.top, self.width, self.height].map(|x| x as usize);
        let lines = plane[top * width..(top + rows) * width].chunks_exact_mut(width);
        lines.map(move |line| &mut line[left..left + columns])
    }

    /// As [`sample`](Self::sample), or `None` if no box that was drawn fits.
    pub(crate) fn try_sample(
        width: u32,
        height: u32,
        scale: [f64; 2],
        aspect: [f64; 2],
        rng: &mut Rng,
    ) -> Option<Self> {
        let image_area = f64::from(width) * f64::from(height);
        for _ in 0..TRIES {
            let area = image_area * rng.uniform(scale[0], scale[1]);
            let ratio = rng.uniform(aspect[0].ln(), aspect[1].ln()).exp();
            let (w, h) = ((area * ratio).sqrt().round(), (area / ratio).sqrt().round());
            if w >= 1.0 && w <= f64::from(width) && h >= 1.0 && h <= f64::from(height) {
                let (w, h) = (w as u32, h as u32);
                let (top, left) = (rng.below(height - h + 1), rng.below(width - w + 1));
                return Some(Self { left, top, width: w, height: h });
            }
        }
        None
    }

    fn centred(width: u32, height: u32, aspect: [f64; 2]) -> Self {
        let ratio = f64::from(width) / f64::from(height);
        let (mut w, mut h) = (width, height);
        if ratio < aspect[0] {
            h = ((f64::from(width) / aspect[0]).round() as u32).clamp(1, height);
        } else if ratio > aspect[1] {
            w = ((f64::from(height) * aspect[1]).round() as u32).clamp(1, width);
        }
        Self { left: (width - w) / 2, top: (height - h) / 2, width: w, height: h }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_lie_in_the_image_and_have_the_area_and_aspect_asked_for() {
        let (scale, aspect) = ([0.05, 0.3], [0.75, 4.0 / 3.0]);
        let mut rng = Rng::for_view(0, 0, 0, 0);
        let (mut least, mut largest) = (1.0f64, 0.0f64);
        for _ in 0..5000 {
            let b = CropBox::sample(400, 300, scale, aspect, &mut rng);
            assert!(b.left + b.width <= 400 && b.top + b.height <= 300, "{b:?}");
            let (w, h) = (f64::from(b.width), f64::from(b.height));
            let area = w * h / 120_000.0;
            // Rounding of both sides moves the area and aspect by about 1%.
            assert!((0.049..=0.304).contains(&area) && (0.74..=1.36).contains(&(w / h)), "{b:?}");
            (least, largest) = (least.min(area), largest.max(area));
        }
        assert!(least < 0.055 && largest > 0.29, "areas only from {least} to {largest}");
    }

    #[test]
    fn images_too_long_for_any_box_fall_back_on_the_centre() {
        let aspect = [0.75, 4.0 / 3.0];
        let mut rng = Rng::for_view(0, 0, 0, 0);
        let wide = CropBox::sample(1000, 12, [0.9, 1.0], aspect, &mut rng);
        assert_eq!(wide, CropBox { left: 492, top: 0, width: 16, height: 12 });
        let high = CropBox::sample(12, 1000, [0.9, 1.0], aspect, &mut rng);
        assert_eq!(high, CropBox { left: 0, top: 492, width: 12, height: 16 });
    }

    #[test]
    fn one_pixel_images_have_one_box() {
        let mut rng = Rng::for_view(0, 0, 0, 0);
        for _ in 0..100 {
            let b = CropBox::sample(1, 1, [0.05, 0.3], [0.75, 4.0 / 3.0], &mut rng);
            assert_eq!(b, CropBox { left: 0, top: 0, width: 1, height: 1 });
        }
    }
}
