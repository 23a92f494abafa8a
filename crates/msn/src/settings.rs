//! The configuration of a run: picked from the images, read from a file or from the run, changed by arguments.

use std::path::Path;

use anyhow::{anyhow, bail, ensure};
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

/// Given by the command's own argument.
const DATA_PATH: &str = "data.path";

/// Where a value comes from that is not given: with a file, and without.
const DEFAULT: &str = "the default";
const PICKED: &str = "picked from the images";

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
        Ok(Self { data, file, notes, overrides: read_overrides(arguments)? })
    }

    /// The configuration of a new run, and lines that explain it: without a file the settings are picked.
    pub(crate) fn for_new_run(&self, dataset: &dyn Dataset) -> anyhow::Result<(Config, Vec<String>)> {
        match &self.file {
            Some(file) => Ok((self.over(&Config::default(), Some(file), DEFAULT)?, self.notes.clone())),
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
                Ok((self.finish(config, PICKED)?, lines))
            }
        }
    }

    /// The configuration of a run that goes on: its own, with changes where they do no harm.
    pub(crate) fn for_resumed_run(&self, run: &RunDir) -> anyhow::Result<Config> {
        let path = run.path().join("config.toml");
        let own = Source::toml(&path.display().to_string(), &run.read_config()?)?;
        let own = Config::merge(&Config::default(), &[own])?;
        let wanted = match &self.file {
            Some(file) => self.over(&Config::default(), Some(file), DEFAULT)?,
            None => self.over(&own, None, "that of the run")?,
        };
        if let Some((field, expected, found)) = own.first_difference(&wanted, &MAY_CHANGE) {
            let run = run.path().to_path_buf();
            bail!(Error::ChangedOnResume { run, field, expected, found });
        }
        Ok(wanted)
    }

    /// Where the value of a field comes from that neither a file nor an argument gives, in words to be put after a
    /// message about it; empty for others.
    pub(crate) fn origin(&self, field: &str) -> String {
        self.origin_of(field, if self.file.is_some() { DEFAULT } else { PICKED })
    }

    fn origin_of(&self, field: &str, origin: &str) -> String {
        let names: &[&str] = match field {
            "encoder.image_size" | "views.random_size" => &["encoder.image_size", "views.random_size"],
            "encoder.dim" | "encoder.depth" | "encoder.heads" | "encoder.patch_size" => {
                &[field, "encoder.variant"]
            }
            field => &[field],
        };
        let mut sources = self.file.iter().chain(&self.overrides);
        if sources.any(|source| names.iter().any(|name| source.sets(name))) {
            return String::new();
        }
        format!(" ({origin}, since it is not given: give it too, as {field}=VALUE)")
    }

    fn over(&self, base: &Config, file: Option<&Source>, origin: &str) -> anyhow::Result<Config> {
        let sources: Vec<Source> = file.into_iter().chain(&self.overrides).cloned().collect();
        self.finish(Config::merge(base, &sources).map_err(wrong_arguments)?, origin)
    }

    /// `origin`: where values come from that are not given.
    fn finish(&self, mut config: Config, origin: &str) -> anyhow::Result<Config> {
        config.data.path = self.data.display().to_string();
        config.train.precision = config.train.precision.settled();
        config.validate().map_err(|error| {
            let origin = error.field().map_or_else(String::new, |field| self.origin_of(field, origin));
            wrong_arguments(anyhow!("{error}{origin}"))
        })?;
        Ok(config)
    }
}

/// The settings of `KEY=VALUE` arguments.
pub(crate) fn read_overrides(arguments: &[String]) -> anyhow::Result<Vec<Source>> {
    let overrides: Result<Vec<Source>, _> =
        arguments.iter().map(|argument| Source::argument(argument)).collect();
    let overrides = overrides.map_err(wrong_arguments)?;
    if overrides.iter().any(|source| source.sets(DATA_PATH)) {
        return Err(wrong_arguments(anyhow!(
            "{DATA_PATH}: expected no such setting: the command has its own argument for the images"
        )));
    }
    Ok(overrides)
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
