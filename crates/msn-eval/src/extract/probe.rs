//! Features for a linear probe: the outputs of several blocks.

use msn_data::{EvalBatch, EvalConfig};
use msn_model::{View, host};

use super::{BATCH_SIZE, Extractor, Kind};
use crate::features::normalise_rows;

impl Extractor {
    /// Blocks of the encoder; raw pixels count as one.
    pub fn blocks(&self) -> usize {
        match &self.kind {
            Kind::RawPixels => 1,
            Kind::Encoder { encoder, .. } => encoder.blocks.len(),
        }
    }

    /// How images are loaded for a probe.
    pub(crate) fn batches_of(&self, batch_size: usize) -> EvalConfig {
        EvalConfig { batch_size, ..self.config }
    }

    /// Columns of [`probe_features`](Self::probe_features).
    pub(crate) fn probe_dim(&self, blocks: usize, patch_mean: bool) -> usize {
        match &self.kind {
            Kind::RawPixels => self.dim(),
            Kind::Encoder { .. } => self.dim() * blocks * if patch_mean { 2 } else { 1 },
        }
    }

    /// [CLS] of each of the last `blocks`, with the mean of the patches if `patch_mean`; each part has its mean
    /// subtracted and length 1: [B, probe_dim], row-major. Raw pixels: the pixels, alike.
    pub(crate) fn probe_features(&self, batch: &EvalBatch, blocks: usize, patch_mean: bool) -> Vec<f32> {
        let Kind::Encoder { encoder, .. } = &self.kind else {
            let mut rows = batch.pixels.clone();
            normalise_rows(&mut rows, self.dim());
            return rows;
        };
        let (size, dim) = (self.config.transform.crop, encoder.dim());
        let mut rows = Vec::with_capacity(batch.images.len() * self.probe_dim(blocks, patch_mean));
        for pixels in batch.pixels.chunks(BATCH_SIZE * 3 * size * size) {
            let count = pixels.len() / (3 * size * size);
            let view = View::new(pixels, count, size, encoder.patch_size(), None, &encoder.device());
            let outputs: Vec<Vec<f32>> = encoder.last_blocks(&[view], blocks).into_iter().map(host).collect();
            for image in 0..count {
                for output in &outputs {
                    let both = &output[image * 2 * dim..][..2 * dim];
                    rows.extend_from_slice(if patch_mean { both } else { &both[..dim] });
                }
            }
        }
        normalise_rows(&mut rows, dim);
        rows
    }
}
