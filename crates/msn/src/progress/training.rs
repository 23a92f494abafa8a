//! A training run as it goes.

use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::time::Instant;

use indicatif::ProgressBar;
use msn_ssl::Collapse;
use msn_store::StoreError;
use msn_train::{Observer, Progress, Start, StepReport};

use super::room::WaitForRoom;
use super::{Lines, bar, clear, columns, counted, human, say, warn};
use crate::signals::StopRequest;

/// Columns of the bar.
const BAR: usize = 20;

/// Shows a training run and lets signals stop it.
pub(crate) struct TrainingProgress {
    stop: StopRequest,
    room: WaitForRoom,
    epochs: u64,
    prototypes: usize,
    start: Option<(Start, Instant)>,
    /// Signs of collapse at the last logged step.
    collapse: Option<Collapse>,
    /// What there is to say about the last step.
    last: String,
    bar: ProgressBar,
    /// `None` on a terminal, which has the bar.
    lines: Option<Lines>,
}

impl TrainingProgress {
    /// Shows a run of `epochs` epochs with so many prototypes.
    pub(crate) fn new(stop: StopRequest, epochs: u64, prototypes: usize) -> Self {
        Self {
            stop,
            room: WaitForRoom::default(),
            epochs,
            prototypes,
            start: None,
            collapse: None,
            last: String::new(),
            bar: ProgressBar::hidden(),
            lines: None,
        }
    }

    /// Number of the signal that asked to stop.
    pub(crate) fn signal(&self) -> i32 {
        self.stop.signal()
    }

    fn seconds_left(&self, step: u64) -> f64 {
        let Some((start, since)) = &self.start else { return 0.0 };
        let per_step = since.elapsed().as_secs_f64() / step.saturating_sub(start.done).max(1) as f64;
        per_step * start.steps.saturating_sub(step) as f64
    }

    fn pace(&self, progress: &Progress) -> String {
        let left = human(self.seconds_left(progress.step));
        let (epoch, rate) = (progress.epoch + 1, progress.images_per_second);
        // Of a large encoder on few cores a second sees a part of an image.
        let digits = if rate < 1.0 { 2 } else { usize::from(rate < 10.0) };
        format!("epoch {epoch}/{}  {rate:.digits$} images/s  {left} left", self.epochs)
    }

    /// Whether an earlier session has done some of the steps.
    pub(crate) fn went_on(&self) -> bool {
        self.start.as_ref().is_some_and(|(start, _)| start.done > 0)
    }

    /// The line below the bar, which ends where the terminal does: what a person looks at first comes first.
    fn short(&self, progress: &Progress, wait: &str) -> String {
        let information = self.collapse.map(|measured| format!("information {:.2}  ", measured.information));
        let information = information.unwrap_or_default();
        let (loss, terms) = (progress.report.loss, terms(&progress.report));
        format!("loss {loss:.3}  {information}{wait}  {terms}{}", self.signs_of_collapse())
    }

    /// Led by two spaces; empty before they are measured.
    fn signs_of_collapse(&self) -> String {
        let Some(measured) = &self.collapse else { return String::new() };
        format!(
            "  prototypes {}/{}  mean entropy {:.2}  information {:.2}  target max {:.2}  rank {:.1}  feature std {:.2}",
            measured.prototypes_used,
            self.prototypes,
            measured.mean_entropy,
            measured.information,
            measured.target_max,
            measured.rank,
            measured.feature_std
        )
    }

    fn is_last_of_epoch(&self, step: u64) -> bool {
        self.start.as_ref().is_some_and(|(start, _)| step.is_multiple_of(start.steps_per_epoch))
    }
}

fn losses(report: &StepReport) -> String {
    format!("loss {:.3} {}", report.loss, terms(report))
}

/// What the loss is the sum of.
fn terms(report: &StepReport) -> String {
    let StepReport { cross_entropy, memax, entropy, .. } = report;
    format!("(cross-entropy {cross_entropy:.3}, me-max {memax:.3}, entropy {entropy:.3})")
}

impl Observer for TrainingProgress {
    fn start(&mut self, start: &Start) {
        say(&format!(
            "{}, {} in {}, {:.2} million parameters in encoder and head",
            counted(start.images, "image"),
            counted(start.steps as usize, "step"),
            counted(self.epochs as usize, "epoch"),
            start.parameters as f64 / 1e6
        ));
        if start.done > 0 && start.done < start.steps {
            say(&format!("going on after step {}", start.done));
        }
        if stderr().is_terminal() {
            let template = format!("{{bar:{BAR}}} {{pos}}/{{len}}  {{prefix}}\n{{wide_msg}}");
            self.bar = bar(start.steps, &template).with_position(start.done);
        } else {
            self.lines = Some(Lines::new());
        }
        self.start = Some((start.clone(), Instant::now()));
    }

    fn step(&mut self, progress: &Progress) {
        self.collapse = progress.collapse.or(self.collapse);
        let (pace, losses) = (self.pace(progress), losses(&progress.report));
        let is_last_of_epoch = self.is_last_of_epoch(progress.step);
        let steps = self.start.as_ref().map_or(0, |(start, _)| start.steps);
        let signs = self.signs_of_collapse();
        let wait = format!("waiting for data {:.0}%", 100.0 * progress.data_wait);
        if let Some(lines) = &mut self.lines {
            if lines.due() || is_last_of_epoch {
                say(&format!("step {}/{steps}  {pace}  {losses}{}  {wait}", progress.step, signs));
            }
        } else {
            self.last = format!("step {}/{steps}  {losses}{}", progress.step, signs);
            self.bar.set_position(progress.step);
            // The line has no element that indicatif would shorten by itself.
            let room = columns().saturating_sub(BAR + format!("  {steps}/{steps}  ").len());
            self.bar.set_prefix(pace.chars().take(room).collect::<String>());
            self.bar.set_message(self.short(progress, &wait));
        }
    }

    fn warn(&mut self, message: &str) {
        warn(message);
    }

    fn saved(&mut self, step: u64, _: &Path) {
        let is_last = self.start.as_ref().is_some_and(|(start, _)| start.steps == step);
        if is_last || self.wants_to_stop() {
            clear(&self.bar);
            if self.lines.is_none() {
                say(&self.last);
            }
        }
    }

    fn waits_to_save(&mut self, step: u64, error: &StoreError) -> bool {
        self.room.wait(&self.stop, step, error)
    }

    fn wants_to_stop(&mut self) -> bool {
        self.stop.is_made()
    }
}

impl Drop for TrainingProgress {
    /// Where the run ends without a checkpoint.
    fn drop(&mut self) {
        clear(&self.bar);
    }
}
