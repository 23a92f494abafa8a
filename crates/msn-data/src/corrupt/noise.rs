//! Gaussian noise. Strength: its standard deviation, where 1 is the range of a channel.

use super::to_byte;
use crate::rng::Rng;

pub(super) fn apply(rgb: &mut [u8], deviation: f64, rng: &mut Rng) {
    for pair in rgb.chunks_mut(2) {
        for (value, normal) in pair.iter_mut().zip(rng.normal_pair()) {
            *value = to_byte(f64::from(*value) / 255.0 + deviation * normal);
        }
    }
}
