//! The settings of the linear probe.

use msn_data::RandomCrops;

use crate::{Error, Extractor};

/// The protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearProbe {
    /// Blocks whose outputs are the features, counted from the last; at least 1.
    pub blocks: usize,
    /// Whether the mean of the patches joins [CLS].
    pub patch_mean: bool,
    /// Passes over the training images, at least 1.
    pub epochs: u64,
    /// Images in a step, at least 1.
    pub batch_size: usize,
    /// Learning rates for batches of 256, above 0. All are trained in one pass over the features.
    pub rates: Vec<f64>,
    /// Nesterov's momentum, [0, 1).
    pub momentum: f64,
    /// Weight decay, at least 0.
    pub weight_decay: f64,
    /// Least area of the random crops as a fraction of the image, (0, 1].
    pub least_area: f64,
    /// Probability that a crop is flipped, [0, 1].
    pub flip: f64,
    /// Probability that a crop is rotated by 90, 180 or 270 degrees, [0, 1].
    pub rotation: f64,
    /// Part of each class that is held out to choose the learning rate, (0, 1).
    pub held_out: f64,
    /// Seed of order, crops and of what is held out.
    pub seed: u64,
}

impl Default for LinearProbe {
    /// [CLS] of the last block; 20 epochs; eight learning rates from 0.1 to 300, high because features have length 1;
    /// momentum 0.9, no weight decay; crops of at least 0.08 of the image, half of them flipped; a tenth held out.
    fn default() -> Self {
        Self {
            blocks: 1,
            patch_mean: false,
            epochs: 20,
            batch_size: 256,
            rates: vec![0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0],
            momentum: 0.9,
            weight_decay: 0.0,
            least_area: 0.08,
            flip: 0.5,
            rotation: 0.0,
            held_out: 0.1,
            seed: 0,
        }
    }
}

impl LinearProbe {
    /// The crops of an epoch.
    pub(super) fn crops(&self, epoch: u64) -> RandomCrops {
        RandomCrops {
            scale: [self.least_area, 1.0],
            flip: self.flip,
            rotation: self.rotation,
            rand_augment: None,
            erasing: None,
            seed: self.seed,
            epoch,
        }
    }

    /// Fails for the first setting that is out of its range.
    pub(super) fn check(&self, extractor: &Extractor) -> Result<(), Error> {
        let setting = |field, expected, found: f64| Err(Error::Setting { field, expected, found });
        if self.blocks == 0 {
            return setting("blocks", "at least 1", 0.0);
        }
        if self.blocks > extractor.blocks() {
            return Err(Error::Blocks { field: "blocks", blocks: extractor.blocks(), found: self.blocks });
        }
        if self.epochs == 0 {
            return setting("epochs", "at least 1", 0.0);
        }
        if self.batch_size == 0 {
            return setting("batch_size", "at least 1", 0.0);
        }
        if self.rates.is_empty() {
            return setting("rates", "at least one learning rate", 0.0);
        }
        if let Some(&rate) = self.rates.iter().find(|rate| !(rate.is_finite() && **rate > 0.0)) {
            return setting("rates", "finite numbers above 0", rate);
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return setting("momentum", "a number in [0, 1)", self.momentum);
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return setting("weight_decay", "a finite number of at least 0", self.weight_decay);
        }
        if !(self.least_area > 0.0 && self.least_area <= 1.0) {
            return setting("least_area", "a number in (0, 1]", self.least_area);
        }
        for (field, probability) in [("flip", self.flip), ("rotation", self.rotation)] {
            if !(0.0..=1.0).contains(&probability) {
                return setting(field, "a number in [0, 1]", probability);
            }
        }
        if !(self.held_out > 0.0 && self.held_out < 1.0) {
            return setting("held_out", "a number in (0, 1)", self.held_out);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_are_flipped_and_rotated_as_asked_for() {
        let probe =
            LinearProbe { least_area: 0.4, flip: 0.1, rotation: 0.75, seed: 7, ..LinearProbe::default() };
        let RandomCrops { scale, flip, rotation, rand_augment, erasing, seed, epoch } = probe.crops(3);
        assert_eq!((scale, flip, rotation, seed, epoch), ([0.4, 1.0], 0.1, 0.75, 7, 3));
        assert!(rand_augment.is_none() && erasing.is_none());
    }
}
