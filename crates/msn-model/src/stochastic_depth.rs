use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Which residual branches a training step drops, and how much the others are scaled up.
///
/// Stochastic depth (Huang et al., 2016), per sequence: a branch is dropped with probability p and scaled by
/// 1 / (1 - p) otherwise, where p rises linearly from 0 at the first block to `drop_path` at the last.
#[derive(Clone, Debug)]
pub struct StochasticDepth {
    /// For each block the factors of the attention and of the MLP branch, one a sequence: [depth][2][S].
    factors: Vec<[Vec<f32>; 2]>,
}

impl StochasticDepth {
    /// Draws the factors of one step; `None` where nothing would be dropped.
    pub fn draw(drop_path: f64, depth: usize, sequences: usize, seed: [u8; 32]) -> Option<Self> {
        if drop_path == 0.0 {
            return None;
        }
        let mut rng = ChaCha8Rng::from_seed(seed);
        let factors = (0..depth)
            .map(|block| {
                let p = drop_path * block as f64 / (depth - 1).max(1) as f64;
                let mut branch = || {
                    let factor = |_| if rng.random::<f64>() < p { 0.0 } else { (1.0 / (1.0 - p)) as f32 };
                    (0..sequences).map(factor).collect()
                };
                [branch(), branch()]
            })
            .collect();
        Some(Self { factors })
    }

    /// Factors of the attention and the MLP branch of a block, each [S].
    pub(crate) fn block(&self, block: usize) -> &[Vec<f32>; 2] {
        &self.factors[block]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_from_zero_to_drop_path_and_the_mean_factor_is_one() {
        let drawn = StochasticDepth::draw(0.5, 3, 20_000, [3; 32]).expect("something to drop");
        for (block, rate) in [(0, 0.0), (1, 0.25), (2, 0.5)] {
            for branch in drawn.block(block) {
                let dropped = branch.iter().filter(|f| **f == 0.0).count() as f64 / 20_000.0;
                let mean = branch.iter().sum::<f32>() / 20_000.0;
                // Four deviations of a mean over 20,000 draws: 4 * 0.5 / sqrt(20,000) = 0.014.
                assert!((dropped - rate).abs() < 0.015, "block {block}: {dropped}");
                assert!((mean - 1.0).abs() < 0.03, "block {block}: {mean}");
            }
        }
        assert!(StochasticDepth::draw(0.0, 3, 8, [3; 32]).is_none());
    }
}
