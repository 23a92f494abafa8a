//! What the fuzz targets share.

use std::fs;
use std::path::PathBuf;
use std::sync::{Once, OnceLock};

use msn_data::{Access, FULL_RANGE, Limits, open_with};

/// Bytes and pixels that an image may have here: small, so that a bound that does not hold shows in the memory.
pub const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_pixels: 1 << 20, levels: FULL_RANGE };
/// Images of a source that are read.
const IMAGES: usize = 64;

/// Panics of decoders are caught by `msn-data` and are errors of that image. The fuzzer's own hook would end the process
/// before they are; without it, a panic that is not caught still does.
pub fn let_panics_be_caught() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| ())));
}

/// Opens a file of these bytes and this name, and reads its images.
pub fn read_source(name: &str, bytes: &[u8]) {
    let_panics_be_caught();
    let path = write(name, bytes);
    let Ok(source) = open_with(&path, &Access::default()) else { return };
    let mut image = Vec::new();
    for index in 0..source.len().min(IMAGES) {
        let _ = source.label(index);
        if source.read_into(index, LIMITS.max_bytes, &mut image).is_ok() {
            assert!(image.len() <= LIMITS.max_bytes, "{} is larger than asked for", source.name(index));
        }
    }
}

/// Writes a file into the folder of the sources.
pub fn write(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, bytes).expect("a temporary file");
    path
}

/// In memory where the system has a place there.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
        tempfile::tempdir_in(parent).expect("a temporary folder").keep()
    })
}
