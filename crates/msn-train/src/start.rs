//! A run that starts from the weights of a checkpoint.

use burn::tensor::Device;
use msn_model::{HEAD_PREFIX, state_dict};
use msn_store::{KeepPolicy, RunDir, StateDict};

use crate::checkpoint::{self, Images, SaveError, State};
use crate::{Config, Error, Trainer};

/// The weights that a run starts from in the place of drawn ones.
#[derive(Clone, Debug)]
pub struct Initial {
    /// The checkpoint that they are from, for messages and for the checkpoints of the run.
    pub origin: String,
    /// The encoder, with its projection head (`fc.`) or without.
    pub encoder: StateDict,
    /// The prototypes, if there are any.
    pub prototypes: Option<StateDict>,
}

/// What a run that starts from given weights has drawn for itself all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// The projection head: the checkpoint has none, or one of other dimensions.
    pub head: bool,
    /// The prototypes: the checkpoint has none, or others in number or dimension.
    pub prototypes: bool,
}

/// Saves the checkpoint of step 0 of a new run whose two encoders have the weights of `initial`, so that
/// [`pretrain`](crate::pretrain) goes on from there. The optimizer and the schedules start anew.
///
/// # Errors
/// [`Error::Checkpoint`] if the encoder is of another architecture than `config` says or a weight is not a number;
/// [`Error::Store`] if the checkpoint cannot be saved.
pub fn start_from(
    initial: Initial,
    config: &Config,
    images: Images,
    run: &RunDir,
    device: &Device,
) -> Result<Drawn, Error> {
    let Initial { origin, mut encoder, prototypes } = initial;
    let problem = |problem: String| Error::Checkpoint { checkpoint: origin.clone().into(), problem };
    let trainer = Trainer::new(config, device)?;
    let (drawn, drawn_prototypes) = (state_dict(trainer.encoder()), state_dict(trainer.prototypes()));

    let is_of_head = |(name, _): &(&String, _)| name.starts_with(HEAD_PREFIX);
    let head: StateDict =
        drawn.iter().filter(is_of_head).map(|(name, array)| (name.clone(), array.clone())).collect();
    let given: StateDict = encoder.extract_if(.., |name, _| name.starts_with(HEAD_PREFIX)).collect();
    let keeps_head = same_shapes(&head, &given);
    encoder.extend(if keeps_head { given } else { head });
    let given = prototypes.filter(|prototypes| same_shapes(&drawn_prototypes, prototypes));
    let found = Drawn { head: !keeps_head, prototypes: given.is_none() };

    let trainer = trainer.with_weights(encoder, given.unwrap_or(drawn_prototypes)).map_err(|error| {
        problem(format!("expected the architecture in the settings of this run, found another: {error}"))
    })?;
    let state = State { started_from: Some(origin.clone()), ..State::first(config, images) };
    match checkpoint::save(run, &trainer, 0, &state, &KeepPolicy::default()) {
        Ok(_) => Ok(found),
        Err(SaveError::Store(error)) => Err(error.into()),
        Err(SaveError::NotFinite(tensor)) => {
            Err(problem(format!("expected numbers, found {tensor} not finite")))
        }
    }
}

/// Whether both have tensors of the same names and shapes.
fn same_shapes(a: &StateDict, b: &StateDict) -> bool {
    a.len() == b.len()
        && a.iter().all(|(name, array)| b.get(name).is_some_and(|other| other.shape == array.shape))
}
