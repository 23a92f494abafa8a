//! Images and datasets made on the spot.

use std::collections::HashMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use image::{ImageFormat, Rgb, RgbImage};
use msn_data::{Dataset, Error, Limits};

/// A picture that differs from every other one of another number.
pub(crate) fn picture(number: u32, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let mixed = (x * 7 + y * 13 + number * 97).wrapping_mul(2_654_435_761) >> 16;
        Rgb([(mixed & 255) as u8, (number * 31 % 256) as u8, (y * 8 % 256) as u8])
    })
}

pub(crate) fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(crate) fn png(number: u32) -> Vec<u8> {
    encoded(&picture(number, 40, 30), ImageFormat::Png)
}

pub(crate) fn truncated_jpeg() -> Vec<u8> {
    let mut bytes = encoded(&picture(1, 64, 64), ImageFormat::Jpeg);
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// Images in memory by their names.
pub(crate) struct Memory(Vec<(String, Vec<u8>)>);

impl Memory {
    /// `count` good images, those of the given numbers broken.
    pub(crate) fn with_broken(count: usize, broken: &[usize]) -> Arc<dyn Dataset> {
        let bytes = |i: usize| if broken.contains(&i) { truncated_jpeg() } else { png(i as u32) };
        Arc::new(Self((0..count).map(|i| (format!("{i:04}.png"), bytes(i))).collect()))
    }
}

impl Dataset for Memory {
    fn path(&self) -> &Path {
        Path::new("memory")
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn name(&self, index: usize) -> &str {
        &self.0[index].0
    }

    fn read_into(&self, index: usize, _: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        self.0[index].1.clone_into(bytes);
        Ok(())
    }
}

/// Images that cannot be read the first times.
pub(crate) struct Faulty {
    images: Arc<dyn Dataset>,
    error: fn() -> Error,
    /// Failures left, by image.
    left: Mutex<HashMap<usize, usize>>,
    failures: AtomicUsize,
}

impl Faulty {
    /// `faults`: images, and how often reading them fails with `error`.
    pub(crate) fn new(
        images: Arc<dyn Dataset>,
        error: fn() -> Error,
        faults: impl IntoIterator<Item = (usize, usize)>,
    ) -> Arc<Self> {
        let left = Mutex::new(faults.into_iter().collect());
        Arc::new(Self { images, error, left, failures: AtomicUsize::new(0) })
    }

    /// Failures so far.
    pub(crate) fn failures(&self) -> usize {
        self.failures.load(Ordering::Relaxed)
    }

    pub(crate) fn failures_left(&self) -> usize {
        self.left.lock().unwrap().values().sum()
    }
}

impl Dataset for Faulty {
    fn path(&self) -> &Path {
        self.images.path()
    }

    fn len(&self) -> usize {
        self.images.len()
    }

    fn name(&self, index: usize) -> &str {
        self.images.name(index)
    }

    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        if let Some(left) = self.left.lock().unwrap().get_mut(&index).filter(|left| **left > 0) {
            *left -= 1;
            self.failures.fetch_add(1, Ordering::Relaxed);
            return Err((self.error)());
        }
        self.images.read_into(index, max_bytes, bytes)
    }
}

/// What a network file system says at times.
pub(crate) fn failing_disk() -> Error {
    Error::Io { path: "disk".into(), source: std::io::ErrorKind::TimedOut.into() }
}

pub(crate) fn failing_server() -> Error {
    Error::ShardNotFetched {
        shard: "shard".into(),
        reason: "the server does not answer".into(),
        outage: true,
    }
}

/// A file below the folder of shared data, or `None` with a message where it is missing.
pub(crate) fn shared(file: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(file);
    if path.is_file() {
        return Some(path);
    }
    msn_golden::skip(&format!("{} is missing", path.display()));
    None
}

/// Waits for something that comes, however busy the machine is.
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !condition() {
        assert!(Instant::now() < deadline, "not within two minutes: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A file of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub(crate) fn names(dataset: &dyn Dataset) -> Vec<&str> {
    (0..dataset.len()).map(|i| dataset.name(i)).collect()
}

pub(crate) fn labels(dataset: &dyn Dataset) -> Vec<Option<&str>> {
    (0..dataset.len()).map(|i| dataset.label(i)).collect()
}

pub(crate) fn open_error(path: &Path) -> Error {
    msn_data::open(path).err().unwrap_or_else(|| panic!("{} opened", path.display()))
}

/// The first pixel of an image of a source.
pub(crate) fn first_pixel(dataset: &dyn Dataset, index: usize) -> [u8; 3] {
    let image = msn_data::decode(&dataset.read(index, usize::MAX).unwrap(), &Limits::default()).unwrap();
    image.pixels()[..3].try_into().unwrap()
}
