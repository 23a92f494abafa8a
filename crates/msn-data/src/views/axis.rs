//! Weights of a resize along one axis.

use msn_kernels::resize::{ONE, Taps};

use crate::simd::vectorized;

/// For each target pixel, which source pixels it is made of: a triangle filter whose half width is one target pixel
/// or one source pixel, whichever is larger (PIL's bilinear filter: antialiased where an image is reduced).
///
/// All target pixels have equally many taps; those that the triangle does not reach weigh 0. Buffers are reused.
#[derive(Debug, Default)]
pub(crate) struct Axis {
    /// First source pixel of each target pixel, `[size]`; all taps lie in the source.
    starts: Vec<u32>,
    /// `[size, taps]` in units of 1 / [`ONE`]; the weights of a target pixel sum to 1.
    weights: Vec<i16>,
    /// The weights before they are scaled, `[taps, size]`.
    unscaled: Vec<f32>,
    /// The inverse of their sum, `[size]`.
    inverses: Vec<f32>,
    /// Sums of the first weights of each target pixel, `[size]`: as they are, and rounded.
    sums: Vec<(f32, i16)>,
}

impl Axis {
    /// The weights that turn `source` pixels into `size`. `mirrored` gives the target pixels in reverse order.
    ///
    /// # Panics
    /// If either is 0.
    pub(crate) fn set(&mut self, source: u32, size: usize, mirrored: bool) {
        assert!(source > 0 && size > 0, "{source} pixels to {size}");
        let scale = f64::from(source) / size as f64;
        // At most 2 x half width source pixels have their centre strictly within the triangle.
        let half_width = scale.max(1.0);
        let taps = ((2.0 * half_width).ceil() as usize).min(source as usize);
        self.starts.resize(size, 0);
        self.inverses.resize(size, 0.0);
        self.unscaled.resize(taps * size, 0.0);
        fill(source, scale, mirrored, taps, &mut self.starts, &mut self.inverses, &mut self.unscaled);
        self.weights.resize(taps * size, 0);
        self.round(taps);
    }

    /// Scales and rounds the weights. Their running sums are rounded rather than themselves, so that they sum to 1.
    fn round(&mut self, taps: usize) {
        self.sums.clear();
        self.sums.resize(self.starts.len(), (0.0, 0));
        for (tap, row) in self.unscaled.chunks_exact(self.starts.len()).enumerate() {
            let targets = self.sums.iter_mut().zip(row).zip(&self.inverses);
            let weights = self.weights[tap..].iter_mut().step_by(taps);
            for ((((exact, rounded), unscaled), inverse), weight) in targets.zip(weights) {
                *exact += unscaled * inverse;
                let sum = if tap + 1 < taps { (*exact * f32::from(ONE) + 0.5) as i16 } else { ONE };
                let sum = sum.min(ONE);
                *weight = sum - *rounded;
                *rounded = sum;
            }
        }
    }

    /// For the kernel that resizes.
    pub(crate) fn taps(&self) -> Taps<'_> {
        Taps::new(&self.starts, &self.weights)
    }
}

vectorized! {
    fn fill(
        source: u32,
        scale: f64,
        mirrored: bool,
        taps: usize,
        starts: &mut [u32],
        inverses: &mut [f32],
        weights: &mut [f32],
    ) {
        let size = starts.len();
        let half_width = scale.max(1.0);
        let per_pixel = (1.0 / half_width) as f32;
        let last_start = (source as usize - taps) as f64;
        // Target i lies at (i + 1/2) scale, seen from the other side where it is mirrored.
        let (first, step) = if mirrored { (size as f64 - 0.5, -1.0) } else { (0.5, 1.0) };
        // The distance from the centre of the first tap to that of the target pixel: computed in f64, small in f32.
        for (i, (start, distance)) in starts.iter_mut().zip(inverses.iter_mut()).enumerate() {
            let centre = (first + step * f64::from(i as u32)) * scale;
            let unclamped = (centre - half_width + 0.5).floor();
            let above = if unclamped > 0.0 { unclamped } else { 0.0 };
            let begin = if above < last_start { above } else { last_start };
            *start = begin as u32;
            *distance = (begin + 0.5 - centre) as f32;
        }
        for (k, row) in weights.chunks_exact_mut(size).enumerate() {
            let k = k as f32;
            for (weight, distance) in row.iter_mut().zip(inverses.iter()) {
                let height = 1.0 - (distance + k).abs() * per_pixel;
                *weight = if height > 0.0 { height } else { 0.0 };
            }
        }
        inverses.fill(0.0);
        for row in weights.chunks_exact(size) {
            for (sum, weight) in inverses.iter_mut().zip(row) {
                *sum += weight;
            }
        }
        for sum in inverses.iter_mut() {
            *sum = 1.0 / *sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First source pixel and weights of each target pixel.
    fn pixels(axis: &Axis) -> impl Iterator<Item = (usize, &[i16])> {
        let taps = axis.weights.len() / axis.starts.len();
        axis.starts.iter().map(|start| *start as usize).zip(axis.weights.chunks_exact(taps))
    }

    #[test]
    fn taps_lie_in_the_source_and_their_weights_are_the_triangle_rounded() {
        let mut axis = Axis::default();
        for (source, size) in [1, 2, 3, 7, 96, 224, 500, 10_007]
            .into_iter()
            .flat_map(|source| [1, 2, 16, 95, 224].map(|size| (source, size)))
        {
            axis.set(source, size, false);
            assert_eq!(pixels(&axis).count(), size);
            let scale = f64::from(source) / size as f64;
            for (i, (start, weights)) in pixels(&axis).enumerate() {
                let what = format!("{source} to {size}, target {i} from {start}");
                assert!(start + weights.len() <= source as usize, "{what}");
                let sum: i64 = weights.iter().map(|w| i64::from(*w)).sum();
                assert_eq!(sum, i64::from(ONE), "{what}");
                let height = |k: usize| {
                    let away = (start + k) as f64 + 0.5 - (i as f64 + 0.5) * scale;
                    (1.0 - away.abs() / scale.max(1.0)).max(0.0)
                };
                let whole: f64 = (0..weights.len()).map(height).sum();
                for (k, weight) in weights.iter().enumerate() {
                    // Both ends of a running sum are rounded, the sum of 10,007 weights by 1e-5 before.
                    let expected = height(k) / whole * f64::from(ONE);
                    assert!(
                        (f64::from(*weight) - expected).abs() < 1.2,
                        "{what}: tap {k} {weight}, {expected}"
                    );
                }
            }
            let straight: Vec<_> = pixels(&axis).map(|(start, weights)| (start, weights.to_vec())).collect();
            axis.set(source, size, true);
            // Targets in reverse order; a place half way between two pixels may be rounded otherwise.
            for ((start, weights), (mirrored, found)) in straight.iter().rev().zip(pixels(&axis)) {
                assert!(start.abs_diff(mirrored) <= 1, "{source} to {size}: {start}, {mirrored}");
                if *start == mirrored {
                    assert!(
                        weights.iter().zip(found).all(|(a, b)| a.abs_diff(*b) <= 1),
                        "{source} to {size}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_same_size_takes_each_pixel_as_it_is() {
        let mut axis = Axis::default();
        axis.set(9, 9, true);
        let taken = pixels(&axis).map(|(start, weights)| {
            assert!(weights.iter().all(|w| *w == 0 || *w == ONE), "{weights:?}");
            start + weights.iter().position(|w| *w == ONE).unwrap()
        });
        assert_eq!(taken.collect::<Vec<_>>(), [8, 7, 6, 5, 4, 3, 2, 1, 0]);
    }
}
