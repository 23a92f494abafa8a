//! The arithmetic that the method needs, counted from its matrix products.
//!
//! A product of [m, k] and [k, n] is 2 m n k operations. Only tokens that a view has count, and of the last block
//! only what its \[CLS\] needs. Norms, softmax, GELU, loss and optimizer are left out, and so is whatever a program
//! computes twice. Counts are whole numbers, exact up to 2^53; as floats they may be those of sizes that nobody has checked.

use msn_model::{EncoderConfig, HeadConfig};

/// Sequences that pass through the encoder: (their number, tokens in each with [CLS]).
pub type Groups = [(usize, usize)];

/// What a training step multiplies with.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    /// The encoder.
    pub encoder: &'a EncoderConfig,
    /// The projection head.
    pub head: &'a HeadConfig,
    /// Number of prototypes K.
    pub prototypes: usize,
}

impl Model<'_> {
    /// A whole step: targets forward; anchors forward, and backward twice that, once for the inputs of a product
    /// and once for its weights. Patches need no gradient, so embedding them costs one product less.
    pub fn step(&self, targets: &Groups, anchors: &Groups) -> f64 {
        let count = |groups: &Groups| groups.iter().map(|(count, _)| *count as f64).sum();
        let rest = |groups: &Groups| blocks(self.encoder, groups) + self.assignments(count(groups));
        let forward = embedding(self.encoder, targets) + rest(targets);
        forward + 2.0 * embedding(self.encoder, anchors) + 3.0 * rest(anchors)
    }

    /// Projection head and cosines with the prototypes of that many [CLS].
    fn assignments(&self, rows: f64) -> f64 {
        let HeadConfig { hidden_dim, output_dim, .. } = *self.head;
        let [dim, hidden, output, prototypes] =
            [self.encoder.dim, hidden_dim, output_dim, self.prototypes].map(|width| width as f64);
        product(rows, hidden, dim)
            + product(rows, hidden, hidden)
            + product(rows, output, hidden)
            + product(rows, prototypes, output)
    }
}

/// A forward pass of the encoder for its features.
pub fn features(encoder: &EncoderConfig, groups: &Groups) -> f64 {
    embedding(encoder, groups) + blocks(encoder, groups)
}

fn embedding(encoder: &EncoderConfig, groups: &Groups) -> f64 {
    let patches = groups.iter().map(|&(count, tokens)| count as f64 * (tokens as f64 - 1.0)).sum();
    product(patches, encoder.dim as f64, 3.0 * (encoder.patch_size as f64).powi(2))
}

fn blocks(encoder: &EncoderConfig, groups: &Groups) -> f64 {
    let others = encoder.depth as f64 - 1.0;
    let sequence = |tokens| others * block(encoder, tokens) + last_block(encoder, tokens);
    groups.iter().map(|&(count, tokens)| count as f64 * sequence(tokens as f64)).sum()
}

fn block(encoder: &EncoderConfig, tokens: f64) -> f64 {
    let dim = encoder.dim as f64;
    // Over all heads together: each has its share of the dimensions.
    let attention = 2.0 * product(tokens, tokens, dim);
    product(tokens, 4.0 * dim, dim) + attention + mlp(encoder, tokens)
}

/// A block on a sequence of which only [CLS] is read afterwards. Key and value weights need to meet one row a sequence: the
/// query before it meets the tokens, and the sum of tokens after.
fn last_block(encoder: &EncoderConfig, tokens: f64) -> f64 {
    let dim = encoder.dim as f64;
    let attention = 2.0 * product(encoder.heads as f64, tokens, dim);
    product(1.0, 4.0 * dim, dim) + attention + mlp(encoder, 1.0)
}

fn mlp(encoder: &EncoderConfig, tokens: f64) -> f64 {
    let dim = encoder.dim as f64;
    2.0 * product(tokens, encoder.mlp_ratio as f64 * dim, dim)
}

fn product(m: f64, n: f64, k: f64) -> f64 {
    2.0 * m * n * k
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(products: &[[u32; 3]]) -> f64 {
        products.iter().map(|[m, n, k]| f64::from(2 * m * n * k)).sum()
    }

    #[test]
    fn a_step_is_the_sum_of_its_products() {
        let encoder = EncoderConfig {
            variant: String::new(),
            image_size: 2,
            patch_size: 1,
            dim: 4,
            depth: 2,
            heads: 2,
            mlp_ratio: 3,
            init_std: 0.02,
            patch_std: 0.0,
            drop_path: 0.0,
        };
        let head = HeadConfig { hidden_dim: 7, output_dim: 6, batch_norm: true };
        let model = Model { encoder: &encoder, head: &head, prototypes: 10 };
        // One sequence of two patches and [CLS], its products written out.
        let embedding = [[2, 4, 3]];
        let attention = [[3, 3, 2], [3, 3, 2], [3, 2, 3], [3, 2, 3]];
        let linear = [[3, 12, 4], [3, 4, 4], [3, 12, 4], [3, 4, 12]];
        // Query; key weights, scores, sums of tokens and value weights of two heads; projection; MLP.
        let query = [[1, 4, 4]];
        let heads = [[1, 4, 2], [1, 3, 4], [1, 4, 3], [1, 2, 4]];
        let cls = [[1, 4, 4], [1, 12, 4], [1, 4, 12]];
        let head = [[1, 7, 4], [1, 7, 7], [1, 6, 7], [1, 10, 6]];
        let rest = sum(&attention) + sum(&linear) + sum(&query) + 2.0 * sum(&heads) + sum(&cls) + sum(&head);
        assert_eq!(features(&encoder, &[(1, 3)]), sum(&embedding) + rest - sum(&head));
        // Five anchors of the same length: linear in their number.
        let anchors = 5.0 * (2.0 * sum(&embedding) + 3.0 * rest);
        assert_eq!(model.step(&[(1, 3)], &[(2, 3), (3, 3)]), sum(&embedding) + rest + anchors);
    }

    #[test]
    fn features_cost_what_is_published_less_the_unread_part_of_the_last_block() {
        // Billions of multiply-adds of the whole network at 224 px: DeiT (Touvron et al., 2021) and timm's tables.
        for (variant, published) in [("vit-s16", 4.6), ("vit-b16", 17.6)] {
            let encoder = EncoderConfig { variant: variant.to_owned(), ..Default::default() };
            let encoder = encoder.resolve().expect("in the table");
            let share = features(&encoder, &[(1, 197)]) / (2.0 * published * 1e9);
            // The last of twelve blocks is next to nothing: 8% are saved. The published figures have two to three digits.
            assert!((0.905..0.945).contains(&share), "{variant}: {share}");
        }
    }
}
