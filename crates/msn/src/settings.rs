//! The configuration of a run: picked from the images, read from a file or from the run, changed by arguments.

use std::path::Path;

use anyhow::{bail, ensure};
use msn_data::{Dataset, Limits};
use msn_store::RunDir;
use msn_train::config::{DataFacts, suggest};
use msn_train::{Config, Error};

use crate::failure::wrong_arguments;

pub(crate) use msn_train::config::Source;

/// Images looked at to learn their size.
const SAMPLE: usize = 256;

/// Fields that a resumed run may change: they do not change what it computes.
const MAY_CHANGE: [&str; 10] = [
    "data.path",
    "data.workers",
    "data.queue",
    "train.grad_checkpointing",
    "train.log_every",
    "train.checkpoint_epochs",
    "train.checkpoint_minutes",
    "train.keep_last",
    "train.keep_every_epochs",
    "data.max_skipped",
];

/// What the command line says about the configuration.
pub(crate) struct Given<'a> {
    /// `--data`
    pub(crate) data: &'a Path,
    /// `--config`
    pub(crate) file: Option<Source>,
    /// What there is to say about that file.
    notes: Vec<String>,
    /// `KEY=VALUE ...`
    pub(crate) overrides: Vec<Source>,
}

impl<'a> Given<'a> {
    /// Reads what the arguments name; whatever is wrong here is wrong with the arguments.
    pub(crate) fn read(data: &'a Path, file: Option<&Path>, arguments: &[String]) -> anyhow::Result<Self> {
        let is_yaml =
            |path: &Path| path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        let (file, notes) = match file {
            None => (None, Vec::new()),
            Some(path) if is_yaml(path) => {
                let (source, notes) = Source::original(path).map_err(wrong_arguments)?;
                (Some(source), notes)
            }
            Some(path) => (Some(Source::file(path).map_err(wrong_arguments)?), Vec::new()),
        };
        let overrides: Result<_, _> = arguments.iter().map(|argument| Source::argument(argument)).collect();
        Ok(Self { data, file, notes, overrides: overrides.map_err(wrong_arguments)? })
    }

    /// The configuration of a new run, and lines that explain it: without a file the settings are picked.
    pub(crate) fn for_new_run(&self, dataset: &dyn Dataset) -> anyhow::Result<(Config, Vec<String>)> {
        match &self.file {
            Some(file) => Ok((self.over(&Config::default(), Some(file))?, self.notes.clone())),
            None => {
                // The limits are needed before the rest can be picked.
                let data = Config::merge(&Config::default(), &self.overrides).map_err(wrong_arguments)?.data;
                data.validate().map_err(wrong_arguments)?;
                let shorter_side = median_side(dataset, &data.limits())?;
                let facts = DataFacts { images: dataset.len(), shorter_side };
                let (config, choices) = suggest(facts, &self.overrides).map_err(wrong_arguments)?;
                let mut lines = vec!["settings picked, since there is no --config:".to_owned()];
                lines
                    .extend(choices.iter().map(|choice| format!("  {} ({})", choice.setting, choice.reason)));
                Ok((self.finish(config)?, lines))
            }
        }
    }

    /// The configuration of a run that goes on: its own, with changes where they do no harm.
    pub(crate) fn for_resumed_run(&self, run: &RunDir) -> anyhow::Result<Config> {
        let path = run.path().join("config.toml");
        let own = Source::toml(&path.display().to_string(), &run.read_config()?)?;
        let own = Config::merge(&Config::default(), &[own])?;
        let wanted = match &self.file {
            Some(file) => self.over(&Config::default(), Some(file))?,
            None => self.over(&own, None)?,
        };
        if let Some((field, expected, found)) = own.first_difference(&wanted, &MAY_CHANGE) {
            let run = run.path().to_path_buf();
            bail!(Error::ChangedOnResume { run, field, expected, found });
        }
        Ok(wanted)
    }

    fn over(&self, base: &Config, file: Option<&Source>) -> anyhow::Result<Config> {
        let sources: Vec<Source> = file.into_iter().chain(&self.overrides).cloned().collect();
        self.finish(Config::merge(base, &sources).map_err(wrong_arguments)?)
    }

    fn finish(&self, mut config: Config) -> anyhow::Result<Config> {
        config.data.path = self.data.display().to_string();
        config.train.precision = config.train.precision.settled();
        config.validate().map_err(wrong_arguments)?;
        Ok(config)
    }
}

/// Median of the shorter sides of some images spread over the dataset, pixels.
pub(crate) fn median_side(dataset: &dyn Dataset, limits: &Limits) -> anyhow::Result<u32> {
    let looked_at = dataset.len().min(SAMPLE);
    let mut sides = Vec::with_capacity(looked_at);
    let mut broken = None;
    for index in (0..looked_at).map(|i| i * dataset.len() / looked_at) {
        match shorter_side(dataset, index, limits) {
            Ok(side) => sides.push(side),
            Err(error) => {
                broken.get_or_insert_with(|| format!("{}: {error}", dataset.name(index)));
            }
        }
    }
    let first = broken.unwrap_or_default();
    ensure!(
        !sides.is_empty(),
        "{}: expected images, found none among {looked_at} that can be read; the first: {first}",
        dataset.path().display()
    );
    sides.sort_unstable();
    Ok(sides[sides.len() / 2])
}

fn shorter_side(dataset: &dyn Dataset, index: usize, limits: &Limits) -> anyhow::Result<u32> {
    let image = msn_data::decode(&dataset.read(index, limits.max_bytes)?, limits)?;
    Ok(image.width().min(image.height()))
}
