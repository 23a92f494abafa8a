//! What a person sees of long work: a bar on a terminal, a line every so often elsewhere.

mod finetuning;
mod room;
mod training;
mod warnings;

use std::fmt;
use std::io::{IsTerminal, Write, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

pub(crate) use finetuning::FineTuneProgress;
pub(crate) use training::TrainingProgress;
pub(crate) use warnings::show_warnings;

/// Columns that a line with everything needs.
const WIDE: usize = 100;

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The bar that is on the screen, which lines are printed above.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// A line on stderr. Work goes on where nobody reads it any more, as after `msn ... 2>&1 | head`: `eprintln!` would
/// end a training run there.
pub(crate) fn say(line: &str) {
    let line = harmless(line) + "\n";
    let print = || {
        let _ = stderr().write_all(line.as_bytes());
    };
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match shown {
        Some(bar) => bar.suspend(print),
        None => print(),
    }
}

/// The text without what would change colours or move the cursor of a terminal: names of files may hold anything.
pub(crate) fn harmless(text: &str) -> String {
    let escaped = |c: char| c.is_control() && c != '\n' && c != '\t';
    text.chars().fold(String::new(), |mut harmless, c| {
        if escaped(c) {
            harmless.extend(c.escape_default())
        } else {
            harmless.push(c)
        }
        harmless
    })
}

/// Such as `1 image` or `24 images`.
pub(crate) fn counted(number: usize, singular: &str) -> String {
    let ending = match singular {
        _ if number == 1 => "",
        _ if singular.ends_with('s') => "es",
        _ => "s",
    };
    format!("{number} {singular}{ending}")
}

/// A warning that the work goes on after.
pub(crate) fn warn(message: &str) {
    say(&format!("warning: {message}"));
}

/// Columns of the terminal.
fn columns() -> usize {
    usize::from(Term::stderr().size().1)
}

/// Counts images.
pub(crate) struct ImageProgress {
    what: String,
    images: usize,
    /// How many were done at the last line.
    told: usize,
    lines: Option<Lines>,
    bar: ProgressBar,
}

impl ImageProgress {
    /// `what` is done to `images` images, such as `features of the test images`.
    pub(crate) fn new(what: &str, images: usize) -> Self {
        let lines = (!stderr().is_terminal()).then(Lines::new);
        let template = match columns() {
            WIDE.. => "{msg}  {wide_bar}  {human_pos}/{human_len}  {rate}  {eta} left",
            _ => "{human_pos}/{human_len}  {wide_msg}",
        };
        let bar = bar(images as u64, template).with_message(what.to_owned());
        Self { what: what.to_owned(), images, told: 0, lines, bar }
    }

    /// So many are done in all.
    pub(crate) fn set(&mut self, done: usize) {
        match &mut self.lines {
            None => self.bar.set_position(done as u64),
            Some(lines) => {
                let since = lines.last.elapsed().as_secs_f64();
                if lines.due() {
                    // Of late: those that were known already came all at once.
                    let rate = (done - self.told) as f64 / since;
                    let left = human(self.images.saturating_sub(done) as f64 / rate);
                    say(&format!(
                        "{}: {done} of {}, {rate:.0} images/s, {left} left",
                        self.what, self.images
                    ));
                    self.told = done;
                }
            }
        }
    }
}

impl Drop for ImageProgress {
    fn drop(&mut self) {
        clear(&self.bar);
    }
}

/// When to print a line.
struct Lines {
    last: Instant,
}

impl Lines {
    fn new() -> Self {
        Self { last: Instant::now() }
    }

    fn due(&mut self) -> bool {
        let due = self.last.elapsed() >= LINE_EVERY;
        if due {
            self.last = Instant::now();
        }
        due
    }
}

fn bar(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("a valid template");
    // Hides itself where stderr is no terminal.
    let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
        // A bar that cannot be drawn is no reason to stop.
        let _ = write!(out, "{:.0} images/s", state.per_sec());
    };
    let bar = ProgressBar::new(length).with_style(style.with_key("rate", rate).progress_chars("=> "));
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
    bar
}

/// Takes a bar off the screen.
fn clear(bar: &ProgressBar) {
    bar.finish_and_clear();
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Such as `3 minutes`.
pub(crate) fn human(seconds: f64) -> String {
    /// 30,000 years: an endless run may have more seconds left than a duration holds.
    const MOST: f64 = 1e12;
    HumanDuration(Duration::from_secs_f64(seconds.clamp(0.0, MOST))).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_seconds_is_said() {
        assert_eq!(human(120.0), "2 minutes");
        assert_eq!(human(-1.0), "0 seconds");
        assert!(human(f64::MAX).ends_with(" years"), "{}", human(f64::MAX));
    }

    #[test]
    fn a_terminal_is_told_nothing_but_text() {
        assert_eq!(harmless("a\u{1b}[31m\u{7}é\n\tb"), "a\\u{1b}[31m\\u{7}é\n\tb");
    }

    #[test]
    fn one_of_a_kind_has_no_plural() {
        assert_eq!(counted(1, "image"), "1 image");
        assert_eq!(counted(0, "image"), "0 images");
        assert_eq!(counted(20, "class"), "20 classes");
    }
}
