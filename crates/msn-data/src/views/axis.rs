//! Weights of a resize along one axis.

use crate::simd::vectorized;

/// For each target pixel, which source pixels it is made of: a triangle filter whose half width is one target pixel
/// or one source pixel, whichever is larger (PIL's bilinear filter: antialiased where an image is reduced).
///
/// All target pixels have equally many taps; those that the triangle does not reach weigh 0. Buffers are reused.
#[derive(Debug, Default)]
pub(crate) struct Axis {
    /// Target pixels.
    size: usize,
    /// Source pixels that a target pixel is made of, at least 1.
    taps: usize,
    /// First source pixel of each target pixel, `[size]`; all taps lie in the source.
    starts: Vec<u32>,
    /// `[size, taps]`; the weights of a target pixel sum to 1.
    weights: Vec<f32>,
    /// The weights before they are scaled, `[taps, size]`.
    unscaled: Vec<f32>,
    /// The inverse of their sum, `[size]`.
    inverses: Vec<f32>,
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
        self.size = size;
        self.taps = taps;
        self.starts.resize(size, 0);
        self.inverses.resize(size, 0.0);
        self.unscaled.resize(taps * size, 0.0);
        fill(source, scale, mirrored, taps, &mut self.starts, &mut self.inverses, &mut self.unscaled);
        self.weights.resize(taps * size, 0.0);
        for (i, (weights, inverse)) in self.weights.chunks_exact_mut(taps).zip(&self.inverses).enumerate() {
            for (weight, unscaled) in weights.iter_mut().zip(self.unscaled[i..].iter().step_by(size)) {
                *weight = unscaled * inverse;
            }
        }
    }

    /// Source pixels that a target pixel is made of.
    pub(crate) fn taps(&self) -> usize {
        self.taps
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// For each target pixel: its first source pixel, and the weights of that and the next ones.
    pub(crate) fn pixels(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.starts.iter().map(|start| *start as usize).zip(self.weights.chunks_exact(self.taps))
    }

    /// As [`pixels`](Self::pixels) for one target pixel.
    pub(crate) fn pixel(&self, target: usize) -> (usize, &[f32]) {
        (self.starts[target] as usize, &self.weights[target * self.taps..][..self.taps])
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

    #[test]
    fn taps_lie_in_the_source_and_their_weights_sum_to_1() {
        let mut axis = Axis::default();
        for source in [1, 2, 3, 7, 96, 224, 500, 10_007] {
            for size in [1, 2, 16, 95, 224] {
                for mirrored in [false, true] {
                    axis.set(source, size, mirrored);
                    assert_eq!(axis.pixels().count(), size);
                    for (start, weights) in axis.pixels() {
                        assert!(start + weights.len() <= source as usize, "{source} to {size}: from {start}");
                        let sum: f32 = weights.iter().sum();
                        // Each of up to 10,007 weights is rounded to f32.
                        assert!((sum - 1.0).abs() < 1e-4, "{source} to {size}, from {start}: {sum}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_size_takes_each_pixel_as_it_is() {
        let mut axis = Axis::default();
        axis.set(9, 9, true);
        let taken = axis.pixels().map(|(start, weights)| {
            assert!(weights.iter().all(|w| *w == 0.0 || *w == 1.0), "{weights:?}");
            start + weights.iter().position(|w| *w == 1.0).unwrap()
        });
        assert_eq!(taken.collect::<Vec<_>>(), [8, 7, 6, 5, 4, 3, 2, 1, 0]);
    }
}
