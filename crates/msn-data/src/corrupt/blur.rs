//! Gaussian blur. Strength: its standard deviation in pixels.

/// Standard deviations after which the kernel is cut off.
const REACH: f64 = 4.0;

pub(super) fn apply(rgb: &mut [u8], side: usize, sigma: f64) {
    let weights = kernel(sigma);
    let across: Vec<f64> = convolved(side, &weights, |y, x, c| f64::from(rgb[(y * side + x) * 3 + c]));
    // Columns are rows of the transposed image.
    let down = convolved(side, &weights, |x, y, c| across[(y * side + x) * 3 + c]);
    for y in 0..side {
        for x in 0..side {
            for c in 0..3 {
                rgb[(y * side + x) * 3 + c] = down[(x * side + y) * 3 + c].round().clamp(0.0, 255.0) as u8;
            }
        }
    }
}

/// Weights at distances 0, 1, .. that sum to 1 over both sides.
fn kernel(sigma: f64) -> Vec<f64> {
    let reach = (REACH * sigma).ceil() as i32;
    let weights: Vec<f64> = (0..=reach).map(|d| (-0.5 * (f64::from(d) / sigma).powi(2)).exp()).collect();
    let sum = 2.0 * weights.iter().sum::<f64>() - weights[0];
    weights.iter().map(|w| w / sum).collect()
}

/// Rows blurred, `[side, side, 3]`; at the borders the image is mirrored, its last pixel included.
fn convolved(side: usize, weights: &[f64], pixel: impl Fn(usize, usize, usize) -> f64) -> Vec<f64> {
    let mut out = Vec::with_capacity(3 * side * side);
    for row in 0..side {
        for place in 0..side {
            for c in 0..3 {
                let mut sum = weights[0] * pixel(row, place, c);
                for (distance, weight) in weights.iter().enumerate().skip(1) {
                    let (before, after) = (place as i64 - distance as i64, place as i64 + distance as i64);
                    sum += weight
                        * (pixel(row, mirrored(before, side), c) + pixel(row, mirrored(after, side), c));
                }
                out.push(sum);
            }
        }
    }
    out
}

/// A place in 0..side: .. 1 0 | 0 1 .. side - 1 | side - 1 ..
fn mirrored(place: i64, side: usize) -> usize {
    let place = place.rem_euclid(2 * side as i64) as usize;
    if place < side { place } else { 2 * side - 1 - place }
}
