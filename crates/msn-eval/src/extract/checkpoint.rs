//! An encoder out of a checkpoint, ours or another program's.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use msn_data::{FULL_RANGE, Limits, Normalization};
use msn_model::{Encoder, EncoderConfig, HEAD_PREFIX, LinearHead, encoder_seed, load_state, take_tensor};
use msn_store::{Checkpoint, Loaded, Rejected, RunDir, StateDict, TARGET_PART};
use serde::Deserialize;

use super::{ExtractError, Import, import};
use crate::finetune::has_epochs_left;

/// The part of a checkpoint that holds a classifier on the encoder: `weight` and `bias` of a layer after the final
/// norm. Its classes are named in the state.
pub const CLASSIFIER_PART: &str = "classifier";

/// Which weights the encoder gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Those that were learned: of the momentum encoder.
    Pretrained,
    /// Those that training started from.
    Untrained,
}

/// The encoder in a checkpoint, and how its images are to be prepared.
#[derive(Debug)]
pub struct SavedEncoder {
    /// The file or folder that holds it, and its step.
    pub origin: Origin,
    /// Its architecture.
    pub config: EncoderConfig,
    /// Its tensors, and those of the projection head (`fc.`) if it is one of ours.
    pub weights: StateDict,
    /// The classifier that it was fine-tuned or exported with, if it was.
    pub classifier: Option<LinearHead>,
    /// Seed that weights for the same architecture are drawn from, for comparison.
    pub seed: u64,
    /// What pixels in [0, 1] are normalised with.
    pub normalization: Normalization,
    /// Guards against huge images.
    pub limits: Limits,
    /// Newer checkpoints that had to be passed over.
    pub rejected: Vec<Rejected>,
    /// What there is to say of a checkpoint of another program.
    pub notes: Vec<String>,
}

/// The checkpoint that an encoder was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its folder, or the file of another program.
    pub folder: PathBuf,
    /// Steps that it was trained for; other programs do not tell.
    pub step: Option<u64>,
}

/// What matters here of a checkpoint's `state.json`.
#[derive(Deserialize)]
struct State {
    config: RunConfig,
    /// Class names of the classifier, in the order of its rows.
    #[serde(default)]
    classes: Vec<String>,
}

#[derive(Deserialize)]
struct RunConfig {
    seed: u64,
    encoder: EncoderConfig,
    data: DataSection,
}

#[derive(Deserialize)]
struct DataSection {
    mean: [f32; 3],
    std: [f32; 3],
    max_file_mib: usize,
    max_megapixels: u64,
    /// Checkpoints of earlier versions have none.
    #[serde(default = "full_range")]
    levels: [u16; 2],
}

impl DataSection {
    fn limits(&self) -> Limits {
        Limits::of(self.max_file_mib, self.max_megapixels, self.levels)
    }
}

fn full_range() -> [u16; 2] {
    FULL_RANGE
}

/// Seed of the weights that stand for an untrained encoder of another program's architecture.
const FOREIGN_SEED: u64 = 0;

/// Names of tensors in a note.
const NAMES: usize = 6;

impl SavedEncoder {
    /// Reads the encoder of a run folder (its newest whole checkpoint), of a checkpoint folder, or of another program's
    /// checkpoint, whose number of `heads` may have to be told.
    ///
    /// # Errors
    /// If there is no such checkpoint, none can be read, or it is not one of a pre-training run; and as
    /// [`Import::read`].
    pub fn read(path: &Path, heads: Option<usize>) -> Result<Self, ExtractError> {
        if import::is_foreign(path) {
            return Ok(Self::imported(Import::read(path, heads)?));
        }
        let Loaded { mut checkpoint, folder, rejected } = load(path)?;
        let mut notes = Vec::new();
        if has_epochs_left(&checkpoint.state) {
            notes.push(format!(
                "{}: a fine-tuning that has epochs left; if it was stopped, `msn eval finetune ... --resume` goes on with it",
                folder.display()
            ));
        }
        let State { config, classes } = serde_json::from_value(checkpoint.state)
            .map_err(|source| ExtractError::State { checkpoint: folder.clone(), source })?;
        let weights = checkpoint
            .parts
            .remove(TARGET_PART)
            .ok_or_else(|| ExtractError::MissingPart { checkpoint: folder.clone(), part: TARGET_PART })?;
        if let Some(found) = heads.filter(|&heads| heads != config.encoder.heads) {
            return Err(ExtractError::Heads { checkpoint: folder, expected: config.encoder.heads, found });
        }
        let head = checkpoint.parts.remove(CLASSIFIER_PART);
        let classifier = head
            .map(|head| classifier(head, classes, config.encoder.dim))
            .transpose()
            .map_err(|source| ExtractError::Architecture { checkpoint: folder.clone(), source })?;
        Ok(Self {
            origin: Origin { step: Some(checkpoint.step), folder },
            config: config.encoder,
            weights,
            classifier,
            seed: config.seed,
            normalization: Normalization { mean: config.data.mean, std: config.data.std },
            limits: config.data.limits(),
            rejected,
            notes,
        })
    }

    fn imported(import: Import) -> Self {
        let notes = import.summary(NAMES);
        let Import { file, config, weights, normalization, classifier, .. } = import;
        let (seed, limits) = (FOREIGN_SEED, Limits::default());
        Self {
            origin: Origin { folder: file, step: None },
            config,
            weights,
            classifier,
            seed,
            normalization,
            limits,
            rejected: Vec::new(),
            notes,
        }
    }

    /// The encoder on a device, without a projection head.
    ///
    /// # Errors
    /// [`ExtractError::Architecture`] if the weights are not those of the architecture.
    pub fn into_encoder(self, weights: Weights, device: &Device) -> Result<Encoder, ExtractError> {
        let origin = self.origin.folder;
        let architecture = |source| ExtractError::Architecture { checkpoint: origin.clone(), source };
        let fresh = self.config.init(None, encoder_seed(self.seed), device).map_err(architecture)?;
        match weights {
            Weights::Untrained => Ok(fresh),
            Weights::Pretrained => {
                let of_encoder = |(name, _): &(String, _)| !name.starts_with(HEAD_PREFIX);
                load_state(fresh, self.weights.into_iter().filter(of_encoder).collect()).map_err(architecture)
            }
        }
    }
}

/// The layer in a part of a checkpoint, for an encoder of `dim` dimensions.
fn classifier(mut part: StateDict, classes: Vec<String>, dim: usize) -> Result<LinearHead, msn_model::Error> {
    let prefix = format!("{CLASSIFIER_PART}.");
    let weight = take_tensor(&mut part, &prefix, "weight", &[classes.len(), dim])?;
    let bias = take_tensor(&mut part, &prefix, "bias", &[classes.len()])?;
    Ok(LinearHead { classes, weight, bias })
}

fn load(path: &Path) -> Result<Loaded, ExtractError> {
    let is_checkpoint = path
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with("step-") && !path.join("config.toml").exists());
    let wanted = |part: &str| [TARGET_PART, CLASSIFIER_PART].contains(&part);
    if is_checkpoint {
        let checkpoint = Checkpoint::read_parts(path, wanted)?;
        return Ok(Loaded { checkpoint, folder: path.to_path_buf(), rejected: Vec::new() });
    }
    Ok(RunDir::open(path)?.checkpoints().load_newest_parts(wanted)?)
}
