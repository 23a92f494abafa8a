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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use msn_model::{Encoder, EncoderConfig, Features, Precision};

    use super::*;

    const SIZE: usize = 8;
    const DIM: usize = 16;
    /// More than pass through the encoder at a time.
    const IMAGES: usize = BATCH_SIZE + 5;

    fn three_blocks() -> Encoder {
        let sizes =
            EncoderConfig { image_size: SIZE, patch_size: 4, dim: DIM, depth: 3, ..EncoderConfig::default() };
        let config = EncoderConfig { variant: String::new(), heads: 2, init_std: 0.2, ..sizes };
        config.init(None, 7, &Device::flex()).expect("valid")
    }

    fn batch() -> EvalBatch {
        let pixels = (0..IMAGES * 3 * SIZE * SIZE).map(|i| (i * 7919 % 1013) as f32 / 506.5 - 1.0).collect();
        let (images, keys) = ((0..IMAGES).collect(), vec![(); IMAGES]);
        EvalBatch { images, pixels, keys, recalled: Vec::new(), skipped: Vec::new() }
    }

    /// [CLS] and the mean of the patches after block `index`, each normalised, of one image by itself.
    fn parts(encoder: &Encoder, pixels: &[f32], index: usize) -> [Vec<f32>; 2] {
        let view = || View::new(pixels, 1, SIZE, 4, None, &encoder.device());
        let mut shorter = encoder.clone();
        shorter.blocks.truncate(index + 1);
        let both = host(shorter.last_blocks(&[view()], 1).remove(0));
        let cls = host(shorter.features(&[view()], Features::BeforeNorm));
        [cls, both[DIM..].to_vec()].map(|mut part| {
            normalise_rows(&mut part, DIM);
            part
        })
    }

    #[test]
    fn a_row_has_the_cls_of_each_block_and_the_mean_of_the_patches_after_it_if_wanted() {
        let (encoder, batch) = (three_blocks(), batch());
        let kind = Kind::Encoder {
            encoder: Box::new(encoder.clone()),
            features: Features::AfterNorm,
            precision: Precision::F32,
        };
        let extractor = Extractor { kind, ..Extractor::raw_pixels(SIZE) };
        for (blocks, patch_mean) in [(1, false), (2, false), (1, true), (2, true)] {
            let found = extractor.probe_features(&batch, blocks, patch_mean);
            let columns = extractor.probe_dim(blocks, patch_mean);
            assert_eq!(found.len(), IMAGES * columns);
            for (found, pixels) in found.chunks(columns).zip(batch.pixels.chunks(3 * SIZE * SIZE)) {
                let expected = (3 - blocks..3).flat_map(|index| {
                    let [cls, mean] = parts(&encoder, pixels, index);
                    if patch_mean { [cls, mean].concat() } else { cls }
                });
                let expected: Vec<f32> = expected.collect();
                assert_eq!(found.len(), expected.len());
                // Parts have length 1. A batch, and the last block for [CLS] alone, sum in another order.
                let close = found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-5);
                assert!(close, "{blocks} blocks, patches: {patch_mean}: {found:?}, expected {expected:?}");
            }
        }
    }
}
