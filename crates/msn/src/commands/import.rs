//! `msn import`

use std::collections::BTreeMap;

use anyhow::anyhow;
use msn_data::{FULL_RANGE, Normalization};
use msn_eval::{CLASSIFIER_PART, Import};
use msn_model::{EncoderConfig, LinearHead};
use msn_store::{Checkpoint, KeepPolicy, RunDir, StoreError, TARGET_PART};
use msn_train::Config;
use serde_json::json;

use super::pretrain::quoted;
use crate::cli;
use crate::progress::say;

pub(crate) fn run(arguments: &cli::Import) -> anyhow::Result<()> {
    let import = Import::read(&arguments.file, arguments.heads)?;
    import.summary(usize::MAX).iter().for_each(|line| say(line));
    let mut config = config_of(import.config, &import.normalization);
    config.data.levels = arguments.range.levels.unwrap_or(FULL_RANGE);
    config.data.validate()?;
    let mut parts = BTreeMap::from([(TARGET_PART.to_owned(), import.weights)]);
    let mut classes = Vec::new();
    if let Some(LinearHead { classes: names, weight, bias }) = import.classifier {
        classes = names;
        let layer = BTreeMap::from([("weight".to_owned(), weight), ("bias".to_owned(), bias)]);
        parts.insert(CLASSIFIER_PART.to_owned(), layer);
    }
    let checkpoint = Checkpoint {
        step: 0,
        parts,
        state: json!({
            "imported": {
                "file": import.file,
                "program": import.program,
                "section": import.section,
                "not_used": import.unused,
                "taken_as_0": import.zeros,
            },
            "classes": classes,
            "config": config,
        }),
    };
    let run = RunDir::create(&arguments.out).map_err(|error| match error {
        StoreError::RunExists { path } => {
            anyhow!(
                "{}: expected a new or an empty folder, found a run; choose another folder with --out",
                path.display()
            )
        }
        error => error.into(),
    })?;
    run.write_config(&config.to_toml())?;
    let folder = run.checkpoints().save(&checkpoint, &KeepPolicy::default())?;
    say(&format!("checkpoint: {}", folder.display()));
    say(&format!(
        "next, with labelled images in folders named after their classes:\n  \
         msn eval lowshot --checkpoint {} --train LABELLED/TRAIN --test LABELLED/TEST",
        quoted(run.path())
    ));
    Ok(())
}

/// The configuration of a run that holds an encoder which was not pre-trained there.
pub(super) fn config_of(encoder: EncoderConfig, normalization: &Normalization) -> Config {
    let mut config = Config { encoder, ..Config::default() };
    config.views.random_size = config.encoder.image_size;
    config.train.precision = config.train.precision.settled();
    (config.data.mean, config.data.std) = (normalization.mean, normalization.std);
    config
}
