//! Passes over the training images.

use msn_data::rng::Rng;
use msn_data::{EvalBatch, EvalConfig, Mixing, Skipped, load_crops};
use msn_ssl::{ScheduleConfig, Steps};
use msn_train::depth_seeds;

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
}

/// What training leaves besides the weights.
#[derive(Default)]
pub(super) struct Trained {
    /// Steps done.
    pub(super) steps: u64,
    /// Mean loss of each epoch.
    pub(super) losses: Vec<f64>,
    /// Images that cannot be read, each once.
    pub(super) skipped: Vec<Skipped>,
}

/// The mean of the losses of an epoch so far.
#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
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

    /// Trains for all epochs.
    pub(super) fn run(mut self, observer: &mut dyn FineTuneObserver) -> Result<Trained, ExtractError> {
        for epoch in 0..self.settings.epochs {
            self.epoch(epoch, observer)?;
        }
        Ok(self.done)
    }

    fn epoch(&mut self, epoch: u64, observer: &mut dyn FineTuneObserver) -> Result<(), ExtractError> {
        let train = self.train;
        let mut images = train.images.to_vec();
        let used = self.steps_per_epoch as usize * self.batch_size();
        Rng::for_order(self.settings.seed, epoch).shuffle_front(&mut images, used);
        let (loading, crops) = (self.loading, self.settings.crops(epoch));
        let mut mean = Mean::default();
        let broken = load_crops(train.dataset, &images[..used], &loading, &crops, |batch| {
            let (images, lr) = (batch.images.len(), self.schedule.after(self.done.steps).lr);
            let report = self.step(batch, epoch, mean.count, lr);
            self.done.steps += 1;
            self.check(report, epoch, mean)?;
            mean = Mean { sum: mean.sum + report.loss, count: mean.count + 1 };
            let (step, loss) = (self.done.steps, mean.sum / mean.count as f64);
            observer.step(&FineTuneStep { step, epoch, images, loss, lr });
            Ok::<(), ExtractError>(())
        })?;
        for image in broken {
            // They are the same ones in every epoch.
            if !self.done.skipped.iter().any(|known| known.image == image.image) {
                self.done.skipped.push(image);
            }
        }
        match mean.value() {
            Some(loss) => self.done.losses.push(loss),
            None => return Err(train.nothing_readable(self.done.skipped.swap_remove(0))),
        }
        Ok(())
    }

    /// Trains on a batch, the epoch's of this number.
    fn step(&mut self, mut batch: EvalBatch, epoch: u64, number: u64, lr: f64) -> StepReport {
        let (settings, size) = (self.settings, self.loading.transform.crop);
        let mix = self.mixing.draw(size, settings.seed, epoch, number);
        mix.apply(&mut batch.pixels, size);
        let labels = self.train.labels_of(&batch.images);
        let targets = mix.targets(&labels, self.classes, size, settings.smoothing);
        let depth_seeds = depth_seeds(settings.seed, epoch, &batch.images, 1);
        let batch = Batch { pixels: &batch.pixels, size, targets, depth_seeds: &depth_seeds };
        self.tuner.step(batch, Pace { lr, momentum: settings.momentum(self.done.steps) })
    }

    /// Fails if the loss or its gradient is no number.
    fn check(&self, report: StepReport, epoch: u64, mean: Mean) -> Result<(), Error> {
        let StepReport { loss, grad_norm } = report;
        if loss.is_finite() && grad_norm.is_finite() {
            return Ok(());
        }
        let before = mean.value().or(self.done.losses.last().copied());
        Err(Error::Diverged { step: self.done.steps, epoch: epoch + 1, loss, grad_norm, before })
    }
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
