//! The configuration of a run: one section a concern, every field with a default, a unit and a range.

mod auto;
mod check;
mod memory;
mod merge;
mod original;
mod speed;

use std::str::FromStr;

use msn_data::{Limits, LoaderConfig, Masking, Normalization, Views};
use msn_model::{EncoderConfig, HeadConfig, Precision};
use msn_ssl::{MsnConfig, ScheduleConfig};
use serde::{Deserialize, Serialize};

pub use auto::{Choice, DataFacts, RunTime, suggest};
pub use merge::Source;
pub use speed::speed_of_training;

use crate::{AdamWConfig, Error};

/// All settings of a run, as `config.toml` holds them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Every random draw of the run derives from it.
    pub seed: u64,
    /// Where images come from and how they are read.
    pub data: DataConfig,
    /// The views of an image.
    pub views: Views,
    /// Which patches of the large anchor views are dropped.
    pub mask: Masking,
    /// The vision transformer.
    pub encoder: EncoderConfig,
    /// The projection head.
    pub head: HeadConfig,
    /// The loss.
    pub objective: MsnConfig,
    /// Epochs, learning rate, weight decay, momentum.
    pub optim: ScheduleConfig,
    /// Batches, clipping, AdamW, logs and checkpoints.
    pub train: TrainConfig,
}

/// Section `[data]`: reading images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// The images: any source that `--data` takes, which gives it.
    pub path: String,
    /// Channel means that views are normalised with, of pixels in [0, 1]; red, green, blue.
    pub mean: [f32; 3],
    /// Channel deviations that views are normalised with; above 0.
    pub std: [f32; 3],
    /// Largest fraction of the images that may be broken before the run stops, [0, 1]; unless it is 0, three may be in
    /// any case.
    pub max_skipped: f64,
    /// Threads that decode and augment; 0 for one a core.
    pub workers: usize,
    /// Batches that may be ready ahead of the training step; at least 1.
    pub queue: usize,
    /// Largest size of an image file, MiB; at least 1.
    pub max_file_mib: usize,
    /// Largest number of pixels of an image, millions; at least 1.
    pub max_megapixels: u64,
    /// The samples of 16-bit images that become black and white, 0 to 65535, the first below the second; those between are
    /// spread evenly over 256 levels, those outside cut off. Images of 8 bits stay as they are.
    pub levels: [u16; 2],
}

impl Default for DataConfig {
    fn default() -> Self {
        let (normalization, limits) = (Normalization::default(), Limits::default());
        Self {
            path: String::new(),
            mean: normalization.mean,
            std: normalization.std,
            max_skipped: 0.01,
            workers: 0,
            queue: 2,
            max_file_mib: limits.max_bytes >> 20,
            max_megapixels: limits.max_pixels / 1_000_000,
            levels: limits.levels,
        }
    }
}

impl DataConfig {
    /// Mean and deviation of the channels.
    pub fn normalization(&self) -> Normalization {
        Normalization { mean: self.mean, std: self.std }
    }

    /// Guards against huge images, and the range of 16-bit samples.
    pub fn limits(&self) -> Limits {
        Limits::of(self.max_file_mib, self.max_megapixels, self.levels)
    }

    /// Checks the fields that no other part of the program checks.
    ///
    /// # Errors
    /// The first field that is out of its range, with what was expected and what was found.
    pub fn validate(&self) -> Result<(), Error> {
        let within = |field, most: u64, found: u64| {
            if (1..=most).contains(&found) {
                return Ok(());
            }
            Err(Error::Config { field, expected: format!("1 to {most}"), found: found.to_string() })
        };
        // What still fits a count of bytes and of pixels.
        within("data.max_file_mib", (usize::MAX >> 20) as u64, self.max_file_mib as u64)?;
        within("data.max_megapixels", u64::MAX / 1_000_000, self.max_megapixels)?;
        let [black, white] = self.levels;
        if black < white {
            return Ok(());
        }
        let (expected, found) = ("the lower number first".to_owned(), format!("[{black}, {white}]"));
        Err(Error::Config { field: "data.levels", expected, found })
    }
}

/// Section `[train]`: batches, clipping, AdamW, logs and checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Images in a batch; at least 2 (batch norm needs more than one).
    pub batch_size: usize,
    /// Largest norm of the encoder's gradient, above 0; 0 to not clip.
    pub clip_grad: f64,
    /// How products are multiplied on a CPU; sums, norms, softmax, loss and weights are `f32` in any case.
    pub precision: PrecisionSetting,
    /// Whether the backward pass computes the activations of every block anew instead of keeping them: less memory
    /// for the time of one more forward pass. The results are the same bits.
    pub grad_checkpointing: bool,
    /// AdamW: shares that the first and the second moment keep, [0, 1).
    pub betas: [f64; 2],
    /// AdamW: added to the root of the second moment, above 0.
    pub adam_eps: f64,
    /// Steps between two logged ones; at least 1.
    pub log_every: u64,
    /// Epochs between two checkpoints; 0 for one at the end of every epoch, but so seldom that saving takes at most about a
    /// twentieth of the time. The last epoch always has one.
    pub checkpoint_epochs: u64,
    /// Minutes after which a checkpoint is due even within an epoch; above 0.
    pub checkpoint_minutes: f64,
    /// Newest checkpoints to keep; at least 1.
    pub keep_last: usize,
    /// Keep one checkpoint of every so many epochs for good; 0 for none.
    pub keep_every_epochs: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            batch_size: 64,
            clip_grad: 3.0,
            precision: PrecisionSetting::Auto,
            grad_checkpointing: false,
            betas: [0.9, 0.999],
            adam_eps: 1e-8,
            log_every: 10,
            checkpoint_epochs: 0,
            checkpoint_minutes: 10.0,
            keep_last: 3,
            keep_every_epochs: 0,
        }
    }
}

/// Precision of the operands of products on a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionSetting {
    /// bf16 where the CPU multiplies it directly, else `f32`; a new run's `config.toml` says which it was.
    #[default]
    Auto,
    /// Operands rounded to bf16, and kept in half the memory for the backward pass.
    Bf16,
    /// Single precision.
    F32,
}

impl PrecisionSetting {
    /// The same without `auto`, which depends on the machine.
    pub fn settled(self) -> Self {
        match self {
            Self::Auto if msn_model::bf16_is_fast() => Self::Bf16,
            Self::Auto => Self::F32,
            other => other,
        }
    }

    /// What the encoder is told.
    pub fn precision(self) -> Precision {
        match self.settled() {
            Self::Bf16 => Precision::Bf16,
            _ => Precision::F32,
        }
    }
}

impl From<Precision> for PrecisionSetting {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Bf16 => Self::Bf16,
            Precision::F32 => Self::F32,
        }
    }
}

impl FromStr for PrecisionSetting {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name.trim() {
            "auto" => Ok(Self::Auto),
            "bf16" => Ok(Self::Bf16),
            "f32" => Ok(Self::F32),
            _ => Err("expected auto, bf16 or f32".to_owned()),
        }
    }
}

impl TrainConfig {
    /// The constants of AdamW.
    pub fn adamw(&self) -> AdamWConfig {
        AdamWConfig { betas: self.betas, eps: self.adam_eps }
    }

    fn validate(&self) -> Result<(), Error> {
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let check = |holds: bool, field, expected: &str, found: String| {
            if holds { Ok(()) } else { Err(Error::Config { field, expected: expected.to_owned(), found }) }
        };
        check(self.batch_size >= 2, "train.batch_size", "at least 2", self.batch_size.to_string())?;
        let clip = self.clip_grad >= 0.0 && self.clip_grad.is_finite();
        check(clip, "train.clip_grad", "a number of at least 0", self.clip_grad.to_string())?;
        let betas = self.betas.iter().all(|beta| (0.0..1.0).contains(beta));
        check(betas, "train.betas", "two numbers in [0, 1)", format!("{:?}", self.betas))?;
        check(positive(self.adam_eps), "train.adam_eps", "a number above 0", self.adam_eps.to_string())?;
        check(self.log_every >= 1, "train.log_every", "at least 1", self.log_every.to_string())?;
        let minutes = self.checkpoint_minutes;
        check(positive(minutes), "train.checkpoint_minutes", "a number above 0", minutes.to_string())?;
        check(self.keep_last >= 1, "train.keep_last", "at least 1", self.keep_last.to_string())
    }
}

impl Config {
    /// Checks every field against its range, and those against each other that belong together.
    ///
    /// # Errors
    /// The first field that does not fit, with what was expected and what was found.
    pub fn validate(&self) -> Result<(), Error> {
        self.encoder.validate()?;
        self.head.validate()?;
        self.objective.validate()?;
        self.optim.validate()?;
        self.train.validate()?;
        self.data.validate()?;
        self.loader().validate()?;
        let (views, encoder) = (self.views.random_size, self.encoder.image_size);
        if views != encoder {
            return Err(Error::Config {
                field: "views.random_size",
                expected: format!(
                    "the size that the encoder has positions for, encoder.image_size = {encoder}"
                ),
                found: views.to_string(),
            });
        }
        Ok(())
    }

    /// What the loader of batches needs to know.
    pub fn loader(&self) -> LoaderConfig {
        let defaults = LoaderConfig::new(self.train.batch_size, self.encoder.patch_size, self.seed);
        LoaderConfig {
            views: self.views.clone(),
            masking: self.mask,
            normalization: self.data.normalization(),
            workers: if self.data.workers == 0 { defaults.workers } else { self.data.workers },
            queue: self.data.queue,
            max_skipped: self.data.max_skipped,
            limits: self.data.limits(),
            ..defaults
        }
    }

    /// The text of `config.toml`.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("every field of a configuration has a TOML form")
    }
}
