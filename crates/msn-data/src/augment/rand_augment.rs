//! A few random operations of one common magnitude.

use super::operation::{OPERATIONS, Operation};
use crate::rng::Rng;
use crate::views::planes::Planes;
use crate::views::validate::{probability, within};
use crate::{Error, Normalization};

/// Largest magnitude.
const MOST: f64 = 10.0;

/// RandAugment (Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space", 2020)
/// in the form of timm: fifteen operations of increasing severity, each left out at random, with a magnitude that
/// varies. What comes in from outside the image has the mean colour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandAugment {
    /// Operations chosen for an image, one after the other, repetitions allowed; 0 or more.
    pub operations: usize,
    /// Mean magnitude, [0, 10].
    pub magnitude: f64,
    /// Standard deviation of the magnitude, [0, 10]; what leaves [0, 10] is cut off.
    pub deviation: f64,
    /// Probability that a chosen operation is carried out, [0, 1].
    pub probability: f64,
}

impl Default for RandAugment {
    /// Two operations of magnitude 9 +- 0.5, each carried out half the time: `rand-m9-mstd0.5-inc1`.
    fn default() -> Self {
        Self { operations: 2, magnitude: 9.0, deviation: 0.5, probability: 0.5 }
    }
}

impl RandAugment {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] names the field out of its range and its value.
    pub fn validate(&self) -> Result<(), Error> {
        within("rand_augment.magnitude", self.magnitude, MOST)?;
        within("rand_augment.deviation", self.deviation, MOST)?;
        probability("rand_augment.probability", self.probability)
    }

    /// Draws and carries out the operations on the grey levels of an image of `width` columns. spare: working space.
    pub(crate) fn apply(
        &self,
        planes: &mut Planes<'_>,
        width: usize,
        normalization: &Normalization,
        spare: &mut Vec<f32>,
        rng: &mut Rng,
    ) {
        let fill = normalization.mean.map(|mean| 255.0 * mean);
        for _ in 0..self.operations {
            if let Some(operation) = self.draw(rng) {
                operation.apply(planes, width, fill, spare);
            }
        }
    }

    /// One operation, or none.
    fn draw(&self, rng: &mut Rng) -> Option<Operation> {
        let chosen = OPERATIONS[rng.below(OPERATIONS.len() as u32) as usize];
        rng.chance(self.probability).then(|| {
            let [normal, _] = rng.normal_pair();
            let magnitude = (self.magnitude + self.deviation * normal).clamp(0.0, MOST);
            let sign = if rng.chance(0.5) { -1.0 } else { 1.0 };
            chosen(magnitude / MOST, sign)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::mem::discriminant;

    use super::*;

    #[test]
    fn each_operation_comes_equally_often_and_half_of_them_are_left_out() {
        let mut counts = HashMap::new();
        let mut rng = Rng::for_rand_augment(0, 0, 0);
        for _ in 0..60_000 {
            let drawn = RandAugment::default().draw(&mut rng);
            *counts.entry(drawn.map(|operation| discriminant(&operation))).or_insert(0u32) += 1;
        }
        // Standard deviations: sqrt(60000 * 1/4) = 122 and sqrt(60000 * 1/30 * 29/30) = 44; five of them.
        assert!(counts.remove(&None).unwrap().abs_diff(30_000) < 612);
        assert_eq!(counts.len(), 15);
        assert!(counts.values().all(|count| count.abs_diff(2000) < 220), "{counts:?}");
    }

    /// By `tests/fixtures/make_streams.py`, in its signs and magnitudes.
    #[test]
    fn operations_drawn_for_an_image_are_those_of_a_script_in_python() {
        let drawn = |image| {
            let mut rng = Rng::for_rand_augment(7, 2, image);
            [(); 2].map(|()| RandAugment::default().draw(&mut rng))
        };
        let [Some(Operation::Color(factor)), Some(Operation::ShearX(shear))] = drawn(0) else {
            panic!("{:?}", drawn(0))
        };
        // Of 1 + 0.9 times and 0.3 times the magnitude; the factor is an f32.
        assert!((f64::from(factor) - (1.0 + 0.9 * 0.8917133408296894)).abs() < 1e-6, "{factor}");
        assert!((shear + 0.3 * 0.9047394917806075).abs() < 1e-12, "{shear}");
        assert_eq!(drawn(3), [Some(Operation::Posterize(1)), None]);
    }

    #[test]
    fn magnitudes_vary_around_their_mean_and_end_at_ten() {
        let mut rng = Rng::for_rand_augment(1, 0, 0);
        let augment =
            RandAugment { magnitude: 8.0, deviation: 1.0, probability: 1.0, ..RandAugment::default() };
        let degrees: Vec<f64> = (0..60_000)
            .filter_map(|_| match augment.draw(&mut rng) {
                Some(Operation::Rotate(degrees)) => Some(degrees),
                _ => None,
            })
            .collect();
        let count = degrees.len() as f64;
        let clockwise = degrees.iter().filter(|x| **x < 0.0).count() as f64 / count;
        let below_mean = degrees.iter().filter(|x| x.abs() < 24.0).count() as f64 / count;
        let cut_off = degrees.iter().filter(|x| x.abs() == 30.0).count() as f64 / count;
        // Of a normal distribution, 0.02275 lie more than two deviations above its mean. About 4000 draws: five times a
        // standard deviation of 0.008, and of 0.0024.
        assert!(
            (clockwise - 0.5).abs() < 0.04 && (below_mean - 0.5).abs() < 0.04,
            "{clockwise} {below_mean}"
        );
        assert!((cut_off - 0.02275).abs() < 0.012, "{cut_off}");
        assert!(degrees.iter().all(|x| x.abs() <= 30.0));
    }
}
