//! The settings of a fine-tuning.

use msn_data::{Mixing, RandAugment, RandomCrops, RandomErasing};
use msn_model::EncoderConfig;
use msn_train::config::PrecisionSetting;
use serde::Serialize;

use crate::Error;
use crate::extract::SMALL_IMAGE;

/// Batch size that learning rates are given for; they are multiplied by the batch size over this.
const REFERENCE_BATCH: f64 = 256.0;
/// Passes over few images; the recipe's number for ImageNet with ViT-B.
const MOST_EPOCHS: u64 = 100;
/// Passes over many images, unless more are asked for.
const FEWEST_EPOCHS: u64 = 30;
/// Images that pass through the encoder in all, unless that would be fewer or more epochs.
const IMAGES_IN_ALL: u64 = 1_000_000;
/// Steps of an epoch, about, unless batches would become too small or too large.
const STEPS_PER_EPOCH: usize = 40;
/// Batches as they are picked, smallest and largest.
const BATCHES: [usize; 2] = [16, 256];
/// Least area of the crops of small images, of which 0.08 would be a few pixels: as pre-training has it on CIFAR-10.
const LEAST_AREA_OF_SMALL: f64 = 0.35;

/// The protocol: the encoder and a linear classifier are trained together.
///
/// The recipe is the one of BEiT (Bao et al., 2022, appendix H) with the values of MAE (He et al., 2022, table 9) for
/// ViT-B on ImageNet, which fine-tunes for 100 epochs in batches of 1024. Not of that table are the
/// layer decay (0.75 there; 0.65 is BEiT's for ViT-B, and that of the commands published with MAE), random erasing and
/// the moving average.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FineTune {
    /// Blocks that are trained, counted from the last, with the final norm and the head; 0 for the head alone (MAE's
    /// partial fine-tuning); `None` for everything.
    pub partial: Option<usize>,
    /// Passes over the training images, at least 1.
    pub epochs: u64,
    /// Images in a step, at least 1; what is left of an epoch is left out, unless it is all there is.
    pub batch_size: usize,
    /// Learning rate of the head after the warm-up, for batches of 256; above 0.
    pub lr: f64,
    /// Learning rate at the end, for batches of 256; at least 0.
    pub final_lr: f64,
    /// Part of the epochs over which the learning rate rises linearly from 0 to `lr`, [0, 1].
    pub warmup: f64,
    /// Factor of the learning rate from a block to the one before it, (0, 1].
    pub layer_decay: f64,
    /// AdamW's weight decay of matrices, at least 0; biases, norms, [CLS] and positions have none.
    pub weight_decay: f64,
    /// Largest norm of the gradient, above 0; 0 to not clip.
    pub clip_grad: f64,
    /// Probability that the last block's branches are dropped for an image, rising linearly from 0 at the first block,
    /// [0, 1).
    pub drop_path: f64,
    /// Share of a label that is spread over all classes alike, [0, 1).
    pub smoothing: f64,
    /// Least area of the random crops as a fraction of the image, (0, 1].
    pub least_area: f64,
    /// Probability that a crop is flipped, [0, 1]; 0 where left and right tell classes apart.
    pub flip: f64,
    /// Probability that a crop is rotated by 90, 180 or 270 degrees, [0, 1]; 0.75 where images have no up.
    pub rotation: f64,
    /// Magnitude of RandAugment, two operations an image, [0, 10]; 0 for none.
    pub rand_augment: f64,
    /// Probability that a random part of an image is erased, [0, 1].
    pub erasing: f64,
    /// Parameter of the Beta distribution that says how much of a batch's images mixup keeps, [0, 100]; 0 for none.
    pub mixup: f64,
    /// The same of CutMix. With both, each batch gets one of them.
    pub cutmix: f64,
    /// Share of itself that the moving average of the weights keeps at a step, [0, 1); the average is what is tested
    /// and saved. 0 for the weights themselves. At step t it is at most (1 + t) / (10 + t), so that a short training
    /// averages over about its last tenth.
    pub ema: f64,
    /// How products are multiplied on a CPU while training.
    pub precision: PrecisionSetting,
    /// Whether the backward pass computes activations anew: less memory, same bits.
    pub grad_checkpointing: bool,
    /// Seed of order, crops and all other draws.
    pub seed: u64,
}

impl FineTune {
    /// The recipe, for a set of `images` labelled images and an encoder of images of `image_size` pixels: few are seen
    /// more often, in smaller batches, so that there are steps enough; small ones are cut less.
    pub fn recipe(images: usize, image_size: usize) -> Self {
        let epochs = (IMAGES_IN_ALL / (images as u64).max(1)).clamp(FEWEST_EPOCHS, MOST_EPOCHS);
        let [smallest, largest] = BATCHES;
        let batch_size = (images / STEPS_PER_EPOCH).max(1).next_power_of_two().clamp(smallest, largest);
        let least_area =
            if image_size <= SMALL_IMAGE { LEAST_AREA_OF_SMALL } else { Self::RECIPE.least_area };
        let precision = Self::RECIPE.precision.settled();
        let lr = Self::lr_for(batch_size.min(images.max(1)));
        Self { epochs, batch_size, lr, least_area, precision, ..Self::RECIPE }
    }

    /// The recipe's learning rate for batches of so many images, at least 1: in small ones as large as in one of 256. AdamW's
    /// steps are as long for few images as for many, and with 16 a batch a rate of a sixteenth leaves the classifier
    /// where it was (docs/results.md).
    pub fn lr_for(batch_size: usize) -> f64 {
        Self::RECIPE.lr * (REFERENCE_BATCH / batch_size as f64).max(1.0)
    }

    /// The recipe's values, of which epochs and batches are those for ImageNet.
    pub const RECIPE: Self = Self {
        partial: None,
        epochs: MOST_EPOCHS,
        batch_size: 1024,
        lr: 1e-3,
        final_lr: 1e-6,
        warmup: 0.05,
        layer_decay: 0.65,
        weight_decay: 0.05,
        clip_grad: 0.0,
        drop_path: 0.1,
        smoothing: 0.1,
        least_area: 0.08,
        flip: 0.5,
        rotation: 0.0,
        rand_augment: 9.0,
        erasing: 0.25,
        mixup: 0.8,
        cutmix: 1.0,
        ema: 0.9999,
        precision: PrecisionSetting::Auto,
        grad_checkpointing: false,
        seed: 0,
    };

    /// Fails for the first setting that is out of its range, for an encoder of this architecture.
    ///
    /// # Errors
    /// [`Error::Setting`] and [`Error::Blocks`].
    pub fn check(&self, encoder: &EncoderConfig) -> Result<(), Error> {
        let unsigned = |x: f64| x.is_finite() && x >= 0.0;
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let below_1 = |x: f64| (0.0..1.0).contains(&x);
        let up_to_1 = |x: f64| x > 0.0 && x <= 1.0;
        if let (blocks, Some(found)) = (encoder.depth, self.partial)
            && found > blocks
        {
            return Err(Error::Blocks { field: "partial", blocks, found });
        }
        for (holds, field, expected, found) in [
            (self.epochs >= 1, "epochs", "at least 1", self.epochs as f64),
            (self.batch_size >= 1, "batch_size", "at least 1", self.batch_size as f64),
            (self.lr > 0.0 && self.lr.is_finite(), "lr", "a number above 0", self.lr),
            (unsigned(self.final_lr), "final_lr", "a number of at least 0", self.final_lr),
            (share(self.warmup), "warmup", "a number in [0, 1]", self.warmup),
            (share(self.flip), "flip", "a number in [0, 1]", self.flip),
            (share(self.rotation), "rotation", "a number in [0, 1]", self.rotation),
            (
                (0.0..=10.0).contains(&self.rand_augment),
                "rand_augment",
                "a number in [0, 10]",
                self.rand_augment,
            ),
            (share(self.erasing), "erasing", "a number in [0, 1]", self.erasing),
            ((0.0..=100.0).contains(&self.mixup), "mixup", "a number in [0, 100]", self.mixup),
            ((0.0..=100.0).contains(&self.cutmix), "cutmix", "a number in [0, 100]", self.cutmix),
            (up_to_1(self.layer_decay), "layer_decay", "a number in (0, 1]", self.layer_decay),
            (unsigned(self.weight_decay), "weight_decay", "a number of at least 0", self.weight_decay),
            (unsigned(self.clip_grad), "clip_grad", "a number of at least 0", self.clip_grad),
            (below_1(self.drop_path), "drop_path", "a number in [0, 1)", self.drop_path),
            (below_1(self.smoothing), "smoothing", "a number in [0, 1)", self.smoothing),
            (up_to_1(self.least_area), "least_area", "a number in (0, 1]", self.least_area),
            (below_1(self.ema), "ema", "a number in [0, 1)", self.ema),
        ] {
            if !holds {
                return Err(Error::Setting { field, expected, found });
            }
        }
        Ok(())
    }

    /// How images are cut and changed in an epoch.
    pub(super) fn crops(&self, epoch: u64) -> RandomCrops {
        let augment = RandAugment { magnitude: self.rand_augment, ..RandAugment::default() };
        let erasing = RandomErasing { probability: self.erasing, ..RandomErasing::default() };
        RandomCrops {
            scale: [self.least_area, 1.0],
            flip: self.flip,
            rotation: self.rotation,
            rand_augment: (self.rand_augment > 0.0).then_some(augment),
            erasing: (self.erasing > 0.0).then_some(erasing),
            seed: self.seed,
            epoch,
        }
    }

    /// How the images of a batch are mixed.
    pub(super) fn mixing(&self) -> Mixing {
        Mixing { mixup: self.mixup, cutmix: self.cutmix, ..Mixing::default() }
    }

    /// Factor of the learning rates for batches of so many images.
    pub(super) fn rate_scale(&self, batch: usize) -> f64 {
        batch as f64 / REFERENCE_BATCH
    }

    /// Share of itself that the moving average keeps at the step after `done` finished ones.
    pub(super) fn momentum(&self, done: u64) -> f64 {
        self.ema.min((1.0 + done as f64) / (10.0 + done as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_images_are_seen_more_often_in_smaller_batches() {
        let picked = |images| {
            let FineTune { epochs, batch_size, .. } = FineTune::recipe(images, 224);
            (epochs, batch_size)
        };
        assert_eq!(picked(30), (100, 16));
        assert_eq!(picked(2_500), (100, 64));
        assert_eq!(picked(12_811), (78, 256));
        assert_eq!(picked(1_281_167), (30, 256));
        assert_eq!([32, 224].map(|size| FineTune::recipe(2_500, size).least_area), [0.35, 0.08]);
        // The rate of a step is 0.001 up to 256 images, and grows with the batch from there.
        for (batch, of_a_step) in [(8, 1e-3), (64, 1e-3), (256, 1e-3), (1024, 4e-3)] {
            let settings = FineTune { lr: FineTune::lr_for(batch), ..FineTune::RECIPE };
            assert_eq!(settings.lr * settings.rate_scale(batch), of_a_step);
        }
        assert_eq!(FineTune::recipe(2_500, 32).lr, 4e-3);
    }

    #[test]
    fn images_are_cut_changed_and_mixed_as_asked_for() {
        let settings = FineTune {
            least_area: 0.4,
            flip: 0.1,
            rotation: 0.75,
            rand_augment: 5.0,
            erasing: 0.6,
            mixup: 0.2,
            cutmix: 0.7,
            seed: 7,
            ..FineTune::RECIPE
        };
        let RandomCrops { scale, flip, rotation, rand_augment, erasing, seed, epoch } = settings.crops(3);
        assert_eq!((scale, flip, rotation, seed, epoch), ([0.4, 1.0], 0.1, 0.75, 7, 3));
        assert_eq!(rand_augment.map(|augment| augment.magnitude), Some(5.0));
        assert_eq!(erasing.map(|erasing| erasing.probability), Some(0.6));
        let Mixing { mixup, cutmix, .. } = settings.mixing();
        assert_eq!((mixup, cutmix), (0.2, 0.7));
        let without = FineTune { rand_augment: 0.0, erasing: 0.0, ..settings }.crops(3);
        assert!(without.rand_augment.is_none() && without.erasing.is_none());
    }

    /// A setting by its name, how it is set, values in its range and out of it, at the ends where it has some.
    type Range = (&'static str, fn(&mut FineTune, f64), &'static [f64], &'static [f64]);

    /// All that have a range, for an encoder of four blocks.
    const RANGES: [Range; 19] = [
        ("partial", |settings, x| settings.partial = Some(x as usize), &[0.0, 4.0], &[5.0]),
        ("epochs", |settings, x| settings.epochs = x as u64, &[1.0], &[0.0]),
        ("batch_size", |settings, x| settings.batch_size = x as usize, &[1.0], &[0.0]),
        ("lr", |settings, x| settings.lr = x, &[1e-9, 100.0], &[0.0, f64::INFINITY, f64::NAN]),
        ("final_lr", |settings, x| settings.final_lr = x, &[0.0, 1.0], &[-1e-9, f64::INFINITY]),
        ("warmup", |settings, x| settings.warmup = x, &[0.0, 1.0], &[-0.1, 1.1, f64::NAN]),
        ("layer_decay", |settings, x| settings.layer_decay = x, &[0.1, 1.0], &[0.0, 1.1]),
        ("weight_decay", |settings, x| settings.weight_decay = x, &[0.0, 2.0], &[-0.1, f64::INFINITY]),
        ("clip_grad", |settings, x| settings.clip_grad = x, &[0.0, 2.0], &[-0.1, f64::INFINITY]),
        ("drop_path", |settings, x| settings.drop_path = x, &[0.0, 0.9], &[-0.1, 1.0]),
        ("smoothing", |settings, x| settings.smoothing = x, &[0.0, 0.9], &[-0.1, 1.0]),
        ("least_area", |settings, x| settings.least_area = x, &[0.1, 1.0], &[0.0, 1.1]),
        ("flip", |settings, x| settings.flip = x, &[0.0, 1.0], &[-0.1, 1.1]),
        ("rotation", |settings, x| settings.rotation = x, &[0.0, 1.0], &[-0.1, 1.1]),
        ("rand_augment", |settings, x| settings.rand_augment = x, &[0.0, 10.0], &[-0.1, 11.0]),
        ("erasing", |settings, x| settings.erasing = x, &[0.0, 1.0], &[-0.1, 1.1]),
        ("mixup", |settings, x| settings.mixup = x, &[0.0, 100.0], &[-0.1, 101.0]),
        ("cutmix", |settings, x| settings.cutmix = x, &[0.0, 100.0], &[-0.1, 101.0]),
        ("ema", |settings, x| settings.ema = x, &[0.0, 0.9], &[-0.1, 1.0]),
    ];

    #[test]
    fn a_setting_out_of_its_range_is_named() {
        let encoder = EncoderConfig { depth: 4, ..EncoderConfig::default() };
        FineTune::RECIPE.check(&encoder).expect("the recipe is in range");
        for (field, set, within, out) in RANGES {
            let check = |&value: &f64| {
                let mut settings = FineTune::RECIPE;
                set(&mut settings, value);
                settings.check(&encoder).map_err(|error| error.to_string())
            };
            for value in within {
                assert_eq!(check(value), Ok(()), "{field} = {value}");
            }
            for value in out {
                let message = check(value).expect_err(field);
                assert!(message.starts_with(&format!("{field}: expected ")), "{message}");
            }
        }
        let json = serde_json::to_value(FineTune::RECIPE).expect("plain data");
        let fields = json.as_object().expect("a struct").keys().map(String::as_str);
        let mut others: Vec<_> =
            fields.filter(|field| RANGES.iter().all(|(named, ..)| named != field)).collect();
        others.sort_unstable();
        assert_eq!(others, ["grad_checkpointing", "precision", "seed"], "settings of any value");
    }

    #[test]
    fn the_average_starts_short_and_never_keeps_more_than_asked_for() {
        let settings = FineTune { ema: 0.9, ..FineTune::RECIPE };
        assert_eq!([0, 10, 80, 1000].map(|done| settings.momentum(done)), [0.1, 0.55, 0.9, 0.9]);
    }
}
