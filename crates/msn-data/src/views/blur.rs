//! Gaussian blur, as PIL does it.
//!
//! Three passes of an extended box filter along each axis (Gwosdek et al., "Theoretical foundations of Gaussian
//! convolution by extended box filtering", SSVM 2011): weight w for offsets up to the whole radius, a fraction of w
//! for the offset after it, such that the variance of the three passes is that of the Gaussian. Beyond its ends, a
//! line continues with its last value, in each pass anew.

use super::planes::Planes;
use crate::simd::vectorized;

const PASSES: usize = 3;
/// Columns that are blurred together: one cache line of floats a row.
const STRIP: usize = 16;

/// One pass of an extended box filter.
#[derive(Clone, Copy, Debug, PartialEq)]
struct BoxFilter {
    /// Offsets with full weight on each side.
    radius: usize,
    weight: f32,
    /// Weight of the offset `radius + 1`.
    edge: f32,
}

impl BoxFilter {
    /// The filter of which [`PASSES`] passes have the variance of a Gaussian of standard deviation `sigma`.
    fn for_gaussian(sigma: f64) -> Self {
        let variance = sigma * sigma / PASSES as f64;
        let radius = (((12.0 * variance + 1.0).sqrt() - 1.0) / 2.0).floor();
        let fraction = (2.0 * radius + 1.0) * (radius * (radius + 1.0) - 3.0 * variance)
            / (6.0 * (variance - (radius + 1.0) * (radius + 1.0)));
        let weight = 1.0 / (2.0 * (radius + fraction) + 1.0);
        Self { radius: radius as usize, weight: weight as f32, edge: (fraction * weight) as f32 }
    }
}

/// Blurs each plane of rows of `width` pixels with standard deviation `sigma` in pixels. The two buffers are working
/// space; their content does not matter before and after.
///
/// # Panics
/// If `width` does not divide the number of pixels.
pub(crate) fn gaussian_blur(planes: &mut Planes<'_>, width: usize, sigma: f64, buffers: &mut [Vec<f32>; 2]) {
    let pixels = planes.red.len();
    assert!(width > 0 && pixels.is_multiple_of(width), "{pixels} pixels are no rows of {width}");
    let filter = BoxFilter::for_gaussian(sigma);
    let height = pixels / width;
    let padded = (height * STRIP).max(width) + 2 * (filter.radius + 1) * STRIP;
    let [a, b] = buffers;
    a.resize(padded.max(a.len()), 0.0);
    b.resize(padded.max(b.len()), 0.0);
    for plane in planes.each() {
        blur_plane(plane, width, filter, a, b);
    }
}

vectorized! {
    fn blur_plane(plane: &mut [f32], width: usize, filter: BoxFilter, a: &mut [f32], b: &mut [f32]) {
        let reach = filter.radius + 1;
        for row in plane.chunks_exact_mut(width) {
            a[reach..reach + width].copy_from_slice(row);
            blur_line(width, 1, filter, a, b);
            row.copy_from_slice(&b[reach..reach + width]);
        }
        let height = plane.len() / width;
        for left in (0..width).step_by(STRIP) {
            let columns = STRIP.min(width - left);
            let (start, length) = (reach * columns, height * columns);
            for (line, row) in a[start..start + length].chunks_exact_mut(columns).zip(plane.chunks_exact(width)) {
                line.copy_from_slice(&row[left..left + columns]);
            }
            blur_line(length, columns, filter, a, b);
            for (line, row) in b[start..start + length].chunks_exact(columns).zip(plane.chunks_exact_mut(width)) {
                row[left..left + columns].copy_from_slice(line);
            }
        }
    }
}

/// All passes over `length` values in `a`, which start after the padding of `radius + 1` strides and end in `b` at
/// the same place. Neighbours are `stride` values apart.
#[inline(always)]
fn blur_line(length: usize, stride: usize, filter: BoxFilter, a: &mut [f32], b: &mut [f32]) {
    box_pass(length, stride, filter, a, b);
    box_pass(length, stride, filter, b, a);
    box_pass(length, stride, filter, a, b);
}

#[inline(always)]
fn box_pass(length: usize, stride: usize, filter: BoxFilter, from: &mut [f32], to: &mut [f32]) {
    let BoxFilter { radius, weight, edge } = filter;
    let start = (radius + 1) * stride;
    for offset in (0..start).step_by(stride) {
        from.copy_within(start..start + stride, offset);
        from.copy_within(start + length - stride..start + length, start + length + offset);
    }
    let out = &mut to[start..start + length];
    let centre = &from[start..start + length];
    let (before, after) = (&from[..length], &from[2 * start..2 * start + length]);
    for (((out, centre), before), after) in out.iter_mut().zip(centre).zip(before).zip(after) {
        *out = weight * centre + edge * (before + after);
    }
    for offset in (1..=radius).map(|k| k * stride) {
        let (before, after) = (&from[start - offset..][..length], &from[start + offset..][..length]);
        for ((out, before), after) in out.iter_mut().zip(before).zip(after) {
            *out += weight * (before + after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_passes_have_the_variance_of_the_gaussian_and_keep_the_sum() {
        for sigma in [0.1, 0.7, 1.3, 1.5, 2.0, 5.0, 12.0] {
            let BoxFilter { radius, weight, edge } = BoxFilter::for_gaussian(sigma);
            let weights = (1..=radius).map(|k| (k, weight)).chain([(radius + 1, edge)]);
            let (mut sum, mut variance) = (f64::from(weight), 0.0);
            for (k, w) in weights {
                sum += 2.0 * f64::from(w);
                variance += 2.0 * f64::from(w) * (k * k) as f64;
            }
            // The weights are rounded to f32.
            assert!((sum - 1.0).abs() < 1e-6, "sigma {sigma}: sum {sum}");
            let wanted = sigma * sigma / 3.0;
            assert!((variance / wanted - 1.0).abs() < 1e-5, "sigma {sigma}: {variance} for {wanted}");
        }
    }

    #[test]
    fn a_uniform_view_stays_as_it_is() {
        let mut view = vec![93.0f32; 3 * 19 * 19];
        gaussian_blur(&mut Planes::of(&mut view), 19, 2.0, &mut Default::default());
        // Sums of weights round to 1 within a few units of f32's last place.
        assert!(view.iter().all(|x| (x - 93.0).abs() < 1e-3));
    }
}
