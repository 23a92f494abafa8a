//! The configuration of a run: picked from the images, read from a file or from the run, changed by arguments.

use std::path::Path;

use anyhow::{anyhow, bail};
use msn_data::{Dataset, Limits, Reading, look_at};
use msn_model::Precision;
use msn_store::RunDir;
use msn_train::config::{DataFacts, RunTime, suggest};
use msn_train::{Config, Error};

use crate::failure::wrong_arguments;

pub(crate) use msn_train::config::Source;

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

/// Images looked at to learn their size.
const SAMPLE: usize = 256;
/// Shards that they are taken from where images come shard by shard: each of them may have to be fetched whole.
const SAMPLE_SHARDS: usize = 4;

/// Given by the command's own argument.
pub(crate) const DATA_PATH: &str = "data.path";

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
    /// What `--init` brings with it: a description of the encoder whose weights the run starts from.
    pub(crate) init: Option<Source>,
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
        Ok(Self { data, file, notes, overrides: read_overrides(arguments)?, init: None })
    }

    /// Whether an argument gives the field.
    pub(crate) fn sets(&self, field: &str) -> bool {
        self.overrides.iter().any(|source| source.sets(field))
    }

    /// The precision that the arguments ask for, or that is this processor's.
    pub(crate) fn precision(&self) -> anyhow::Result<Precision> {
        let config = Config::merge(&Config::default(), &self.overrides).map_err(wrong_arguments)?;
        Ok(config.train.precision.precision())
    }

    /// The configuration of a new run, and lines that explain it: without a file the settings are picked.
    pub(crate) fn for_new_run(
        &self,
        dataset: &dyn Dataset,
        time: RunTime,
    ) -> anyhow::Result<(Config, Vec<String>)> {
        match &self.file {
            Some(file) => Ok((self.over(&Config::default(), Some(file), DEFAULT)?, self.notes.clone())),
            None => {
                // The limits are needed before the rest can be picked.
                let data = Config::merge(&Config::default(), &self.overrides).map_err(wrong_arguments)?.data;
                data.validate().map_err(wrong_arguments)?;
                let shorter_side = median_side(dataset, &data.limits())?;
                let facts = DataFacts { images: dataset.len(), shorter_side };
                let (config, choices) = suggest(facts, time, &self.sources(None)).map_err(wrong_arguments)?;
                let mut lines = vec!["settings picked, since there is no --config:".to_owned()];
                lines
                    .extend(choices.iter().map(|choice| format!("  {} ({})", choice.setting, choice.reason)));
                Ok((self.finish(config, PICKED)?, lines))
            }
        }
    }

    /// The configuration of a run that goes on: its own, with changes where they do no harm. Before its first checkpoint
    /// nothing has been computed, and any setting may change.
    pub(crate) fn for_resumed_run(&self, run: &RunDir) -> anyhow::Result<Config> {
        let own = Config::of_run(run)?;
        let wanted = match &self.file {
            Some(file) => {
                // What this processor would pick says nothing about a run that has picked already.
                let mut base = Config::default();
                base.train.precision = own.train.precision;
                self.over(&base, Some(file), DEFAULT)?
            }
            None => self.over(&own, None, "that of the run")?,
        };
        if run.checkpoints().steps()?.is_empty() {
            return Ok(wanted);
        }
        // What was trained with, whatever config.toml says by now.
        let started = saved_config(run).unwrap_or(own);
        if let Some((field, expected, found)) = started.first_difference(&wanted, &MAY_CHANGE) {
            let run = run.path().to_path_buf();
            bail!(Error::ChangedOnResume { run, field, expected, found });
        }
        Ok(wanted)
    }

    /// Where the value of a field comes from, in words to be put after a message about it; empty for one that an argument
    /// gives.
    pub(crate) fn origin(&self, field: &str) -> String {
        self.origin_of(field, if self.file.is_some() { DEFAULT } else { PICKED })
    }

    fn origin_of(&self, field: &str, origin: &str) -> String {
        let sources = self.sources(self.file.as_ref());
        if let Some(source) = sources.iter().rfind(|source| source.decides(field)) {
            return source.place(field).map_or_else(String::new, |place| format!(" ({place})"));
        }
        format!(" ({origin}, since it is not given: give it too, as {field}=VALUE)")
    }

    fn over(&self, base: &Config, file: Option<&Source>, origin: &str) -> anyhow::Result<Config> {
        self.finish(Config::merge(base, &self.sources(file)).map_err(wrong_arguments)?, origin)
    }

    /// What lies over the defaults, the last on top.
    fn sources(&self, file: Option<&Source>) -> Vec<Source> {
        self.init.iter().chain(file).chain(&self.overrides).cloned().collect()
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

/// The configuration in a run's newest whole checkpoint; `None` where there is none, which training explains.
fn saved_config(run: &RunDir) -> Option<Config> {
    let mut loaded = run.checkpoints().load_newest_parts(|_| false).ok()?;
    serde_json::from_value(loaded.checkpoint.state["config"].take()).ok()
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
    // In a file they are checked against each other; of arguments the last one would win without a word.
    let sizes = ["encoder.image_size", "views.random_size"]
        .map(|name| overrides.iter().rev().find_map(|source| source.value(name)));
    if let [Some(image), Some(view)] = &sizes
        && image != view
    {
        return Err(wrong_arguments(anyhow!(
            "encoder.image_size, views.random_size: expected one size, which both name, found {image} and {view}"
        )));
    }
    Ok(overrides)
}

/// Median of the shorter sides of some images spread over the dataset, pixels.
pub(crate) fn median_side(dataset: &dyn Dataset, limits: &Limits) -> anyhow::Result<u32> {
    let sample = sample(dataset);
    let mut sides = Vec::with_capacity(sample.len());
    let mut broken = None;
    dataset.will_read(&sample);
    for &index in &sample {
        match look_at(dataset, index, limits, |image| image.width().min(image.height()))? {
            Ok(side) => sides.push(side),
            Err(skipped) => drop(broken.get_or_insert(skipped)),
        }
    }
    if let (true, Some(first)) = (sides.is_empty(), broken) {
        bail!(
            "{}: expected images, found none among {} that can be read; the first: {first}",
            dataset.path().display(),
            sample.len()
        );
    }
    sides.sort_unstable();
    Ok(sides[sides.len() / 2])
}

/// Images spread over the dataset, or over a few of its shards where they come shard by shard; ascending.
fn sample(dataset: &dyn Dataset) -> Vec<usize> {
    match dataset.reading() {
        Reading::AtRandom => spread(dataset.len(), SAMPLE).collect(),
        Reading::ByShard { shards, .. } => {
            let of_some = spread(shards.len(), SAMPLE_SHARDS).flat_map(|shard| shards[shard].clone());
            let images: Vec<usize> = of_some.collect();
            spread(images.len(), SAMPLE).map(|place| images[place]).collect()
        }
    }
}

/// At most so many numbers below `count`, evenly spread.
fn spread(count: usize, wanted: usize) -> impl Iterator<Item = usize> {
    let wanted = wanted.min(count);
    (0..wanted).map(move |i| i * count / wanted)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Bare pixels, as wide as their number from 1 on and higher than wide; remembers what was read and announced.
    struct Recorded {
        images: usize,
        reading: Reading,
        told: Mutex<Vec<Vec<usize>>>,
        read: Mutex<Vec<usize>>,
    }

    impl Recorded {
        fn new(images: usize, reading: Reading) -> Self {
            Self { images, reading, told: Mutex::default(), read: Mutex::default() }
        }
    }

    impl Dataset for Recorded {
        fn path(&self) -> &Path {
            "recorded".as_ref()
        }

        fn len(&self) -> usize {
            self.images
        }

        fn name(&self, _: usize) -> &str {
            "image"
        }

        fn read_into(&self, index: usize, _: usize, bytes: &mut Vec<u8>) -> Result<(), msn_data::Error> {
            self.read.lock().unwrap().push(index);
            *bytes = format!("P5 {} 1000 255\n", index + 1).into_bytes();
            bytes.resize(bytes.len() + (index + 1) * 1000, 7);
            Ok(())
        }

        fn reading(&self) -> Reading {
            self.reading.clone()
        }

        fn will_read(&self, images: &[usize]) {
            self.told.lock().unwrap().push(images.to_vec());
        }
    }

    #[test]
    fn sizes_are_those_of_images_spread_over_the_whole_set_where_any_can_be_read() {
        let dataset = Recorded::new(600, Reading::AtRandom);
        // Images are as wide as their number, from 1, and higher: the median is that of the numbers.
        assert_eq!(median_side(&dataset, &Limits::default()).unwrap(), 128 * 600 / 256 + 1);
        let read = dataset.read.into_inner().unwrap();
        assert!(read.into_iter().eq((0..256).map(|i| i * 600 / 256)));
    }

    #[test]
    fn sizes_are_those_of_a_few_shards_which_are_announced_where_images_come_by_shard() {
        let shards: Vec<_> = (0..9).map(|shard| shard * 100..(shard + 1) * 100).collect();
        let dataset = Recorded::new(900, Reading::ByShard { shards, buffer: 50 });
        median_side(&dataset, &Limits::default()).unwrap();
        let (read, told) = (dataset.read.into_inner().unwrap(), dataset.told.into_inner().unwrap());
        assert_eq!(told, std::slice::from_ref(&read), "told once, in the order of reading");
        assert_eq!(read.len(), SAMPLE);
        let count = |shard: usize| read.iter().filter(|&&image| image / 100 == shard).count();
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7, 8].map(count), [64, 0, 64, 0, 64, 0, 64, 0, 0]);
        assert!(read.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn all_images_of_a_small_set_are_looked_at() {
        for reading in [Reading::AtRandom, Reading::ByShard { shards: vec![0..2, 2..5], buffer: 9 }] {
            let dataset = Recorded::new(5, reading);
            assert_eq!(median_side(&dataset, &Limits::default()).unwrap(), 3);
            assert_eq!(dataset.read.into_inner().unwrap(), [0, 1, 2, 3, 4]);
        }
    }
}
