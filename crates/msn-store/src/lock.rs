//! One writer a folder.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::atomic;
use crate::error::{Result, StoreError};

pub(crate) const FILE_NAME: &str = ".lock";

/// How often, and after what pause, a lock that someone holds is tried again. A process that is just being started
/// holds a copy of every open file of its parent until its program is loaded, and with it a lock that the parent has
/// let go meanwhile.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(25);

/// An advisory lock on a run folder, held until dropped; the operating system drops it with the process, so a
/// killed run never stays locked. The file, which holds the process id, remains.
#[derive(Debug)]
pub(crate) struct RunLock {
    file: File,
}

impl RunLock {
    pub(crate) fn acquire(run: &Path) -> Result<Self> {
        let path = run.join(FILE_NAME);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(StoreError::io(&path, "open"))?;
        match try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = io::read_to_string(&file).ok().and_then(|pid| pid.trim().parse().ok());
                return Err(StoreError::Locked { path: run.to_path_buf(), holder });
            }
            // Some cluster file systems have no locks; that is no reason not to train on them.
            Err(TryLockError::Error(err)) if err.kind() == io::ErrorKind::Unsupported => {
                tracing::warn!(path = %path.display(), "no file locks here: take care to start a run only once");
            }
            Err(TryLockError::Error(err)) => return Err(StoreError::io(&path, "lock")(err)),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(StoreError::io(&path, "write the process id"))?;
        Ok(Self { file })
    }
}

/// Makes the folder `path`, and takes it by `lock` if it passes `check`.
pub(crate) fn begin<T>(
    path: &Path,
    check: impl Fn(&Path) -> Result<()>,
    lock: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    fs::create_dir_all(path).map_err(StoreError::io(path, "create the folder"))?;
    // Before the lock file is made, so that nothing is left in a folder of somebody else; and under the lock again, since
    // another process may have been quicker.
    check(path)?;
    let locked = lock(path)?;
    check(path)?;
    atomic::sync_folder(atomic::parent(path))?;
    Ok(locked)
}

/// Takes the lock of a file, unless someone holds it for longer than it takes to start a program.
pub(crate) fn try_lock(file: &File) -> Result<(), TryLockError> {
    let mut locked = file.try_lock();
    for _ in 1..TRIES {
        if !matches!(locked, Err(TryLockError::WouldBlock)) {
            break;
        }
        thread::sleep(PAUSE);
        locked = file.try_lock();
    }
    locked
}

impl Drop for RunLock {
    /// Closing the file would do, were there no copies of it: a child that another thread is just starting has one
    /// until it has become its program.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}
