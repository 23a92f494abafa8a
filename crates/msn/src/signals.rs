//! The first SIGINT or SIGTERM asks to save and end, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether a signal asked to stop. When this is dropped there is nothing left to save, and the next signal ends the
/// process at once.
pub(crate) struct StopRequest(Arc<AtomicBool>);

impl StopRequest {
    /// Takes over SIGINT and SIGTERM.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Actions run in the order of registration: the first signal finds the flag down and raises it.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))
                .and_then(|_| flag::register(signal, Arc::clone(&asked)))
                .with_context(|| format!("cannot listen to signal {signal}"))?;
        }
        Ok(Self(asked))
    }

    /// Whether the run should save and end.
    pub(crate) fn is_made(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for StopRequest {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
