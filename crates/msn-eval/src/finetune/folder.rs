//! A training on disk: what a stopped one goes on from, and what a finished one leaves.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use msn_model::state_dict;
use msn_store::{Checkpoint, KeepPolicy, Loaded, RunDir, StoreError, TARGET_PART};
use msn_train::Config;
use serde_json::{Value, json};

use super::FineTuneObserver;
use super::classifier::Classifier;
use super::epochs::Trained;
use super::tuner::Tuner;
use crate::{CLASSIFIER_PART, Error, ExtractError};

/// One is enough: those before it lead to it again.
const POLICY: KeepPolicy = KeepPolicy { last: NonZeroUsize::MIN, every_steps: None };

/// The run folder of a fine-tuning.
#[derive(Clone, Copy)]
pub struct FineTuneRun<'a> {
    /// New, or with a training to go on with.
    pub folder: &'a RunDir,
    /// Describes the encoder to those who read the folder.
    pub config: &'a Config,
}

/// A fine-tuning's folder, and what it is a training of.
pub(super) struct TrainingFolder<'a> {
    run: FineTuneRun<'a>,
    /// All that decides on the weights; a training goes on only with the same.
    identity: Value,
    /// Where the encoder was read: what told it in the identity of earlier versions.
    place: Value,
    classes: &'a [String],
}

impl<'a> TrainingFolder<'a> {
    pub(super) fn new(run: FineTuneRun<'a>, identity: Value, place: Value, classes: &'a [String]) -> Self {
        Self { run, identity, place, classes }
    }

    /// Puts the newest whole checkpoint into `tuner` and says how far it is; `None` where there is none. The observer is
    /// warned of those that are passed over.
    pub(super) fn restore(
        &self,
        tuner: &mut Tuner,
        observer: &mut dyn FineTuneObserver,
    ) -> Result<Option<Trained>, ExtractError> {
        let loaded = match self.run.folder.checkpoints().load_newest() {
            Err(StoreError::NoCheckpoint { .. }) => return Ok(None),
            loaded => loaded?,
        };
        let Loaded { mut checkpoint, folder, rejected } = loaded;
        for rejected in &rejected {
            observer.warn(&format!("{rejected}; going on from {}", folder.display()));
        }
        if !checkpoint.parts.contains_key(CLASSIFIER_PART) {
            return Err(ExtractError::MissingPart { checkpoint: folder, part: CLASSIFIER_PART });
        }
        let mut state = checkpoint.state["finetune"].take();
        add_later_settings(&mut state["of"]["settings"]);
        if let Some(of) = state["of"].as_object_mut() {
            // Before it could be chosen it was that of the encoder.
            of.entry("levels").or_insert_with(|| self.identity["levels"].clone());
        }
        let now = as_then(&state["of"], &self.identity, &self.place);
        if let Some((field, [started, now])) = difference("", &state["of"], &now) {
            let run = self.run.folder.path().to_path_buf();
            return Err(Error::OtherTraining { run, field, started, now }.into());
        }
        let trained: Trained = serde_json::from_value(state["done"].take())
            .map_err(|source| ExtractError::State { checkpoint: folder.clone(), source })?;
        let architecture = |source| ExtractError::Architecture { checkpoint: folder.clone(), source };
        tuner.restore(checkpoint.parts, trained.steps).map_err(architecture)?;
        Ok(Some(trained))
    }

    /// Saves the classifier as it would be tested now and, unless it is `finished`, what training needs to go on.
    pub(super) fn save(
        &self,
        tuner: &Tuner,
        trained: &Trained,
        finished: bool,
    ) -> Result<PathBuf, ExtractError> {
        let Classifier { encoder, head } = tuner.result();
        let mut parts = if finished { BTreeMap::new() } else { tuner.parts() };
        parts.insert(TARGET_PART.to_owned(), state_dict(&encoder));
        parts.insert(CLASSIFIER_PART.to_owned(), state_dict(&head));
        let state = json!({
            "finetune": { "of": self.identity, "done": trained },
            "classes": self.classes,
            "config": self.run.config,
        });
        self.run.folder.write_config(&self.run.config.to_toml())?;
        let checkpoint = Checkpoint { step: trained.steps, parts, state };
        Ok(self.run.folder.checkpoints().save(&checkpoint, &POLICY)?)
    }
}

/// Whether the `state` of a checkpoint is that of a fine-tuning, as [`TrainingFolder::save`] writes it, with epochs left.
pub(crate) fn has_epochs_left(state: &Value) -> bool {
    let training = &state["finetune"];
    let epochs = |value: &Value| value["epochs"].as_u64();
    let [done, all] = [epochs(&training["done"]), epochs(&training["of"]["settings"])];
    done.zip(all).is_some_and(|(done, all)| done < all)
}

/// Adds the settings that there were not yet when a training began, as they were then.
fn add_later_settings(settings: &mut Value) {
    if let Some(settings) = settings.as_object_mut() {
        settings.entry("rotation").or_insert_with(|| json!(0.0));
    }
}

/// What a training of now would have in the place of `started`: before there was a digest of the weights, the place where
/// they were read.
fn as_then(started: &Value, identity: &Value, place: &Value) -> Value {
    let mut now = identity.clone();
    if started["weights"].is_null()
        && let (Some(now), Some(place)) = (now.as_object_mut(), place.as_object())
    {
        now.retain(|field, _| !["weights", "heads", "normalization"].contains(&field.as_str()));
        now.extend(place.clone());
    }
    now
}

/// The first field, by its full name, that differs, and its two values; `null` for one that is not there.
fn difference(name: &str, started: &Value, now: &Value) -> Option<(String, [String; 2])> {
    let (Value::Object(then), Value::Object(fields)) = (started, now) else {
        return (started != now).then(|| (name.to_owned(), [started.to_string(), now.to_string()]));
    };
    // Those of a later version, too, which this one would do without.
    fields.keys().chain(then.keys()).find_map(|field| {
        let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
        difference(&name, &started[field.as_str()], &now[field.as_str()])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_this_version_does_not_know_is_a_difference() {
        let started = json!({ "settings": { "flip": 0.5, "mixture": 0.2 }, "seed": 1 });
        let now = json!({ "settings": { "flip": 0.5 }, "seed": 1 });
        let (field, values) = difference("", &started, &now).expect("another setting");
        assert_eq!((field.as_str(), values), ("settings.mixture", ["0.2".to_owned(), "null".to_owned()]));
    }

    #[test]
    fn a_training_from_before_there_were_rotations_goes_on_without_them_alone() {
        let mut started = json!({ "settings": { "flip": 0.5 } });
        add_later_settings(&mut started["settings"]);
        let now = |rotation: f64| json!({ "settings": { "flip": 0.5, "rotation": rotation } });
        assert_eq!(difference("", &started, &now(0.0)), None);
        let (field, values) = difference("", &started, &now(0.75)).expect("another setting");
        assert_eq!((field.as_str(), values), ("settings.rotation", ["0.0".to_owned(), "0.75".to_owned()]));
        // One that has them keeps them.
        let mut started = now(0.75);
        add_later_settings(&mut started["settings"]);
        assert_eq!(difference("", &started, &now(0.75)), None);
    }
}
