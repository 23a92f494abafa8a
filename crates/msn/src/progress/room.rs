//! A last checkpoint that there is no room for.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

use super::{human, warn};
use crate::signals::StopRequest;

/// How often and how long it is tried.
const TRY_EVERY: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_secs(3600);
/// Time between two looks at whether a signal has come.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Waits for a disk, since nothing else holds what was trained.
#[derive(Default)]
pub(super) struct WaitForRoom {
    /// Since when, and the signal that had come by then.
    since: Option<(Instant, i32)>,
}

impl WaitForRoom {
    /// The last checkpoint, of step `step`, could not be written: returns when it is time to try again, or says that it is
    /// not, after an hour or a signal.
    pub(super) fn wait(&mut self, stop: &StopRequest, step: u64, error: &dyn Display) -> bool {
        let (began, signal) = *self.since.get_or_insert_with(|| {
            // From now on a signal means something else.
            stop.is_made();
            stop.keep_quiet();
            warn(&format!(
                "no checkpoint of step {step}: {error}; what was trained since the last one waits here: make room, and it is \
                 saved (tried every {} seconds for {}; Ctrl-C gives it up)",
                TRY_EVERY.as_secs(),
                human(WAIT.as_secs_f64())
            ));
            (Instant::now(), stop.signal())
        });
        let until = Instant::now() + TRY_EVERY;
        while Instant::now() < until && stop.signal() == signal {
            thread::sleep(LOOK_UP);
        }
        stop.signal() == signal && began.elapsed() < WAIT
    }
}
