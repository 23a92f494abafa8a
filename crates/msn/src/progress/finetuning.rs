//! A fine-tuning as it goes.

use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::time::Instant;

use indicatif::ProgressBar;
use msn_eval::{FineTuneObserver, FineTuneStart, FineTuneStep};
use msn_store::StoreError;

use super::room::WaitForRoom;
use super::{ImageProgress, Lines, bar, clear, counted, human, say, warn};
use crate::signals::StopRequest;

/// Shows a fine-tuning, and lets signals stop it where it can go on later.
pub(crate) struct FineTuneProgress {
    /// As long as there is something to save.
    stop: Option<StopRequest>,
    start: Option<(FineTuneStart, Instant)>,
    /// Images that have been trained on.
    images: usize,
    bar: Option<ProgressBar>,
    /// `None` on a terminal, which has the bar.
    lines: Option<Lines>,
    test: Option<ImageProgress>,
    room: WaitForRoom,
}

impl FineTuneProgress {
    /// Without a request that can be made, signals end the process at once.
    pub(crate) fn new(stop: Option<StopRequest>) -> Self {
        let room = WaitForRoom::default();
        Self { stop, start: None, images: 0, bar: None, lines: None, test: None, room }
    }

    /// Number of the signal that asked to stop; 0 without one.
    pub(crate) fn signal(&self) -> i32 {
        self.stop.as_ref().map_or(0, StopRequest::signal)
    }
}

impl FineTuneObserver for FineTuneProgress {
    fn start(&mut self, start: &FineTuneStart) {
        let steps = start.steps_per_epoch.saturating_mul(start.epochs);
        let share = match start.trained_parameters {
            trained if trained == start.parameters => String::new(),
            trained => format!(", {:.2} million of them trained", trained as f64 / 1e6),
        };
        say(&format!(
            "{} of {}, {} in {}; {:.2} million parameters in encoder and classifier{share}",
            counted(start.images, "image"),
            counted(start.classes, "class"),
            counted(steps as usize, "step"),
            counted(start.epochs as usize, "epoch"),
            start.parameters as f64 / 1e6
        ));
        if start.done > 0 {
            say(&format!("going on after step {}", start.done));
        }
        if stderr().is_terminal() {
            self.bar = Some(bar(steps, "{bar:20} {pos}/{len}  {wide_msg}").with_position(start.done));
        } else {
            self.lines = Some(Lines::new());
        }
        self.start = Some((start.clone(), Instant::now()));
    }

    fn step(&mut self, step: &FineTuneStep) {
        let Some((start, since)) = &self.start else { return };
        self.images += step.images;
        let (seconds, steps) =
            (since.elapsed().as_secs_f64(), start.steps_per_epoch.saturating_mul(start.epochs));
        let per_step = seconds / (step.step - start.done) as f64;
        let left = human(per_step * (steps - step.step) as f64);
        let text = format!(
            "epoch {}/{}  {:.0} images/s  {left} left  loss {:.3}  learning rate {:.1e}",
            step.epoch + 1,
            start.epochs,
            self.images as f64 / seconds.max(f64::MIN_POSITIVE),
            step.loss,
            step.lr
        );
        if let Some(bar) = &self.bar {
            bar.set_position(step.step);
            bar.set_message(text.clone());
        }
        let ends_epoch = step.step.is_multiple_of(start.steps_per_epoch);
        if let Some(lines) = &mut self.lines
            && (lines.due() || ends_epoch)
        {
            say(&format!("step {}/{steps}  {text}", step.step));
        }
        if step.step == steps
            && let Some(bar) = self.bar.take()
        {
            clear(&bar);
            say(&format!("step {steps}/{steps}  {text}"));
        }
    }

    fn warn(&mut self, message: &str) {
        warn(message);
    }

    fn waits_to_save(&mut self, step: u64, error: &StoreError) -> bool {
        self.stop.as_ref().is_some_and(|stop| self.room.wait(stop, step, error))
    }

    fn wants_to_stop(&mut self) -> bool {
        self.stop.as_ref().is_some_and(StopRequest::is_made)
    }

    fn saved(&mut self, folder: &Path) {
        say(&format!("checkpoint: {}", folder.display()));
        self.stop = None;
    }

    fn tested(&mut self, done: usize, images: usize) {
        // Still there where no step came last: nothing was left to train, or the last images were broken.
        if let Some(bar) = self.bar.take() {
            clear(&bar);
        }
        self.test.get_or_insert_with(|| ImageProgress::new("test images", images)).set(done);
    }
}

impl Drop for FineTuneProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            clear(bar);
        }
    }
}
