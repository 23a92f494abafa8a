//! Passes over the training images.

use std::path::PathBuf;
use std::time::Instant;

use msn_data::rng::Rng;
use msn_data::{EvalBatch, EvalConfig, Mixing, Skipped, load_crops};
use msn_ssl::{ScheduleConfig, Steps};
use msn_train::depth_seeds;
use serde::{Deserialize, Serialize};

use super::folder::TrainingFolder;
use super::tuner::{Batch, Pace, StepReport, Tuner};
use super::{FineTune, FineTuneObserver, FineTuneStep, Numbered};
use crate::{Error, ExtractError};

/// The training of one classifier.
pub(super) struct Training<'a> {
    settings: &'a FineTune,
    tuner: &'a mut Tuner,
    train: &'a Numbered<'a>,
    classes: usize,
    loading: EvalConfig,
    mixing: Mixing,
    schedule: Steps,
    steps_per_epoch: u64,
    /// What there is of it so far.
    done: Trained,
    saved_at: Instant,
}

/// How far a training is, besides the weights.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Trained {
    /// Steps done.
    pub(super) steps: u64,
    /// Epochs done.
    epochs: u64,
    /// Batches of the next epoch that are done.
    batches: usize,
    /// Mean of their losses.
    mean: Mean,
    /// Mean loss of each epoch.
    pub(super) losses: Vec<f64>,
    /// Images that cannot be read, each once.
    pub(super) skipped: Vec<Skipped>,
}

impl Trained {
    /// Notes broken images, which are the same ones in every epoch.
    fn leave_out(&mut self, broken: Vec<Skipped>) {
        for image in broken {
            if !self.skipped.iter().any(|known| known.image == image.image) {
                self.skipped.push(image);
            }
        }
    }
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Finished,
    /// The observer asked for it.
    Stopped,
}

/// Why batches stop coming.
enum Halt {
    Stopped,
    Failed(ExtractError),
}

impl<E: Into<ExtractError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The mean of the losses of an epoch so far.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    /// The mean with one more.
    fn add(&mut self, loss: f64) -> f64 {
        self.sum += loss;
        self.count += 1;
        self.sum / self.count as f64
    }

    fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

impl<'a> Training<'a> {
    /// A training before its first step. `loading` says how images are prepared for the encoder.
    pub(super) fn new(
        settings: &'a FineTune,
        tuner: &'a mut Tuner,
        train: &'a Numbered<'a>,
        classes: usize,
        loading: EvalConfig,
    ) -> Self {
        let batch_size = settings.batch_size.min(train.images.len());
        let steps_per_epoch = (train.images.len() / batch_size) as u64;
        Self {
            settings,
            tuner,
            train,
            classes,
            loading: EvalConfig { batch_size, ..loading },
            mixing: settings.mixing(),
            schedule: schedule(settings, batch_size, steps_per_epoch),
            steps_per_epoch,
            done: Trained::default(),
            saved_at: Instant::now(),
        }
    }

    /// Images in a step.
    pub(super) fn batch_size(&self) -> usize {
        self.loading.batch_size
    }

    /// Steps of an epoch.
    pub(super) fn steps_per_epoch(&self) -> u64 {
        self.steps_per_epoch
    }

    /// Goes on with the training that `kept` holds, if it holds one: the steps that are done.
    pub(super) fn resume(
        &mut self,
        kept: &TrainingFolder<'_>,
        observer: &mut dyn FineTuneObserver,
    ) -> Result<u64, ExtractError> {
        if let Some(done) = kept.restore(self.tuner, observer)? {
            self.done = done;
        }
        Ok(self.done.steps)
    }

    /// Trains until all epochs are done or the observer asks to stop; either way `kept` has the last step.
    pub(super) fn run(
        mut self,
        kept: Option<&TrainingFolder<'_>>,
        observer: &mut dyn FineTuneObserver,
    ) -> Result<(Ending, Trained), ExtractError> {
        while self.done.epochs < self.settings.epochs {
            match self.epoch(kept, observer) {
                Ok(()) => {}
                Err(Halt::Failed(error)) => return Err(error),
                Err(Halt::Stopped) => return Ok((Ending::Stopped, self.done)),
            }
        }
        if let Some(kept) = kept {
            let folder = self.save_at_last(kept, true, observer)?;
            observer.saved(&folder);
        }
        Ok((Ending::Finished, self.done))
    }

    fn epoch(
        &mut self,
        kept: Option<&TrainingFolder<'_>>,
        observer: &mut dyn FineTuneObserver,
    ) -> Result<(), Halt> {
        let (train, epoch, size) = (self.train, self.done.epochs, self.batch_size());
        let mut images = train.images.to_vec();
        let used = self.steps_per_epoch as usize * size;
        Rng::for_order(self.settings.seed, epoch).shuffle_front(&mut images, used);
        let images = &images[..used];
        let (loading, crops) = (self.loading, self.settings.crops(epoch));
        let left = &images[self.done.batches * size..];
        let broken = load_crops(train.dataset, left, &loading, &crops, |mut batch| {
            // Now, so that a checkpoint after this batch has them.
            self.done.leave_out(std::mem::take(&mut batch.skipped));
            // A batch of broken images alone does not come.
            while !images[self.done.batches * size..][..size].contains(&batch.images[0]) {
                self.done.batches += 1;
            }
            self.train_on(batch, observer)?;
            self.keep(kept, observer)
        })?;
        self.done.leave_out(broken);
        let mean = std::mem::take(&mut self.done.mean);
        let Some(loss) = mean.value() else {
            return Err(Halt::Failed(train.nothing_readable(self.done.skipped.swap_remove(0))));
        };
        self.done.losses.push(loss);
        (self.done.epochs, self.done.batches) = (epoch + 1, 0);
        Ok(())
    }

    /// Trains on the next batch.
    fn train_on(
        &mut self,
        batch: EvalBatch,
        observer: &mut dyn FineTuneObserver,
    ) -> Result<(), ExtractError> {
        let (images, lr) = (batch.images.len(), self.schedule.after(self.done.steps).lr);
        let report = self.step(batch, lr);
        let done = &mut self.done;
        done.steps += 1;
        check(report, done)?;
        done.batches += 1;
        let loss = done.mean.add(report.loss);
        let (step, epoch) = (done.steps, done.epochs);
        observer.step(&FineTuneStep { step, epoch, images, loss, lr });
        Ok(())
    }

    /// Saves what is done if that is due, or if the observer wants to stop.
    fn keep(
        &mut self,
        kept: Option<&TrainingFolder<'_>>,
        observer: &mut dyn FineTuneObserver,
    ) -> Result<(), Halt> {
        let Some(kept) = kept else { return Ok(()) };
        let total = self.steps_per_epoch.saturating_mul(self.settings.epochs);
        if self.done.steps < total && observer.wants_to_stop() {
            self.save_at_last(kept, false, observer)?;
            return Err(Halt::Stopped);
        }
        if observer.wants_to_save(self.saved_at.elapsed()) {
            // A later one may find room again, and the last one must.
            if let Err(error) = kept.save(self.tuner, &self.done, false) {
                observer.warn(&format!("no checkpoint of step {}: {error}", self.done.steps));
            }
            self.saved_at = Instant::now();
        }
        Ok(())
    }

    /// Saves what no later checkpoint would, as often as the observer waits for room on the disk.
    fn save_at_last(
        &self,
        kept: &TrainingFolder<'_>,
        finished: bool,
        observer: &mut dyn FineTuneObserver,
    ) -> Result<PathBuf, ExtractError> {
        loop {
            match kept.save(self.tuner, &self.done, finished) {
                Err(ExtractError::Store(error)) if observer.waits_to_save(self.done.steps, &error) => {}
                saved => return saved,
            }
        }
    }

    fn step(&mut self, mut batch: EvalBatch, lr: f64) -> StepReport {
        let (settings, size, epoch) = (self.settings, self.loading.transform.crop, self.done.epochs);
        let mix = self.mixing.draw(size, settings.seed, epoch, self.done.batches as u64);
        mix.apply(&mut batch.pixels, size);
        let labels = self.train.labels_of(&batch.images);
        let targets = mix.targets(&labels, self.classes, size, settings.smoothing);
        let depth_seeds = depth_seeds(settings.seed, epoch, &batch.images, 1);
        let batch = Batch { pixels: &batch.pixels, size, targets, depth_seeds: &depth_seeds };
        self.tuner.step(batch, Pace { lr, momentum: settings.momentum(self.done.steps) })
    }
}

/// Fails if the loss or its gradient is no number.
fn check(report: StepReport, done: &Trained) -> Result<(), Error> {
    let StepReport { loss, grad_norm } = report;
    if loss.is_finite() && grad_norm.is_finite() {
        return Ok(());
    }
    let before = done.mean.value().or(done.losses.last().copied());
    Err(Error::Diverged { step: done.steps, epoch: done.epochs + 1, loss, grad_norm, before })
}

/// Linear warm-up from 0, then half a cosine.
fn schedule(settings: &FineTune, batch_size: usize, steps_per_epoch: u64) -> Steps {
    let scale = settings.rate_scale(batch_size);
    let rates = ScheduleConfig {
        start_lr: 0.0,
        lr: settings.lr * scale,
        final_lr: settings.final_lr * scale,
        ..ScheduleConfig::default()
    };
    let steps = settings.epochs.saturating_mul(steps_per_epoch);
    Steps::over(&rates, (1.0, 1.0), (steps as f64 * settings.warmup) as u64, steps)
}
