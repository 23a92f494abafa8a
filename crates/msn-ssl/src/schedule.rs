//! What changes from step to step: learning rate, weight decay, momentum and sharpening temperature.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::{Error, check};

/// Section `[optim]`. Epochs may be fractions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Passes over the images; at least 1.
    pub epochs: u64,
    /// Epochs over which the learning rate rises linearly from `start_lr` to `lr`, at least 0 and at most `epochs`.
    pub warmup_epochs: f64,
    /// Schedules are laid out for `extension * epochs` and cut off at the end, at least 1: the last part of a
    /// cosine, where little is learned, is never reached.
    pub extension: f64,
    /// Learning rate before the first step, at least 0.
    pub start_lr: f64,
    /// Learning rate after the warm-up, above 0.
    pub lr: f64,
    /// Learning rate at the end of the full cosine, at least 0.
    pub final_lr: f64,
    /// AdamW's weight decay at the start, at least 0.
    pub weight_decay: f64,
    /// Weight decay at the end of the full cosine, at least 0.
    pub final_weight_decay: f64,
    /// Share of itself that the momentum encoder keeps at the first step, [0, 1].
    pub momentum: f64,
    /// Share that it keeps at the end of the full schedule, [0, 1].
    pub final_momentum: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            epochs: 100,
            warmup_epochs: 15.0,
            extension: 1.25,
            start_lr: 2e-4,
            lr: 1e-3,
            final_lr: 1e-6,
            weight_decay: 0.04,
            final_weight_decay: 0.4,
            momentum: 0.996,
            final_momentum: 1.0,
        }
    }
}

impl ScheduleConfig {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// [`Error::Config`] for the first field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let unsigned = |x: f64| x >= 0.0 && x.is_finite();
        let share = |x: f64| (0.0..=1.0).contains(&x);
        check(self.epochs >= 1, "optim.epochs", "at least 1", self.epochs)?;
        let warmup = self.warmup_epochs;
        let fits = unsigned(warmup) && warmup <= self.epochs as f64;
        let expected = format!("a number from 0 to optim.epochs = {}", self.epochs);
        check(fits, "optim.warmup_epochs", &expected, warmup)?;
        let extends = self.extension >= 1.0 && self.extension.is_finite();
        check(extends, "optim.extension", "a number of at least 1", self.extension)?;
        check(self.lr > 0.0 && self.lr.is_finite(), "optim.lr", "a number above 0", self.lr)?;
        for (field, value) in [
            ("optim.start_lr", self.start_lr),
            ("optim.final_lr", self.final_lr),
            ("optim.weight_decay", self.weight_decay),
            ("optim.final_weight_decay", self.final_weight_decay),
        ] {
            check(unsigned(value), field, "a number of at least 0", value)?;
        }
        check(share(self.momentum), "optim.momentum", "a number in [0, 1]", self.momentum)?;
        check(share(self.final_momentum), "optim.final_momentum", "a number in [0, 1]", self.final_momentum)
    }
}

/// The values of one step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Learning rate.
    pub lr: f64,
    /// Weight decay of AdamW.
    pub weight_decay: f64,
    /// Share of itself that the momentum encoder keeps.
    pub momentum: f64,
    /// Sharpening temperature of the targets.
    pub sharpen: f64,
}

/// The schedules of a run, laid out in steps.
#[derive(Clone, Debug)]
pub struct Steps {
    config: ScheduleConfig,
    sharpen: (f64, f64),
    warmup: f64,
    full: f64,
}

impl Steps {
    /// Schedules for epochs of `steps_per_epoch` steps; `sharpen` moves from its first to its second value.
    pub fn new(config: &ScheduleConfig, sharpen: (f64, f64), steps_per_epoch: u64) -> Self {
        let steps = |epochs: f64| (epochs * steps_per_epoch as f64).trunc() as u64;
        let full = steps(config.epochs as f64 * config.extension);
        Self::over(config, sharpen, steps(config.warmup_epochs), full)
    }

    /// Schedules with a warm-up of `warmup` steps that would end after `full` steps, whatever epochs the
    /// configuration has.
    pub fn over(config: &ScheduleConfig, sharpen: (f64, f64), warmup: u64, full: u64) -> Self {
        Self { config: config.clone(), sharpen, warmup: warmup as f64, full: full as f64 }
    }

    /// Values of the step that follows `done` finished ones.
    ///
    /// Learning rate and weight decay are those at the step's end, momentum and sharpening those at its start.
    pub fn after(&self, done: u64) -> Schedule {
        let config = &self.config;
        let (start, end) = (done as f64, done as f64 + 1.0);
        let lr = if end < self.warmup {
            config.start_lr + (config.lr - config.start_lr) * end / self.warmup
        } else {
            cosine(config.lr, config.final_lr, (end - self.warmup) / (self.full - self.warmup).max(1.0))
        };
        Schedule {
            lr,
            weight_decay: cosine(config.weight_decay, config.final_weight_decay, end / self.full),
            momentum: linear(config.momentum, config.final_momentum, start / self.full),
            sharpen: linear(self.sharpen.0, self.sharpen.1, start / self.full),
        }
    }
}

/// Half a cosine from `from` at progress 0 to `to` at progress 1.
fn cosine(from: f64, to: f64, progress: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + (PI * progress.min(1.0)).cos())
}

fn linear(from: f64, to: f64, progress: f64) -> f64 {
    from + (to - from) * progress.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_have_the_values_computed_by_hand() {
        let config = ScheduleConfig {
            start_lr: 0.2,
            lr: 1.0,
            final_lr: 0.0,
            weight_decay: 0.0,
            final_weight_decay: 1.0,
            momentum: 0.9,
            final_momentum: 1.0,
            ..ScheduleConfig::default()
        };
        let steps = Steps::over(&config, (0.25, 0.75), 2, 4);
        // Learning rate at the step's end: half of the warm-up, all of it, half of the cosine, all of it, and on.
        // Weight decay at the step's end: (1 - cos(pi p)) / 2 with p = 1/4, 1/2, 3/4, 1, 1.
        // Momentum and sharpening at the step's start: straight lines at 0, 1/4, 1/2, 3/4, 1.
        for (done, [lr, weight_decay, momentum, sharpen]) in (0..).zip([
            [0.6, 0.146_446_609_407, 0.9, 0.25],
            [1.0, 0.5, 0.925, 0.375],
            [0.5, 0.853_553_390_593, 0.95, 0.5],
            [0.0, 1.0, 0.975, 0.625],
            [0.0, 1.0, 1.0, 0.75],
        ]) {
            let now = steps.after(done);
            let found = [now.lr, now.weight_decay, now.momentum, now.sharpen];
            let expected = [lr, weight_decay, momentum, sharpen];
            // Twelve digits are written out above.
            let close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-11);
            assert!(close, "after {done} steps: {found:?}, expected {expected:?}");
        }
    }

    #[test]
    fn schedules_are_laid_out_in_steps_over_the_extended_epochs() {
        let config =
            ScheduleConfig { epochs: 8, warmup_epochs: 1.5, extension: 1.25, ..ScheduleConfig::default() };
        let steps = Steps::new(&config, (0.25, 0.25), 6);
        // 1.5 epochs and 8 * 1.25 = 10 epochs of 6 steps.
        let expected = Steps::over(&config, (0.25, 0.25), 9, 60);
        for done in [0, 7, 8, 9, 47, 59, 60] {
            assert_eq!(steps.after(done), expected.after(done), "after {done} steps");
        }
    }
}
