//! A last checkpoint that cannot be written.

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use msn_store::StoreError;

use super::{human, warn};
use crate::signals::StopRequest;

/// Time until the first further try, twice as long before each next one up to the second, and how long it is tried.
const FIRST_TRY: Duration = Duration::from_secs(5);
const SELDOMEST: Duration = Duration::from_secs(60);
const WAIT: Duration = Duration::from_secs(3600);
/// Time between two looks at whether a signal has come.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Waits for a disk, since nothing else holds what was trained.
#[derive(Default)]
pub(super) struct WaitForRoom {
    waiting: Option<Waiting>,
}

struct Waiting {
    since: Instant,
    /// The signal that had come by then.
    signal: i32,
    pause: Duration,
}

impl WaitForRoom {
    /// The last checkpoint, of step `step`, could not be written: returns when it is time to try again, or says that it is
    /// not: after an hour or a signal, or where nothing would change by waiting.
    pub(super) fn wait(&mut self, stop: &StopRequest, step: u64, error: &StoreError) -> bool {
        if is_lasting(error) {
            return false;
        }
        let waiting = self.waiting.get_or_insert_with(|| {
            // From now on a signal means something else: any that comes after the message.
            stop.is_made();
            stop.keep_quiet();
            let signal = stop.signal();
            warn(&format!(
                "no checkpoint of step {step}: {error}; what was trained since the last one waits here, and is saved once \
                 that can be written (tried for {}; Ctrl-C gives it up)",
                human(WAIT.as_secs_f64())
            ));
            Waiting { since: Instant::now(), signal, pause: FIRST_TRY }
        });
        let until = Instant::now() + waiting.pause;
        waiting.pause = SELDOMEST.min(2 * waiting.pause);
        while Instant::now() < until && stop.signal() == waiting.signal {
            thread::sleep(LOOK_UP);
        }
        stop.signal() == waiting.signal && waiting.since.elapsed() < WAIT
    }
}

/// Whether somebody decided it so: unlike a full disk, or one that is away, that does not pass.
fn is_lasting(error: &StoreError) -> bool {
    let StoreError::Io { source, .. } = error else { return true };
    matches!(source.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}
