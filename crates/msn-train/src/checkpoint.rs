//! A trainer to and from a checkpoint's tensors and state.

use std::collections::BTreeMap;

use burn::tensor::Device;
use msn_data::Cursor;
use msn_model::{Array, StateDict, load_state, state_dict};
use msn_store::{Checkpoint, Loaded, TARGET_PART};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{AdamW, Config, Error, Trainer};

const ENCODER: &str = "encoder";
const PROTOTYPES: &str = "prototypes";
const ENCODER_OPTIMIZER: &str = "optimizer-encoder";
const PROTOTYPE_OPTIMIZER: &str = "optimizer-prototypes";

/// What a checkpoint holds besides tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// The run's seed, from which every random draw derives together with the cursor.
    pub(crate) seed: u64,
    /// Number of images that the run was started with.
    pub(crate) images: usize,
    /// Where the data continues.
    pub(crate) cursor: Cursor,
    /// Steps of the encoder's optimizer.
    pub(crate) encoder_optimizer_steps: u64,
    /// Steps of the prototypes' optimizer.
    pub(crate) prototype_optimizer_steps: u64,
    /// Losses of the last steps, oldest first, for the message of a later divergence.
    pub(crate) last_losses: Vec<f64>,
    /// Seconds of training so far, over all sessions.
    pub(crate) seconds: f64,
    /// The complete configuration, so that a checkpoint can be read by itself.
    pub(crate) config: Config,
}

/// The checkpoint of a trainer after `step` steps.
pub(crate) fn capture(trainer: &Trainer, step: u64, state: &State) -> Checkpoint {
    let parts = BTreeMap::from([
        (ENCODER.to_owned(), to_store(state_dict(&trainer.encoder))),
        (TARGET_PART.to_owned(), to_store(state_dict(&trainer.target))),
        (PROTOTYPES.to_owned(), to_store(state_dict(&trainer.prototypes))),
        (ENCODER_OPTIMIZER.to_owned(), to_store(trainer.encoder_optimizer.state())),
        (PROTOTYPE_OPTIMIZER.to_owned(), to_store(trainer.prototype_optimizer.state())),
    ]);
    Checkpoint { step, parts, state: json!(state) }
}

/// The trainer and the state of a checkpoint.
pub(crate) fn restore(loaded: Loaded, config: &Config, device: &Device) -> Result<(Trainer, State), Error> {
    let Loaded { mut checkpoint, folder, .. } = loaded;
    let problem = |problem: String| Error::Checkpoint { checkpoint: folder.clone(), problem };
    let state: State = serde_json::from_value(checkpoint.state.take()).map_err(|error| {
        problem(format!("state.json: expected the state of a training run, found {error}"))
    })?;
    let mut part = |name: &str| {
        let tensors = checkpoint.parts.remove(name);
        tensors
            .map(from_store)
            .ok_or_else(|| problem(format!("expected a part {name}.safetensors, found none")))
    };
    let fits = |error: msn_model::Error| problem(format!("a checkpoint of another architecture: {error}"));

    let fresh = Trainer::new(config, device)?;
    let encoder = load_state(fresh.encoder, part(ENCODER)?).map_err(fits)?;
    let target = load_state(fresh.target, part(TARGET_PART)?).map_err(fits)?;
    let prototypes = load_state(fresh.prototypes, part(PROTOTYPES)?).map_err(fits)?;
    let inner = target.device();
    let optimizer = |steps: u64, moments: StateDict| {
        AdamW::restore(config.train.adamw(), steps, &moments, &inner)
            .map_err(|name| problem(format!("expected two moments of `{name}`, found one")))
    };
    let encoder_optimizer = optimizer(state.encoder_optimizer_steps, part(ENCODER_OPTIMIZER)?)?;
    let prototype_optimizer = optimizer(state.prototype_optimizer_steps, part(PROTOTYPE_OPTIMIZER)?)?;
    let trainer =
        Trainer::from_parts(config, target, encoder, prototypes, encoder_optimizer, prototype_optimizer);
    Ok((trainer, state))
}

fn to_store(state: StateDict) -> msn_store::StateDict {
    state
        .into_iter()
        .map(|(name, Array { shape, data })| (name, msn_store::Array::new(shape, data)))
        .collect()
}

fn from_store(state: msn_store::StateDict) -> StateDict {
    let array = |array: msn_store::Array| Array { shape: array.shape, data: array.data };
    state.into_iter().map(|(name, found)| (name, array(found))).collect()
}
