//! Images to rows of features: by the momentum encoder of a run, or by one of the two baselines.

mod checkpoint;
mod digest;
mod error;
mod import;
mod kept;
mod probe;
mod resize;
mod rows;

use std::path::Path;
use std::thread::available_parallelism;

use burn::tensor::Device;
use msn_data::{EvalConfig, EvalTransform, Limits, Normalization};
use msn_model::{Encoder, Precision, is_cpu};

pub use checkpoint::{CLASSIFIER_PART, Origin, SavedEncoder, Weights};
pub(crate) use digest::digest;
pub use error::ExtractError;
pub use import::{CLASSES, DESCRIPTION, Description, Import, is_foreign};
use kept::KeptFeatures;
pub(crate) use rows::BatchesDone;
pub use rows::FeatureRows;

/// Largest side of the images that stand for raw pixels: 12,288 columns a row.
const LARGEST_RAW_SIZE: usize = 64;

/// Largest views that are cut from whole images.
pub(crate) const SMALL_IMAGE: usize = 96;

/// Images that pass through the encoder at a time: enough to fill the cores, and few enough that ViT-L/7 at 224 px
/// (1,025 tokens an image) needs little more than a GiB.
const BATCH_SIZE: usize = 32;

/// Turns images into rows of features.
#[derive(Debug)]
pub struct Extractor {
    kind: Kind,
    config: EvalConfig,
    origin: Option<Origin>,
    /// Where features are kept, if they are.
    kept: Option<KeptFeatures>,
}

#[derive(Debug)]
enum Kind {
    /// The normalised pixels themselves.
    RawPixels,
    Encoder {
        encoder: Box<Encoder>,
        features: msn_model::Features,
        precision: Precision,
    },
}

impl Extractor {
    /// The momentum encoder of a run's newest whole checkpoint, or of one checkpoint folder `RUN/checkpoints/step-N`;
    /// or the encoder in another program's checkpoint.
    ///
    /// # Errors
    /// If there is no such checkpoint, none can be read, or it is not one of a pre-training run.
    pub fn pretrained(
        checkpoint: &Path,
        features: msn_model::Features,
        precision: Precision,
        device: &Device,
    ) -> Result<Self, ExtractError> {
        Self::open(checkpoint, Weights::Pretrained, None, features, precision, device)
    }

    /// The encoder of the same run with weights drawn from the run's seed: what pre-training adds to.
    ///
    /// # Errors
    /// As [`Extractor::pretrained`].
    pub fn untrained(
        checkpoint: &Path,
        features: msn_model::Features,
        precision: Precision,
        device: &Device,
    ) -> Result<Self, ExtractError> {
        Self::open(checkpoint, Weights::Untrained, None, features, precision, device)
    }

    /// The pixels of the image, its shorter side resized to `shorter_side` px and cut to a square. At most 64 px, so
    /// that a set of photographs fits in memory; below that a baseline gets all that the images show.
    ///
    /// # Panics
    /// If the side is 0.
    pub fn raw_pixels(shorter_side: usize) -> Self {
        assert!(shorter_side > 0, "pixels of an empty image");
        let size = shorter_side.min(LARGEST_RAW_SIZE);
        let config =
            config(EvalTransform { resize: Some(size), crop: size, normalization: Normalization::default() });
        Self { kind: Kind::RawPixels, config, origin: None, kept: None }
    }

    /// The encoder in a checkpoint: that of a run, as [`Extractor::pretrained`] takes it, or of another program
    /// ([`Import`]), whose number of attention heads may have to be told.
    ///
    /// # Errors
    /// As [`Extractor::pretrained`] and [`Import::read`].
    pub fn open(
        checkpoint: &Path,
        weights: Weights,
        heads: Option<usize>,
        features: msn_model::Features,
        precision: Precision,
        device: &Device,
    ) -> Result<Self, ExtractError> {
        Self::of(SavedEncoder::read(checkpoint, heads)?, weights, features, precision, device)
    }

    /// The encoder in a checkpoint that has been read. `precision` is that of its products on the CPU; other devices
    /// compute in `f32`.
    ///
    /// # Errors
    /// [`ExtractError::Architecture`] if the weights are not those of the architecture.
    pub fn of(
        saved: SavedEncoder,
        weights: Weights,
        features: msn_model::Features,
        precision: Precision,
        device: &Device,
    ) -> Result<Self, ExtractError> {
        let config = saved.loading();
        let origin = Some(saved.origin.clone());
        let precision = if is_cpu(device) { precision } else { Precision::F32 };
        let mut encoder = Box::new(saved.into_encoder(weights, device)?);
        encoder.path = msn_model::Path::Kernels(precision);
        Ok(Self { kind: Kind::Encoder { encoder, features, precision }, config, origin, kept: None })
    }

    /// The checkpoint in use, of which an untrained encoder has the description alone; `None` for raw pixels.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// What the features are computed by, for people: `192 x 4, patch 4` (dimension x blocks), `32 x 32 px`.
    pub fn architecture(&self) -> String {
        match &self.kind {
            Kind::RawPixels => format!("{0} x {0} px", self.config.transform.crop),
            Kind::Encoder { encoder, .. } => {
                format!("{} x {}, patch {}", encoder.dim(), encoder.blocks.len(), encoder.patch_size())
            }
        }
    }

    /// The precision that products are computed in, which is `f32` on every device but the CPU; `None` for raw pixels.
    pub fn precision(&self) -> Option<Precision> {
        match &self.kind {
            Kind::RawPixels => None,
            Kind::Encoder { precision, .. } => Some(*precision),
        }
    }

    /// The samples of 16-bit images that become black and white.
    pub fn levels(&self) -> [u16; 2] {
        self.config.limits.levels
    }

    /// The same with other [`levels`](Self::levels), the lower one first.
    #[must_use]
    pub fn with_levels(mut self, levels: [u16; 2]) -> Self {
        self.config.limits.levels = levels;
        // Other levels are other features, which are kept in another file.
        match self.kept.take().map(KeptFeatures::into_folder) {
            Some(folder) => self.keeping(folder),
            None => self,
        }
    }

    /// Columns of the rows.
    pub fn dim(&self) -> usize {
        match &self.kind {
            Kind::RawPixels => 3 * self.config.transform.crop.pow(2),
            Kind::Encoder { encoder, .. } => encoder.dim(),
        }
    }
}

impl SavedEncoder {
    /// How images are prepared for it.
    pub fn transform(&self) -> EvalTransform {
        let size = self.config.image_size;
        EvalTransform { resize: Some(resized_side(size)), crop: size, normalization: self.normalization }
    }

    /// How images are loaded for it.
    pub(crate) fn loading(&self) -> EvalConfig {
        EvalConfig { limits: self.limits, ..config(self.transform()) }
    }
}

/// Length of the shorter side before the centre crop. Photographs have a margin around their subject, which the usual
/// 256 / 224 cuts away; small images were cut tightly when the data set was made, and lose what they show.
fn resized_side(image_size: usize) -> usize {
    if image_size <= SMALL_IMAGE { image_size } else { image_size * 256 / 224 }
}

fn config(transform: EvalTransform) -> EvalConfig {
    let workers = available_parallelism().map_or(1, usize::from);
    EvalConfig { transform, corruption: None, batch_size: BATCH_SIZE, workers, limits: Limits::default() }
}
