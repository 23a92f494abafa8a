//! What a run needs of the memory at the very least.

use super::Config;

/// Bytes of a number in memory.
const F32: f64 = 4.0;
/// Copies of the encoder and its head: weights, momentum encoder, gradient and two moments.
const ENCODER_COPIES: f64 = 5.0;
/// While a checkpoint is saved: no gradient, but both moments a second time.
const COPIES_TO_SAVE: f64 = 6.0;
/// Copies of the prototypes, which have no momentum copy.
const PROTOTYPE_COPIES: f64 = 4.0;

impl Config {
    /// A lower bound of the bytes that a run holds at a time: weights with what belongs to them, the batches of views that
    /// are ready, and the input of every block, which the backward pass needs. A run takes some times as much; a machine
    /// that has less than this cannot do it.
    pub fn least_memory(&self) -> f64 {
        let Self { views, mask, encoder, head, objective, data, train, .. } = self;
        let number = |x: usize| x as f64;
        let [dim, hidden, output] = [encoder.dim, head.hidden_dim, head.output_dim].map(number);
        let block = (4.0 + 2.0 * number(encoder.mlp_ratio)) * dim * dim;
        let patch_pixels = 3.0 * number(encoder.patch_size).powi(2);
        let head = dim * hidden + hidden * hidden + hidden * output;
        let weights = number(encoder.depth) * block + patch_pixels * dim + head;
        let prototypes = number(objective.prototypes) * output;

        let pixels = |size: usize| 3.0 * number(size).powi(2);
        let large = 1.0 + number(views.random_views);
        let batch = large * pixels(views.random_size) + number(views.focal_views) * pixels(views.focal_size);
        let patches = |size: usize| (number(size) / number(encoder.patch_size.max(1))).powi(2).floor();
        let tokens = number(views.random_views) * patches(views.random_size) * (1.0 - mask.patch_drop)
            + number(views.focal_views) * patches(views.focal_size);
        let ready = number(train.batch_size) * number(data.queue) * batch;
        let inputs = number(train.batch_size) * number(encoder.depth) * tokens * dim;
        let training = ENCODER_COPIES * weights + inputs;
        F32 * (f64::max(training, COPIES_TO_SAVE * weights) + PROTOTYPE_COPIES * prototypes + ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_vit_s16_are_those_that_are_published() {
        let mut config = Config::default();
        config.train.batch_size = 0;
        config.head.hidden_dim = 0;
        config.objective.prototypes = 0;
        // 22.05 million with classifier of 1000 x 384, positions, norms and biases (DeiT, table 1).
        let weights = config.least_memory() / (F32 * COPIES_TO_SAVE);
        assert!((21.4e6..22.05e6).contains(&weights), "{weights}");
    }

    #[test]
    fn the_bound_grows_with_all_that_takes_memory() {
        let least = Config::default().least_memory();
        assert!((0.5e9..20e9).contains(&least), "a batch of 64 photographs and ViT-S/16: {least}");
        for change in [
            |config: &mut Config| config.encoder.depth *= 2,
            |config: &mut Config| config.encoder.dim *= 2,
            |config: &mut Config| config.train.batch_size *= 2,
            |config: &mut Config| config.objective.prototypes *= 2,
            |config: &mut Config| config.views.focal_views *= 2,
            |config: &mut Config| config.data.queue *= 2,
        ] {
            let mut config = Config::default();
            change(&mut config);
            assert!(config.least_memory() > least);
        }
    }
}
