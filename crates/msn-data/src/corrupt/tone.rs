//! Contrast and brightness.

use super::to_byte;

/// Strength: the factor of each channel's distance to its mean.
pub(super) fn contrast(rgb: &mut [u8], factor: f64) {
    let pixels = rgb.len() / 3;
    for channel in 0..3 {
        let sum: f64 = rgb.iter().skip(channel).step_by(3).map(|&v| f64::from(v)).sum();
        let mean = sum / pixels as f64;
        for value in rgb.iter_mut().skip(channel).step_by(3) {
            *value = to_byte((mean + factor * (f64::from(*value) - mean)) / 255.0);
        }
    }
}

/// Strength: what is added to the value V = max(R, G, B) in [0, 1] of HSV. Hue and saturation stay, so all channels are
/// multiplied alike; black, which has no hue, becomes grey.
pub(super) fn brightness(rgb: &mut [u8], added: f64) {
    for pixel in rgb.as_chunks_mut::<3>().0 {
        let value = f64::from(*pixel.iter().max().expect("three channels")) / 255.0;
        let brighter = (value + added).min(1.0);
        *pixel = pixel.map(|channel| match value {
            0.0 => to_byte(brighter),
            _ => to_byte(f64::from(channel) / 255.0 * brighter / value),
        });
    }
}
