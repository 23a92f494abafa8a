//! Trainings that are over at once.

use std::sync::Arc;

use burn::tensor::Device;
use image::{ImageFormat, Rgb, RgbImage};
use msn_data::Dataset;
use msn_ssl::Schedule;
use msn_store::RunDir;
use msn_train::config::Source;
use msn_train::{Config, Error, Observer, Outcome, Progress, Start, pretrain};

/// An encoder small enough for hundreds of steps; 24 images make 6 steps an epoch.
const TINY: &str = r#"
[views]
random_size = 16
focal_size = 8
focal_views = 1
[encoder]
variant = ""
patch_size = 4
dim = 32
depth = 2
heads = 2
[head]
hidden_dim = 32
output_dim = 16
[objective]
prototypes = 8
[optim]
epochs = 2
warmup_epochs = 0.0
[train]
batch_size = 4
log_every = 1
checkpoint_epochs = 1
"#;

pub(crate) fn config(overrides: &[&str]) -> Config {
    let tiny = Source::toml("tiny.toml", TINY);
    let overrides = overrides.iter().map(|argument| Source::argument(argument));
    let sources: Result<Vec<_>, _> = std::iter::once(tiny).chain(overrides).collect();
    sources.and_then(|sources| Config::merge(&Config::default(), &sources)).expect("valid")
}

/// Images of 16 px in stripes of different colours and widths.
pub(crate) struct Stripes(pub(crate) Vec<(String, Vec<u8>)>);

impl Stripes {
    pub(crate) fn of(count: usize) -> Arc<dyn Dataset> {
        Arc::new(Self::drawn(count))
    }

    pub(crate) fn drawn(count: usize) -> Self {
        let image = |index: usize| {
            let level = |x: u32| (x as usize * (index + 1) * 29 % 256) as u8;
            let image = RgbImage::from_fn(16, 16, |x, y| Rgb([level(x), level(y), (index * 37 % 256) as u8]));
            let mut png = std::io::Cursor::new(Vec::new());
            image.write_to(&mut png, ImageFormat::Png).expect("written to memory");
            (format!("{index}.png"), png.into_inner())
        };
        Self((0..count).map(image).collect())
    }
}

impl Dataset for Stripes {
    fn path(&self) -> &std::path::Path {
        "stripes".as_ref()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn name(&self, index: usize) -> &str {
        &self.0[index].0
    }

    fn read_into(&self, index: usize, _: usize, bytes: &mut Vec<u8>) -> Result<(), msn_data::Error> {
        bytes.clone_from(&self.0[index].1);
        Ok(())
    }
}

/// What an observer was told.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) losses: Vec<f64>,
    pub(crate) schedules: Vec<Schedule>,
    pub(crate) warnings: Vec<String>,
    pub(crate) saved: Vec<u64>,
}

/// Remembers what it is told, and does something of its own after a step.
struct Watcher<F> {
    seen: Seen,
    after: F,
    /// The step to stop after.
    last: u64,
    stops: bool,
}

impl<F: FnMut(u64)> Observer for Watcher<F> {
    fn start(&mut self, _: &Start) {}

    fn step(&mut self, progress: &Progress) {
        self.seen.losses.push(progress.report.loss);
        self.seen.schedules.push(progress.schedule);
        self.stops = progress.step == self.last;
        (self.after)(progress.step);
    }

    fn warn(&mut self, message: &str) {
        self.seen.warnings.push(message.to_owned());
    }

    fn saved(&mut self, step: u64, _: &std::path::Path) {
        self.seen.saved.push(step);
    }

    fn wants_to_stop(&mut self) -> bool {
        self.stops
    }
}

/// Trains on 24 images in `folder`; gives the outcome and what the observer saw.
pub(crate) fn run(
    config: &Config,
    folder: &RunDir,
    after: impl FnMut(u64),
) -> (Result<Outcome, Error>, Seen) {
    run_on(Stripes::of(24), config, folder, after)
}

pub(crate) fn run_on(
    dataset: Arc<dyn Dataset>,
    config: &Config,
    folder: &RunDir,
    after: impl FnMut(u64),
) -> (Result<Outcome, Error>, Seen) {
    watched(dataset, config, folder, Watcher { seen: Seen::default(), after, last: u64::MAX, stops: false })
}

/// Trains on 24 images in `folder` until so many steps are done.
pub(crate) fn run_until(last: u64, config: &Config, folder: &RunDir) -> (Result<Outcome, Error>, Seen) {
    watched(
        Stripes::of(24),
        config,
        folder,
        Watcher { seen: Seen::default(), after: |_| (), last, stops: false },
    )
}

fn watched<F: FnMut(u64)>(
    dataset: Arc<dyn Dataset>,
    config: &Config,
    folder: &RunDir,
    mut watcher: Watcher<F>,
) -> (Result<Outcome, Error>, Seen) {
    let outcome = pretrain(config, dataset, folder, &Device::flex(), &mut watcher);
    (outcome, watcher.seen)
}

pub(crate) fn new_run(scratch: &std::path::Path) -> RunDir {
    RunDir::create(&scratch.join("run")).expect("a new folder")
}
