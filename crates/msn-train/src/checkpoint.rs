//! A trainer to and from a checkpoint's tensors and state.

use std::borrow::Cow;
use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::Device;
use msn_data::{Cursor, Dataset, fingerprint};
use msn_model::{for_each_tensor, state_dict};
use msn_store::{KeepPolicy, Loaded, RunDir, Shapes, StateDict, StoreError, TARGET_PART};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{AdamW, Config, Error, Trainer};

const ENCODER: &str = "encoder";
/// The part of a checkpoint that holds the prototypes.
pub const PROTOTYPES_PART: &str = "prototypes";
const ENCODER_OPTIMIZER: &str = "optimizer-encoder";
const PROTOTYPE_OPTIMIZER: &str = "optimizer-prototypes";

/// What a checkpoint holds besides tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// The images that the run was started with.
    pub(crate) images: Images,
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
    /// The complete configuration of the session that saved it, so that a checkpoint can be read by itself.
    pub(crate) config: Config,
    /// The checkpoint whose weights the run started from, if it drew none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started_from: Option<String>,
}

impl State {
    /// Before the first step.
    pub(crate) fn first(config: &Config, images: Images) -> Self {
        Self {
            images,
            cursor: Cursor::default(),
            encoder_optimizer_steps: 0,
            prototype_optimizer_steps: 0,
            last_losses: Vec::new(),
            seconds: 0.0,
            config: config.clone(),
            started_from: None,
        }
    }
}

/// The images of a run, to tell others from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// Their number.
    pub count: usize,
    /// FNV-1a of their names in order, each followed by a zero byte.
    pub names: u64,
}

impl Images {
    /// Those of a dataset.
    pub fn of(dataset: &dyn Dataset) -> Self {
        let names = (0..dataset.len()).flat_map(|index| dataset.name(index).bytes().chain([0]));
        Self { count: dataset.len(), names: fingerprint(names) }
    }

    /// How `now`, the images at `data`, differ from these.
    pub(crate) fn difference(&self, now: &Self, data: &str) -> Option<String> {
        if self.count != now.count {
            Some(format!("expected {} images, found {} in {data}", self.count, now.count))
        } else if self.names != now.names {
            let count = self.count;
            Some(format!("the {count} in {data} have other names, or the same ones in another order"))
        } else {
            None
        }
    }
}

/// Why a checkpoint is not saved.
pub(crate) enum SaveError {
    /// This tensor holds a NaN or an infinite number.
    NotFinite(String),
    /// It cannot be written.
    Store(StoreError),
}

impl From<StoreError> for SaveError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Saves the checkpoint of a trainer after `step` steps, unless a weight or a moment is no longer a number. Gives its folder.
///
/// One part at a time is copied, in the place of activations: all at once they would double the memory that a large encoder
/// takes.
pub(crate) fn save(
    run: &RunDir,
    trainer: &Trainer,
    step: u64,
    state: &State,
    keep: &KeepPolicy,
) -> Result<PathBuf, SaveError> {
    msn_model::give_back(usize::MAX);
    let parts: [(&str, &dyn Fn() -> StateDict); 5] = [
        (ENCODER, &|| state_dict(trainer.encoder())),
        (TARGET_PART, &|| state_dict(trainer.target())),
        (PROTOTYPES_PART, &|| state_dict(trainer.prototypes())),
        (ENCODER_OPTIMIZER, &|| trainer.encoder_optimizer().state()),
        (PROTOTYPE_OPTIMIZER, &|| trainer.prototype_optimizer().state()),
    ];
    let parts = parts.into_iter().map(|(part, tensors)| {
        let tensors = tensors();
        match tensors.iter().find(|(_, array)| array.data.iter().any(|x| !x.is_finite())) {
            Some((name, _)) => Err(SaveError::NotFinite(format!("{part}.{name}"))),
            None => Ok((part, Cow::Owned(tensors))),
        }
    });
    run.checkpoints().save_parts(step, parts, &json!(state), keep)
}

/// The trainer and the state of a checkpoint.
pub(crate) fn restore(loaded: Loaded, config: &Config, device: &Device) -> Result<(Trainer, State), Error> {
    let Loaded { mut checkpoint, folder, .. } = loaded;
    let problem = |problem: String| Error::Checkpoint { checkpoint: folder.clone(), problem };
    if !checkpoint.parts.contains_key(ENCODER) {
        return Err(problem(
            "expected a pre-training to go on with, found an encoder alone (imported or fine-tuned), which can be \
             evaluated, fine-tuned and exported"
                .to_owned(),
        ));
    }
    let state: State = serde_json::from_value(checkpoint.state.take()).map_err(|error| {
        problem(format!("state.json: expected the state of a training run, found {error}"))
    })?;
    let mut part = |name: &str| {
        let tensors = checkpoint.parts.remove(name);
        tensors.ok_or_else(|| problem(format!("expected a part {name}.safetensors, found none")))
    };
    let fits = |error: msn_model::Error| problem(format!("a checkpoint of another architecture: {error}"));

    let fresh = Trainer::new(config, device)?.into_models();
    let (target, encoder, prototypes) = (part(TARGET_PART)?, part(ENCODER)?, part(PROTOTYPES_PART)?);
    let models = fresh.with_weights(target, encoder, prototypes).map_err(fits)?;
    let inner = models.target.device();
    let optimizer = |name: &str, steps: u64, moments: StateDict, shapes: Shapes| {
        check_moments(&moments, &shapes).map_err(|found| problem(format!("{name}.safetensors: {found}")))?;
        AdamW::restore(config.train.adamw(), steps, moments, &inner)
            .map_err(|error| problem(format!("{name}.safetensors: {error}")))
    };
    let (name, steps) = (ENCODER_OPTIMIZER, state.encoder_optimizer_steps);
    let encoder_optimizer = optimizer(name, steps, part(name)?, shapes(&models.encoder))?;
    let (name, steps) = (PROTOTYPE_OPTIMIZER, state.prototype_optimizer_steps);
    let prototype_optimizer = optimizer(name, steps, part(name)?, shapes(&models.prototypes))?;
    let trainer = Trainer::from_parts(config, models, encoder_optimizer, prototype_optimizer);
    Ok((trainer, state))
}

/// Of every parameter, without a copy of them all.
fn shapes<M: Module>(module: &M) -> Shapes {
    let mut shapes = Shapes::new();
    for_each_tensor(module, |name, array| drop(shapes.insert(name, array.shape)));
    shapes
}

/// Refuses moments that are not those of the model's parameters, of which some may have none: those that never had a
/// gradient. But an optimizer that knows one weight matrix knows all.
fn check_moments(moments: &StateDict, model: &Shapes) -> Result<(), String> {
    for (name, array) in moments {
        let parameter = name
            .split_once('.')
            .and_then(|(moment, parameter)| matches!(moment, "first" | "second").then_some(parameter));
        let Some(parameter) = parameter else {
            return Err(format!("expected names such as `first.norm.weight`, found `{name}`"));
        };
        let Some(expected) = model.get(parameter) else {
            return Err(format!("`{name}`: the model has no parameter of that name"));
        };
        let (expected, found) = (expected.iter().product::<usize>(), array.data.len());
        if expected != found {
            return Err(format!("`{name}`: expected {expected} elements, found {found}"));
        }
    }
    let mut matrices = model.iter().filter(|(_, shape)| shape.len() > 1);
    let missing = matrices.find(|(name, _)| !moments.contains_key(&format!("first.{name}")));
    match missing {
        Some((name, _)) if !moments.is_empty() => Err(format!("expected `first.{name}`, found none")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use msn_store::Array;

    use super::*;

    struct Names(&'static [&'static str]);

    impl Dataset for Names {
        fn path(&self) -> &std::path::Path {
            "names".as_ref()
        }

        fn len(&self) -> usize {
            self.0.len()
        }

        fn name(&self, index: usize) -> &str {
            self.0[index]
        }

        fn read_into(&self, _: usize, _: usize, _: &mut Vec<u8>) -> Result<(), msn_data::Error> {
            unreachable!("names alone are asked for")
        }
    }

    #[test]
    fn images_are_told_apart_by_number_names_and_order() {
        let images = |names| Images::of(&Names(names));
        let start = images(&["a/1.png", "a/2.png", "b/1.png"]);
        assert_eq!(start.difference(&images(&["a/1.png", "a/2.png", "b/1.png"]), "photos"), None);
        let fewer = start.difference(&images(&["a/1.png", "a/2.png"]), "photos").expect("fewer");
        assert_eq!(fewer, "expected 3 images, found 2 in photos");
        for others in [
            ["a/1.png", "a/2.png", "b/3.png"],
            ["a/2.png", "a/1.png", "b/1.png"],
            ["a/1.png", "a/2.pngb", "/1.png"],
        ] {
            let now = Images::of(&Names(Box::leak(Box::new(others))));
            let difference = start.difference(&now, "photos").expect("others");
            assert!(difference.contains("photos have other names"), "{difference}");
        }
    }

    fn arrays(shapes: &[(&str, &[usize])]) -> StateDict {
        let array =
            |shape: &[usize]| Array { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] };
        shapes.iter().map(|(name, shape)| ((*name).to_owned(), array(shape))).collect()
    }

    #[test]
    fn moments_of_another_model_are_named() {
        let model = [("a.weight", vec![2, 3]), ("b.weight", vec![4, 2]), ("a.bias", vec![2])];
        let model: Shapes = model.map(|(name, shape)| (name.to_owned(), shape)).into();
        let moments = [("first.a.weight", &[6][..]), ("first.b.weight", &[8])];
        let check =
            |more: &[(&str, &[usize])]| check_moments(&arrays(&[&moments[..], more].concat()), &model);
        check(&[]).expect("a bias may have none");
        check(&[("second.a.bias", &[2])]).expect("or some");
        check_moments(&StateDict::new(), &model).expect("before the first step there are none");
        for (more, words) in [
            (("second.a.bias", &[3][..]), "expected 2 elements, found 3"),
            (("first.c.weight", &[6]), "no parameter of that name"),
            (("third.a.bias", &[2]), "found `third.a.bias`"),
        ] {
            let message = check(&[more]).expect_err("does not fit");
            assert!(message.contains(more.0) && message.contains(words), "{message}");
        }
        let message = check_moments(&arrays(&moments[..1]), &model).expect_err("a matrix without moments");
        assert!(message.contains("`first.b.weight`, found none"), "{message}");
    }
}
