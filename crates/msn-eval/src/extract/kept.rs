//! Features that are kept from one command to the next.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use msn_data::EvalConfig;
use msn_model::{Encoder, Precision, for_each_tensor};
use msn_store::{CacheFolder, RowCache};
use twox_hash::XxHash3_128;

use super::{Extractor, Kind};

/// Counts up when the same encoder and the same image give other features than before.
const REVISION: u32 = 1;

/// The features of one encoder, found by the content of the images.
#[derive(Debug)]
pub(super) struct KeptFeatures {
    rows: RowCache,
    /// Digests of images, by their index, whose features are being computed.
    awaited: Mutex<HashMap<usize, u128>>,
    /// False once rows could not be written.
    writable: AtomicBool,
}

impl Extractor {
    /// The extractor that keeps the features of uncorrupted images in `folder`, and takes them from there for images of the
    /// same content: in one file for each encoder, way of computing and way of preparing images. Pixels are not kept. Where
    /// the folder cannot be used, that is a warning.
    pub fn keeping(mut self, folder: CacheFolder) -> Self {
        let Kind::Encoder { encoder, features, precision } = &self.kind else { return self };
        let name = file_name(encoder, *features, *precision, &self.config);
        self.kept = match RowCache::open(folder, &name, self.dim()) {
            Ok(rows) => {
                Some(KeptFeatures { rows, awaited: Mutex::default(), writable: AtomicBool::new(true) })
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
    /// The features of an image, given with its index and encoded; if there are none, they are awaited.
    pub(super) fn recall(&self, image: usize, encoded: &[u8]) -> Option<Vec<f32>> {
        let digest = XxHash3_128::oneshot(encoded);
        let row = self.rows.read(digest);
        if row.is_none() {
            self.awaited().insert(image, digest);
        }
        row
    }

    /// Keeps the features of images, which are awaited; those that are no numbers are not kept. features: [images, dim]
    pub(super) fn keep(&self, images: &[usize], features: &[f32]) {
        if images.is_empty() {
            return;
        }
        let mut digests = Vec::with_capacity(images.len());
        let mut rows = Vec::with_capacity(features.len());
        let mut awaited = self.awaited();
        for (image, row) in images.iter().zip(features.chunks_exact(features.len() / images.len())) {
            // An image that is asked for twice is kept once.
            if let Some(digest) = awaited.remove(image)
                && row.iter().all(|number| number.is_finite())
            {
                digests.push(digest);
                rows.extend_from_slice(row);
            }
        }
        drop(awaited);
        if self.writable.load(Ordering::Relaxed)
            && let Err(error) = self.rows.add(&digests, &rows)
        {
            tracing::warn!("features are not kept from here on: {error}");
            self.writable.store(false, Ordering::Relaxed);
        }
    }

    fn awaited(&self) -> MutexGuard<'_, HashMap<usize, u128>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names all that the features of an image depend on besides its content, the instruction set included: sums are rounded
/// in another order.
fn file_name(
    encoder: &Encoder,
    features: msn_model::Features,
    precision: Precision,
    config: &EvalConfig,
) -> String {
    let EvalConfig { transform, corruption: _, batch_size: _, workers: _, limits } = config;
    let heads = encoder.blocks.first().map(|block| block.heads);
    let isa = msn_kernels::selected_isa();
    let device = encoder.device();
    let key = format!(
        "{REVISION} {:032x} {heads:?} {features:?} {precision:?} {transform:?} {limits:?} {isa:?} {device:?}",
        digest(encoder)
    );
    format!("{:032x}.rows", XxHash3_128::oneshot(key.as_bytes()))
}

/// Of all weights with their names and shapes.
fn digest(encoder: &Encoder) -> u128 {
    let mut digest = XxHash3_128::new();
    for_each_tensor(encoder, |name, array| {
        digest.write(format!("{name} {:?}", array.shape).as_bytes());
        for numbers in array.data.chunks(1 << 12) {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            digest.write(&bytes);
        }
    });
    digest.finish_128()
}
