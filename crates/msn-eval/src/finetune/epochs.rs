//! Passes over the training images.

use msn_data::rng::Rng;
use msn_data::{EvalConfig, Skipped, load_crops};
use msn_ssl::{ScheduleConfig, Steps};
use msn_train::depth_seeds;

use super::tuner::{Batch, Pace, StepReport, Tuner};
use super::{FineTune, FineTuneObserver, FineTuneStep, Numbered};
use crate::{Error, ExtractError};

/// What training leaves besides the weights.
pub(super) struct Trained {
    /// Steps done.
    pub(super) steps: u64,
    /// Mean loss of each epoch.
    pub(super) losses: Vec<f64>,
    /// Images that cannot be read, each once.
    pub(super) skipped: Vec<Skipped>,
}

/// Trains for all epochs.
pub(super) fn train(
    settings: &FineTune,
    tuner: &mut Tuner,
    loading: &EvalConfig,
    train: &Numbered<'_>,
    classes: usize,
    observer: &mut dyn FineTuneObserver,
) -> Result<Trained, ExtractError> {
    let count = train.images.len();
    let batch_size = settings.batch_size.min(count);
    let steps_per_epoch = (count / batch_size) as u64;
    let schedule = schedule(settings, batch_size, steps_per_epoch);
    let loading = EvalConfig { batch_size, ..*loading };
    let (size, mixing) = (loading.transform.crop, settings.mixing());
    let mut trained = Trained { steps: 0, losses: Vec::new(), skipped: Vec::new() };
    for epoch in 0..settings.epochs {
        let mut images = train.images.to_vec();
        let used = steps_per_epoch as usize * batch_size;
        Rng::for_order(settings.seed, epoch).shuffle_front(&mut images, used);
        let crops = settings.crops(epoch);
        let (mut sum, mut steps) = (0.0, 0);
        let broken = load_crops(train.dataset, &images[..used], &loading, &crops, |mut batch| {
            let mix = mixing.draw(size, settings.seed, epoch, steps.into());
            mix.apply(&mut batch.pixels, size);
            let labels = train.labels_of(&batch.images);
            let targets = mix.targets(&labels, classes, size, settings.smoothing);
            let lr = schedule.after(trained.steps).lr;
            let batch_images = batch.images.len();
            let depth_seeds = depth_seeds(settings.seed, epoch, &batch.images, 1);
            let batch = Batch { pixels: &batch.pixels, size, targets, depth_seeds: &depth_seeds };
            let report = tuner.step(batch, Pace { lr, momentum: settings.momentum(trained.steps) });
            check(report, trained.steps + 1, epoch, steps, sum, &trained.losses)?;
            sum += report.loss;
            steps += 1;
            trained.steps += 1;
            let (step, loss) = (trained.steps, sum / f64::from(steps));
            observer.step(&FineTuneStep { step, epoch, images: batch_images, loss, lr });
            Ok::<(), ExtractError>(())
        })?;
        for skipped in broken {
            if !trained.skipped.iter().any(|known| known.image == skipped.image) {
                trained.skipped.push(skipped);
            }
        }
        if steps == 0 {
            let first = trained.skipped.swap_remove(0);
            return Err(train.nothing_readable(first));
        }
        trained.losses.push(sum / f64::from(steps));
    }
    Ok(trained)
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
    let steps = settings.epochs * steps_per_epoch;
    Steps::over(&rates, (1.0, 1.0), (steps as f64 * settings.warmup) as u64, steps)
}

/// Fails if the loss or its gradient is no number.
fn check(
    report: StepReport,
    step: u64,
    epoch: u64,
    steps: u32,
    sum: f64,
    losses: &[f64],
) -> Result<(), Error> {
    let StepReport { loss, grad_norm } = report;
    if loss.is_finite() && grad_norm.is_finite() {
        return Ok(());
    }
    let before = if steps > 0 { Some(sum / f64::from(steps)) } else { losses.last().copied() };
    Err(Error::Diverged { step, epoch: epoch + 1, loss, grad_norm, before })
}
