//! A training on disk: what a stopped one goes on from, and what a finished one leaves.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use msn_model::state_dict;
use msn_store::{Checkpoint, KeepPolicy, Loaded, RunDir, StoreError, TARGET_PART};
use msn_train::Config;
use serde_json::{Map, Value, json};

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
pub(super) struct Kept<'a> {
    run: FineTuneRun<'a>,
    /// All that decides on the weights; a training goes on only with the same.
    identity: Map<String, Value>,
    classes: &'a [String],
}

impl<'a> Kept<'a> {
    pub(super) fn new(run: FineTuneRun<'a>, identity: Value, classes: &'a [String]) -> Self {
        let Value::Object(identity) = identity else { unreachable!("an identity has named fields") };
        Self { run, identity, classes }
    }

    /// Puts the newest checkpoint into `tuner` and says how far it is; `None` where there is none.
    pub(super) fn restore(&self, tuner: &mut Tuner) -> Result<Option<Trained>, ExtractError> {
        let loaded = match self.run.folder.checkpoints().load_newest() {
            Err(StoreError::NoCheckpoint { .. }) => return Ok(None),
            loaded => loaded?,
        };
        let Loaded { mut checkpoint, folder, .. } = loaded;
        let state = checkpoint.state["finetune"].take();
        let other = |field: &str, started: &Value, now: &Value| Error::OtherTraining {
            run: self.run.folder.path().to_path_buf(),
            field: field.to_owned(),
            started: started.to_string(),
            now: now.to_string(),
        };
        for (field, now) in &self.identity {
            let started = &state["of"][field];
            if let (Value::Object(started), Value::Object(now)) = (started, now) {
                for (field, now) in now.iter().filter(|(field, now)| started.get(*field) != Some(*now)) {
                    return Err(other(field, started.get(field).unwrap_or(&Value::Null), now).into());
                }
            } else if started != now {
                return Err(other(field, started, now).into());
            }
        }
        let trained: Trained = serde_json::from_value(state["done"].clone())
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
