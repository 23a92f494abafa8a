//! `msn import`

use std::collections::BTreeMap;

use msn_eval::Import;
use msn_store::{Checkpoint, KeepPolicy, RunDir, TARGET_PART};
use msn_train::Config;
use serde_json::json;

use super::pretrain::quoted;
use crate::cli;
use crate::progress::say;

pub(crate) fn run(arguments: &cli::Import) -> anyhow::Result<()> {
    let import = Import::read(&arguments.file, arguments.heads)?;
    import.summary(usize::MAX).iter().for_each(|line| say(line));
    let mut config = Config { encoder: import.config, ..Config::default() };
    config.views.random_size = config.encoder.image_size;
    config.train.precision = config.train.precision.settled();
    (config.data.mean, config.data.std) = (import.normalization.mean, import.normalization.std);
    let checkpoint = Checkpoint {
        step: 0,
        parts: BTreeMap::from([(TARGET_PART.to_owned(), import.weights)]),
        state: json!({
            "imported": {
                "file": import.file,
                "program": import.program,
                "section": import.section,
                "not_used": import.unused,
                "taken_as_0": import.zeros,
            },
            "config": config,
        }),
    };
    let run = RunDir::create(&arguments.out)?;
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
