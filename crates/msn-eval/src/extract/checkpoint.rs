//! An encoder out of a checkpoint.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use msn_data::{Limits, Normalization};
use msn_model::{Array, Encoder, EncoderConfig, StateDict, encoder_seed, load_state};
use msn_store::{Checkpoint, Loaded, Rejected, RunDir, TARGET_PART};
use serde::Deserialize;

use super::ExtractError;

/// Tensors of the projection head, which pre-training adds to the encoder.
const HEAD_PREFIX: &str = "fc.";

/// Which weights the encoder gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weights {
    /// Those of the momentum encoder.
    Pretrained,
    /// Those that training started from.
    Untrained,
}

/// An encoder and how its images are to be prepared.
pub(super) struct Opened {
    pub(super) encoder: Encoder,
    pub(super) image_size: usize,
    pub(super) normalization: Normalization,
    pub(super) limits: Limits,
    /// The folder of the checkpoint and its step.
    pub(super) origin: Origin,
    /// Newer checkpoints that had to be passed over.
    pub(super) rejected: Vec<Rejected>,
}

/// The checkpoint that an encoder was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its folder.
    pub folder: PathBuf,
    /// Steps that it was trained for.
    pub step: u64,
}

/// What matters here of a checkpoint's `state.json`.
#[derive(Deserialize)]
struct State {
    config: RunConfig,
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
}

/// Reads the encoder of a run folder or of a checkpoint folder.
pub(super) fn open(path: &Path, weights: Weights, device: &Device) -> Result<Opened, ExtractError> {
    let Loaded { mut checkpoint, folder, rejected } = load(path)?;
    let State { config } = serde_json::from_value(checkpoint.state)
        .map_err(|source| ExtractError::State { checkpoint: folder.clone(), source })?;
    let architecture = |source| ExtractError::Architecture { checkpoint: folder.clone(), source };
    let fresh = config.encoder.init(None, encoder_seed(config.seed), device).map_err(architecture)?;
    let encoder = match weights {
        Weights::Untrained => fresh,
        Weights::Pretrained => {
            let tensors = checkpoint
                .parts
                .remove(TARGET_PART)
                .ok_or_else(|| ExtractError::MissingPart { checkpoint: folder.clone(), part: TARGET_PART })?;
            load_state(fresh, without_head(tensors)).map_err(architecture)?
        }
    };
    Ok(Opened {
        encoder,
        image_size: config.encoder.image_size,
        normalization: Normalization { mean: config.data.mean, std: config.data.std },
        limits: Limits::of(config.data.max_file_mib, config.data.max_megapixels),
        origin: Origin { step: checkpoint.step, folder },
        rejected,
    })
}

fn load(path: &Path) -> Result<Loaded, ExtractError> {
    let is_checkpoint = path
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with("step-") && !path.join("config.toml").exists());
    if is_checkpoint {
        let checkpoint = Checkpoint::read(path)?;
        return Ok(Loaded { checkpoint, folder: path.to_path_buf(), rejected: Vec::new() });
    }
    Ok(RunDir::open(path)?.checkpoints().load_newest_parts(|part| part == TARGET_PART)?)
}

fn without_head(tensors: msn_store::StateDict) -> StateDict {
    let encoder = tensors.into_iter().filter(|(name, _)| !name.starts_with(HEAD_PREFIX));
    encoder.map(|(name, msn_store::Array { shape, data })| (name, Array { shape, data })).collect()
}
