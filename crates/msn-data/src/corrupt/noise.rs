//! Gaussian noise. Strength: its standard deviation, where 1 is the range of a channel.

use super::to_byte;
use crate::rng::Rng;

pub(super) fn apply(rgb: &mut [u8], deviation: f64, rng: &mut Rng) {
    for pair in rgb.chunks_mut(2) {
        // Two normal numbers of two uniform ones (Box and Muller, 1958); 1 - u is never 0.
        let radius = (-2.0 * (1.0 - rng.unit()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * rng.unit()).sin_cos();
        for (value, normal) in pair.iter_mut().zip([radius * cos, radius * sin]) {
            *value = to_byte(f64::from(*value) / 255.0 + deviation * normal);
        }
    }
}
