//! Features that are kept from one command to the next.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use msn_data::EvalConfig;
use msn_model::{Encoder, Precision, is_cpu};
use msn_store::{CacheFolder, RowCache};
use twox_hash::XxHash3_128;

use super::digest::digest;
use super::{Extractor, Kind};

/// Another one may compute other features.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Counts up when the same encoder and the same image give other features than before, in between two versions.
const REVISION: u32 = 1;

/// Rows are written when so many have come together, or so much time has passed: what a kill may cost.
const WRITTEN_ROWS: usize = 1024;
const WRITTEN_AFTER: Duration = Duration::from_secs(10);

/// The features of one encoder, found by the content of the images.
#[derive(Debug)]
pub(super) struct KeptFeatures {
    folder: CacheFolder,
    rows: RowCache,
    waiting: Mutex<Waiting>,
}

/// Rows that are not written yet.
#[derive(Debug)]
struct Waiting {
    digests: Vec<u128>,
    rows: Vec<f32>,
    since: Instant,
    /// Set once rows could not be written.
    failed: bool,
}

impl Extractor {
    /// The extractor that keeps the features of uncorrupted images in `folder`, and takes them from there for images of the
    /// same content: in one file for each encoder, way of computing and way of preparing images. Pixels are not kept. Where
    /// the folder cannot be used, that is a warning.
    pub fn keeping(mut self, folder: CacheFolder) -> Self {
        let Kind::Encoder { encoder, features, precision } = &self.kind else { return self };
        let name = file_name(VERSION, encoder, *features, *precision, &self.config);
        self.kept = match RowCache::open(folder.clone(), &name, self.dim()) {
            Ok(rows) => {
                let (digests, since) = (Vec::new(), Instant::now());
                let waiting = Mutex::new(Waiting { digests, rows: Vec::new(), since, failed: false });
                Some(KeptFeatures { folder, rows, waiting })
            }
            Err(error) => {
                tracing::warn!("features are not kept: {error}");
                None
            }
        };
        self
    }
}

impl KeptFeatures {
    /// The folder, once the file in it is closed.
    pub(super) fn into_folder(self) -> CacheFolder {
        self.folder
    }

    /// The features of an encoded image; if there are none, the digest that they are to be kept under.
    pub(super) fn recall(&self, encoded: &[u8]) -> Result<Vec<f32>, u128> {
        let digest = XxHash3_128::oneshot(encoded);
        self.rows.read(digest).ok_or(digest)
    }

    /// Keeps features under their digests; those that are no numbers are not kept.
    pub(super) fn keep<'a>(&self, features: impl Iterator<Item = (u128, &'a [f32])>) {
        let mut waiting = self.waiting();
        for (digest, row) in features.filter(|(_, row)| row.iter().all(|number| number.is_finite())) {
            waiting.digests.push(digest);
            waiting.rows.extend_from_slice(row);
        }
        if waiting.digests.len() >= WRITTEN_ROWS || waiting.since.elapsed() >= WRITTEN_AFTER {
            self.write(&mut waiting);
        }
    }

    /// Writes what is waiting.
    pub(super) fn flush(&self) {
        self.write(&mut self.waiting());
    }

    fn write(&self, waiting: &mut Waiting) {
        if !waiting.failed
            && let Err(error) = self.rows.add(&waiting.digests, &waiting.rows)
        {
            tracing::warn!(
                "features are not kept from here on: {error}; files in that folder may be deleted"
            );
            waiting.failed = true;
        }
        waiting.digests.clear();
        waiting.rows.clear();
        waiting.since = Instant::now();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names all that the features of an image depend on besides its content: on a CPU the instruction set too, since sums are
/// rounded in another order. Graphics cards are told apart by their number alone.
fn file_name(
    version: &str,
    encoder: &Encoder,
    features: msn_model::Features,
    precision: Precision,
    config: &EvalConfig,
) -> String {
    let EvalConfig { transform, corruption: _, batch_size: _, workers: _, limits } = config;
    let heads = encoder.blocks.first().map(|block| block.heads);
    let device = encoder.device();
    let isa = is_cpu(&device).then(msn_kernels::selected_isa);
    let key = format!(
        "{version} {REVISION} {:032x} {heads:?} {features:?} {precision:?} {transform:?} {limits:?} {device:?} {isa:?}",
        digest(encoder)
    );
    format!("{:032x}.rows", XxHash3_128::oneshot(key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use msn_model::{EncoderConfig, Features};

    use super::*;
    use crate::Extractor;

    #[test]
    fn another_version_or_another_size_of_images_has_a_file_of_its_own() {
        let sizes = EncoderConfig { image_size: 8, patch_size: 4, dim: 8, depth: 1, ..Default::default() };
        let config = EncoderConfig { variant: String::new(), heads: 1, ..sizes };
        let encoder = config.init(None, 1, &Device::flex()).expect("valid");
        let name = |version, size| {
            let loading = Extractor::raw_pixels(size).config;
            file_name(version, &encoder, Features::BeforeNorm, Precision::F32, &loading)
        };
        assert_eq!(name("0.1.0", 8), name("0.1.0", 8));
        assert_ne!(name("0.1.0", 8), name("0.1.1", 8));
        assert_ne!(name("0.1.0", 8), name("0.1.0", 12));
    }
}
