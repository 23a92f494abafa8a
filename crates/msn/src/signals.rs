//! The first SIGINT, SIGTERM or (on Linux) SIGHUP asks to save and end, a second of the first two ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};

use crate::progress::say;

/// Whether a signal asked to stop. When this is dropped there is nothing left to save, and the next signal ends the
/// process at once.
pub(crate) struct StopRequest {
    asked: Arc<AtomicBool>,
    /// Number of the signal; 0 before there is one.
    signal: Arc<AtomicUsize>,
    /// Whether a person has been told.
    told: Arc<AtomicBool>,
    announcer: Handle,
}

impl StopRequest {
    /// Takes over SIGINT, SIGTERM and, on Linux, unless `nohup` has it ignored, SIGHUP: that of a terminal that is closed.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let (asked, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let listened = listened();
        for &signal in &listened {
            // Actions run in the order of registration: the first signal finds the flag down and raises it.
            let shutdown = || match signal {
                // A terminal that is closed sends it twice at once: the shell to its jobs, the system to all.
                SIGHUP => Ok(()),
                _ => flag::register_conditional_shutdown(signal, exit_code(signal), Arc::clone(&asked))
                    .map(drop),
            };
            shutdown()
                .and_then(|()| flag::register_usize(signal, Arc::clone(&number), signal as usize))
                .and_then(|_| flag::register(signal, Arc::clone(&asked)))
                .with_context(|| format!("cannot listen to signal {signal}"))?;
        }
        let mut signals = Signals::new(&listened).context("cannot listen to signals")?;
        let announcer = signals.handle();
        let told = Arc::new(AtomicBool::new(false));
        let announce = {
            let told = Arc::clone(&told);
            move || signals.forever().take(1).for_each(|signal| tell(signal, &told))
        };
        let thread = thread::Builder::new().name("msn-signals".to_owned());
        thread.spawn(announce).context("cannot start a thread")?;
        Ok(Self { asked, signal: number, told, announcer })
    }

    /// Whether the run should save and end.
    pub(crate) fn is_made(&self) -> bool {
        let made = self.asked.load(Ordering::SeqCst);
        if made {
            // A short step may end before the thread has had its turn.
            tell(self.signal(), &self.told);
        }
        made
    }

    /// Says nothing more about signals.
    pub(crate) fn keep_quiet(&self) {
        self.told.store(true, Ordering::SeqCst);
    }

    /// Number of the signal that asked; 0 without one.
    pub(crate) fn signal(&self) -> i32 {
        self.signal.load(Ordering::SeqCst) as i32
    }
}

/// The signals that ask to stop. Where it cannot be told whether SIGHUP is ignored, it keeps its effect.
fn listened() -> Vec<i32> {
    let hangup = is_ignored(SIGHUP).is_some_and(|ignored| !ignored).then_some(SIGHUP);
    [SIGINT, SIGTERM].into_iter().chain(hangup).collect()
}

/// Whether this process was started with the signal ignored; `None` where the system does not tell.
fn is_ignored(signal: i32) -> Option<bool> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    Some(u64::from_str_radix(mask.trim(), 16).ok()? >> (signal - 1) & 1 == 1)
}

/// What a shell reports of a process that this signal ended.
pub(crate) fn exit_code(signal: i32) -> i32 {
    128 + signal
}

/// Tells, once, that the signal has come: at once, since a step may take minutes.
fn tell(signal: i32, told: &AtomicBool) {
    if !told.swap(true, Ordering::SeqCst) {
        let again = if signal == SIGINT { "a second Ctrl-C" } else { "a second signal" };
        say(&format!("stopping after this step, with a checkpoint; {again} ends at once, without one"));
    }
}

impl Drop for StopRequest {
    fn drop(&mut self) {
        self.asked.store(true, Ordering::SeqCst);
        self.announcer.close();
    }
}
