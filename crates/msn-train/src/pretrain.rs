//! The loop: batches, steps, logs, checkpoints, and stopping without loss.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use msn_data::{Batch, Dataset, Loader, ViewBatch};
use msn_model::{View, on_worker};
use msn_ssl::{Collapse, CollapseWatch, Schedule, Steps};
use msn_store::{JsonLines, KeepPolicy, RunDir, SkippedLog, StoreError};
use serde::Serialize;

use crate::checkpoint::{self, Images, SaveError, State, restore};
use crate::config::TrainConfig;
use crate::pace::{Starvation, Window};
use crate::{Config, Error, StepReport, Trainer, Views};

/// Losses that the message about a divergence shows.
const REMEMBERED_LOSSES: usize = 5;
/// Epochs may be shorter than it takes to write a checkpoint: where their number between two checkpoints is not given, one is
/// due once training has taken so many times as long as writing the last one.
const TRAINING_PER_SAVING: u32 = 20;
/// Broken images that a session names one by one.
const SKIPPED_TOLD: usize = 20;

/// What a person watches while a run goes on. All calls come from the training thread.
pub trait Observer {
    /// The run starts or continues.
    fn start(&mut self, start: &Start);
    /// A step is done.
    fn step(&mut self, progress: &Progress);
    /// Something that a person should know although the run goes on.
    fn warn(&mut self, message: &str);
    /// A checkpoint is safe on disk.
    fn saved(&mut self, step: u64, folder: &std::path::Path);
    /// The last checkpoint, of step `step`, cannot be written: whether to try again, once this returns. All steps since the
    /// checkpoint before are lost otherwise.
    fn waits_to_save(&mut self, _step: u64, _error: &StoreError) -> bool {
        false
    }
    /// Whether to save a checkpoint and end now; asked after every step, and while a step waits for its images.
    fn wants_to_stop(&mut self) -> bool;
}

/// What is known before the first step.
#[derive(Clone, Debug)]
pub struct Start {
    /// Images in the dataset.
    pub images: usize,
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Steps done by earlier sessions.
    pub done: u64,
    /// Parameters of the encoder and its head.
    pub parameters: usize,
}

/// How far the run is after a step.
#[derive(Clone, Debug, Serialize)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Epoch of this step, from 0.
    pub epoch: u64,
    /// Loss, its terms and the gradient's norm.
    #[serde(flatten)]
    pub report: StepReport,
    /// Learning rate and the like.
    #[serde(flatten)]
    pub schedule: Schedule,
    /// Signs of collapse, at logged steps.
    #[serde(flatten)]
    pub collapse: Option<Collapse>,
    /// Images a second since the last logged step.
    pub images_per_second: f64,
    /// Share of the time since the last logged step that training waited for data, [0, 1].
    pub data_wait: f64,
    /// Seconds of training over all sessions.
    pub seconds: f64,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All epochs are done.
    Finished,
    /// The observer asked for it; the run can be resumed.
    Stopped,
}

/// How the loop ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Why.
    pub ending: Ending,
    /// Steps done.
    pub step: u64,
    /// The last checkpoint; `None` where nothing was left to do.
    pub checkpoint: Option<PathBuf>,
    /// Images skipped in this session.
    pub skipped: usize,
}

/// Trains until all epochs are done or the observer asks to stop; either way the last step is saved.
///
/// A run that holds checkpoints goes on from the newest whole one with the same bits as if it had never stopped;
/// newer ones that are corrupt are reported to the observer. The run's `config.toml` becomes `config` once its checkpoints and
/// the images fit it.
///
/// # Errors
/// If the configuration, the data or the checkpoints do not fit, or the loss stops being a number. What was saved
/// before stays whole. If too many images are broken, or a disk or a server fails: the last step is saved first. A
/// checkpoint that cannot be saved is a warning until the last one, which is an error unless the observer waits for it; a line
/// of a log that cannot be written, on a full disk for example, is a warning in any case.
pub fn pretrain(
    config: &Config,
    dataset: Arc<dyn Dataset>,
    run: &RunDir,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    config.validate()?;
    let images = Images::of(&*dataset);
    let resumed = match run.checkpoints().load_newest() {
        Err(msn_store::StoreError::NoCheckpoint { .. }) => None,
        loaded => Some(loaded?),
    };
    let (trainer, saved, state) = match resumed {
        None => (Trainer::new(config, device)?, None, State::first(config, images)),
        Some(loaded) => {
            for rejected in &loaded.rejected {
                observer.warn(&format!("{rejected}; going on from {}", loaded.folder.display()));
            }
            let saved = Saved { step: loaded.checkpoint.step, folder: loaded.folder.clone() };
            let (trainer, state) = restore(loaded, config, device)?;
            if let Some(difference) = state.images.difference(&images, &config.data.path) {
                return Err(Error::OtherImages { run: run.path().to_path_buf(), difference });
            }
            (trainer, Some(saved), State { config: config.clone(), ..state })
        }
    };
    write_config(run, config)?;
    let step = saved.as_ref().map_or(0, |saved| saved.step);
    let loader = Loader::start(dataset, config.loader(), state.cursor.clone())?;
    let steps_per_epoch = loader.batches_per_epoch();
    let sharpen = (config.objective.sharpen, config.objective.sharpen_end);
    let session = Session {
        config,
        run,
        trainer,
        steps: Steps::new(&config.optim, sharpen, steps_per_epoch),
        total: config.optim.epochs.saturating_mul(steps_per_epoch),
        steps_per_epoch,
        step,
        state,
        metrics: run.metrics_after(step)?,
        skips: run.skipped()?,
        skipped: 0,
        saved,
        saved_at: Instant::now(),
        saving: Duration::ZERO,
        window: Window::new(),
        starvation: Starvation::new(),
        watch: CollapseWatch::new(config.objective.prototypes, config.train.batch_size, steps_per_epoch),
    };
    session.run(loader, observer)
}

/// Writes `config.toml`, unless it says the same already: a person may have put notes into it.
fn write_config(run: &RunDir, config: &Config) -> Result<(), StoreError> {
    match Config::of_run(run) {
        Ok(own) if own.first_difference(config, &[]).is_none() => Ok(()),
        _ => run.write_config(&config.to_toml()),
    }
}

/// One process's part of a run.
struct Session<'a> {
    config: &'a Config,
    run: &'a RunDir,
    trainer: Trainer,
    steps: Steps,
    total: u64,
    steps_per_epoch: u64,
    step: u64,
    state: State,
    metrics: JsonLines,
    skips: SkippedLog,
    skipped: usize,
    saved: Option<Saved>,
    /// When it was, or when this session began.
    saved_at: Instant,
    /// What writing the last checkpoint took.
    saving: Duration,
    window: Window,
    starvation: Starvation,
    watch: CollapseWatch,
}

/// The last checkpoint, of this session or of the one before.
struct Saved {
    step: u64,
    folder: PathBuf,
}

impl Session<'_> {
    fn run(mut self, mut loader: Loader, observer: &mut dyn Observer) -> Result<Outcome, Error> {
        observer.start(&Start {
            images: self.state.images.count,
            steps: self.total,
            steps_per_epoch: self.steps_per_epoch,
            done: self.step,
            parameters: burn::module::Module::num_params(self.trainer.encoder()),
        });
        let nothing_left = self.step >= self.total;
        let mut ending = Ending::Finished;
        while self.step < self.total {
            let batch = match loader.next_unless(|| observer.wants_to_stop()) {
                Ok(batch) => batch,
                Err(error) => {
                    self.save_before(&error, observer);
                    return Err(error.into());
                }
            };
            let Some(batch) = batch else {
                // The data keep the run waiting: what there is can be saved now.
                ending = Ending::Stopped;
                break;
            };
            self.train_on(batch, observer)?;
            if observer.wants_to_stop() && self.step < self.total {
                ending = Ending::Stopped;
                break;
            }
            if self.step < self.total && self.checkpoint_is_due() {
                match self.save(observer) {
                    // Without this one the run still has the checkpoints before; a later one may find room again.
                    Err(Error::Store(error)) => {
                        observer.warn(&format!("no checkpoint of step {}: {error}", self.step));
                        self.saved_at = Instant::now();
                    }
                    saved => saved?,
                }
            }
        }
        if !self.is_saved() {
            self.save_at_last(observer)?;
        }
        let checkpoint = self.saved.filter(|_| !nothing_left).map(|saved| saved.folder);
        Ok(Outcome { ending, step: self.step, checkpoint, skipped: self.skipped })
    }

    /// Whether a checkpoint holds the last step.
    fn is_saved(&self) -> bool {
        self.saved.as_ref().is_some_and(|saved| saved.step == self.step)
    }

    /// Saves what no later checkpoint would, as often as the observer waits for room on the disk.
    fn save_at_last(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        self.sync_metrics(observer);
        loop {
            match self.write_checkpoint(observer) {
                Err(Error::Store(error)) if observer.waits_to_save(self.step, &error) => {}
                saved => return saved,
            }
        }
    }

    /// Keeps what there is when the data end the run: the last step is whole.
    fn save_before(&mut self, error: &msn_data::Error, observer: &mut dyn Observer) {
        use msn_data::Error as E;
        if let E::TooManySkipped { new, .. } | E::TooFewUsable { new, .. } = error {
            // No batch reports them.
            self.list_skipped(new, observer);
        }
        // Without a step there is nothing to keep.
        if self.step == 0 || self.is_saved() {
            return;
        }
        let saved = match self.save(observer) {
            Err(Error::Store(_)) => {
                // Before the wait for a disk, so that it is known what comes after it.
                observer.warn(&error.to_string());
                self.save_at_last(observer)
            }
            saved => saved,
        };
        if let Err(error) = saved {
            observer.warn(&format!("no checkpoint of step {}: {error}", self.step));
        }
    }

    fn train_on(&mut self, batch: Batch, observer: &mut dyn Observer) -> Result<(), Error> {
        self.list_skipped(&batch.skipped, observer);
        let (epoch, wait, images) = (batch.epoch, batch.wait, batch.images.len());
        let schedule = self.steps.after(self.step);
        let log = (self.step + 1).is_multiple_of(self.config.train.log_every) || self.step + 1 == self.total;
        self.state.cursor = batch.next.clone();
        let anchors = batch.random.len() + batch.focal.len();
        let depth_seeds = depth_seeds(self.config.seed, epoch, &batch.images, anchors);
        let views = views(batch, self.config.encoder.patch_size, &self.trainer.device());
        let (report, collapse) = self.trainer.step(views, schedule, &depth_seeds, log);
        self.step += 1;
        self.check(report)?;

        let seconds = self.window.add(wait, images);
        self.state.seconds += seconds;
        let progress = Progress {
            step: self.step,
            epoch,
            report,
            schedule,
            collapse,
            images_per_second: self.window.images_per_second(),
            data_wait: self.window.data_wait(),
            seconds: self.state.seconds,
        };
        if log {
            if let Err(error) = self.metrics.append(&progress) {
                observer.warn(&format!("no line of step {}: {error}", self.step));
            }
            if let Some(warning) = collapse.and_then(|measured| self.watch.see(self.step, &measured)) {
                observer.warn(&format!("step {}: {warning}", self.step));
            }
            self.window.restart();
        }
        if let Some(share) = self.starvation.add(wait) {
            observer.warn(&format!(
                "step {}: training waits for images {:.0}% of the time; more data.workers may help, a faster disk, or \
                 images that are stored smaller",
                self.step,
                100.0 * share
            ));
        }
        observer.step(&progress);
        Ok(())
    }

    fn list_skipped(&mut self, images: &[msn_data::Skipped], observer: &mut dyn Observer) {
        for image in images {
            self.skipped += 1;
            if self.skipped <= SKIPPED_TOLD {
                observer.warn(&format!("skipped {image}"));
            } else if self.skipped == SKIPPED_TOLD + 1 {
                observer.warn("more images are skipped: from here on, skipped.jsonl alone names them");
            }
            let line = msn_store::Skipped { path: image.path.clone(), reason: image.reason.clone() };
            if let Err(error) = self.skips.record(&line) {
                observer.warn(&format!("no line of {}, met in step {}: {error}", image.path, self.step + 1));
            }
        }
    }

    fn check(&mut self, report: StepReport) -> Result<(), Error> {
        if report.is_finite() {
            let losses = &mut self.state.last_losses;
            losses.push(report.loss);
            losses.drain(..losses.len().saturating_sub(REMEMBERED_LOSSES));
            return Ok(());
        }
        let StepReport { loss, grad_norm, prototype_grad_norm, .. } = report;
        Err(self.diverged(if loss.is_finite() {
            format!(
                "the loss is {loss:.4}, but the norm of its gradient is {grad_norm} for the encoder and \
                 {prototype_grad_norm} for the prototypes"
            )
        } else {
            format!("the loss is {loss}")
        }))
    }

    fn diverged(&self, problem: String) -> Error {
        let checkpoint = self.saved.as_ref().map(|saved| saved.folder.clone());
        let last = self.state.last_losses.clone();
        Error::Diverged { step: self.step, problem, last, checkpoint }
    }

    fn checkpoint_is_due(&self) -> bool {
        let passed = self.saved_at.elapsed();
        checkpoint_is_due(&self.config.train, self.step, self.steps_per_epoch, passed, self.saving)
    }

    fn save(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        self.sync_metrics(observer);
        self.write_checkpoint(observer)
    }

    fn sync_metrics(&self, observer: &mut dyn Observer) {
        if let Err(error) = self.metrics.sync() {
            // The lines may be lost in a power cut; the checkpoint need not be.
            observer.warn(&error.to_string());
        }
    }

    fn write_checkpoint(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let keep_every = self.config.train.keep_every_epochs.saturating_mul(self.steps_per_epoch);
        let keep = KeepPolicy {
            last: NonZeroUsize::new(self.config.train.keep_last).unwrap_or(NonZeroUsize::MIN),
            every_steps: NonZeroU64::new(keep_every),
        };
        let start = Instant::now();
        self.state.encoder_optimizer_steps = self.trainer.encoder_optimizer().steps();
        self.state.prototype_optimizer_steps = self.trainer.prototype_optimizer().steps();
        let folder = match checkpoint::save(self.run, &self.trainer, self.step, &self.state, &keep) {
            Ok(folder) => folder,
            Err(SaveError::Store(error)) => return Err(error.into()),
            // The loss of this step was a number, but its update went too far.
            Err(SaveError::NotFinite(tensor)) => {
                return Err(self.diverged(format!("after the update, {tensor} is not finite")));
            }
        };
        observer.saved(self.step, &folder);
        self.saved = Some(Saved { step: self.step, folder });
        (self.saved_at, self.saving) = (Instant::now(), start.elapsed());
        Ok(())
    }
}

/// Whether to save after `step` steps, `passed` after the checkpoint before, which took `saving` to write.
fn checkpoint_is_due(
    train: &TrainConfig,
    step: u64,
    steps_per_epoch: u64,
    passed: Duration,
    saving: Duration,
) -> bool {
    let &TrainConfig { checkpoint_epochs, checkpoint_minutes, keep_every_epochs, .. } = train;
    let ends = |epochs: u64| step.is_multiple_of(epochs.saturating_mul(steps_per_epoch));
    let is_to_be_kept = keep_every_epochs > 0 && ends(keep_every_epochs);
    is_to_be_kept
        || passed.as_secs_f64() / 60.0 >= checkpoint_minutes
        || match checkpoint_epochs {
            0 => ends(1) && passed >= TRAINING_PER_SAVING * saving,
            epochs => ends(epochs),
        }
}

/// Cuts a batch into patches: the target view outside the graph, anchors inside it.
fn views(batch: Batch, patch_size: usize, device: &Device) -> Views {
    let count = batch.images.len();
    let view = |view: &ViewBatch, device: &Device| {
        View::new(&view.pixels, count, view.size, patch_size, view.keep.as_deref(), device)
    };
    on_worker(device, || Views {
        target: view(&batch.target, &device.clone().inner()),
        random: batch.random.iter().map(|anchor| view(anchor, device)).collect(),
        focal: batch.focal.iter().map(|anchor| view(anchor, device)).collect(),
    })
}

/// Seeds of the branches that stochastic depth drops, from (run seed, epoch, image, view) alone: one for every image
/// of every anchor view, view by view. Anchor views are numbered from 1, as the loader does.
pub fn depth_seeds(seed: u64, epoch: u64, images: &[usize], anchors: usize) -> Vec<[u8; 32]> {
    /// Keeps the stream apart from those that the loader draws for the same view.
    const PURPOSE: u64 = u32::from_le_bytes(*b"drop") as u64;
    let seed = |view: usize, image: usize| {
        let words = [seed, epoch, image as u64, PURPOSE << 32 | view as u64];
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        key
    };
    (1..=anchors).flat_map(|view| images.iter().map(move |&image| seed(view, image))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_that_are_shorter_than_saving_have_no_checkpoint_each() {
        let train = |checkpoint_epochs, keep_every_epochs| TrainConfig {
            checkpoint_epochs,
            keep_every_epochs,
            checkpoint_minutes: 10.0,
            ..TrainConfig::default()
        };
        // Epochs of 6 steps; the checkpoint before took a second.
        for (epochs, keep, step, seconds, due) in [
            (0, 0, 6, 19.9, false),
            (0, 0, 6, 20.0, true),
            (0, 0, 7, 20.0, false),
            (0, 0, 7, 600.0, true),
            (0, 2, 12, 0.1, true),
            (0, 2, 6, 0.1, false),
            (1, 0, 6, 0.1, true),
            (2, 0, 6, 500.0, false),
            (2, 0, 12, 0.1, true),
        ] {
            let passed = Duration::from_secs_f64(seconds);
            let found = checkpoint_is_due(&train(epochs, keep), step, 6, passed, Duration::from_secs(1));
            assert_eq!(found, due, "every {epochs} epochs, step {step} after {seconds} s");
        }
    }

    #[test]
    fn depth_seeds_follow_image_and_view_and_not_the_place_in_the_batch() {
        let two_views = depth_seeds(7, 1, &[40, 5], 2);
        assert_eq!(two_views.len(), 4);
        assert_eq!(two_views[1..2], depth_seeds(7, 1, &[5], 1));
        assert_eq!(two_views[3..], depth_seeds(7, 1, &[5], 2)[1..]);
        let mut all = [two_views, depth_seeds(8, 1, &[40, 5], 2), depth_seeds(7, 2, &[40, 5], 2)].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 12, "every run, epoch, image and view has its own");
    }
}
