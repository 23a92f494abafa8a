//! The thread that serves connections.

use std::future::pending;
use std::sync::OnceLock;
use std::thread;

use tokio::runtime::{Builder, Handle};

/// Where futures are run. Its one thread is started at the first use, for the whole process: connections outlive single
/// files. It moves bytes only; what is done with them happens on the threads that wait for them.
pub(crate) fn runtime() -> &'static Handle {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        // No other crate of the process may have chosen yet; if one has, its choice serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime of one thread");
        let handle = runtime.handle().clone();
        let served = thread::Builder::new().name("msn-remote".to_owned());
        served.spawn(move || runtime.block_on(pending::<()>())).expect("a thread can be started");
        handle
    })
}
