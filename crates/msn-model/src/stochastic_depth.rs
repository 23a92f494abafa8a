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
    /// Draws the factors of one step from a seed a sequence; `None` where nothing would be dropped.
    ///
    /// A sequence's factors depend on its own seed alone, not on its place among the others.
    pub fn draw(drop_path: f64, depth: usize, seeds: &[[u8; 32]]) -> Option<Self> {
        if drop_path == 0.0 {
            return None;
        }
        let branch = || Vec::with_capacity(seeds.len());
        let mut factors: Vec<[Vec<f32>; 2]> = (0..depth).map(|_| [branch(), branch()]).collect();
        for seed in seeds {
            let mut rng = ChaCha8Rng::from_seed(*seed);
            for (block, branches) in factors.iter_mut().enumerate() {
                let p = drop_path * block as f64 / (depth - 1).max(1) as f64;
                for branch in branches {
                    branch.push(if rng.random::<f64>() < p { 0.0 } else { (1.0 / (1.0 - p)) as f32 });
                }
            }
        }
        Some(Self { factors })
    }

    /// Every branch of every block dropped.
    #[cfg(test)]
    pub(crate) fn dropping_all(depth: usize, sequences: usize) -> Self {
        Self { factors: vec![[vec![0.0; sequences], vec![0.0; sequences]]; depth] }
    }

    /// Factors of the attention and the MLP branch of a block, each [S].
    pub(crate) fn block(&self, block: usize) -> &[Vec<f32>; 2] {
        &self.factors[block]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(numbers: std::ops::Range<u32>) -> Vec<[u8; 32]> {
        let seed = |number: u32| {
            let mut seed = [3; 32];
            seed[..4].copy_from_slice(&number.to_le_bytes());
            seed
        };
        numbers.map(seed).collect()
    }

    #[test]
    fn the_rate_rises_from_zero_to_drop_path_and_the_mean_factor_is_one() {
        let drawn = StochasticDepth::draw(0.5, 3, &seeds(0..20_000)).expect("something to drop");
        for (block, rate) in [(0, 0.0), (1, 0.25), (2, 0.5)] {
            for branch in drawn.block(block) {
                let dropped = branch.iter().filter(|f| **f == 0.0).count() as f64 / 20_000.0;
                let mean = branch.iter().sum::<f32>() / 20_000.0;
                // Four deviations of a mean over 20,000 draws: 4 * 0.5 / sqrt(20,000) = 0.014.
                assert!((dropped - rate).abs() < 0.015, "block {block}: {dropped}");
                assert!((mean - 1.0).abs() < 0.03, "block {block}: {mean}");
            }
        }
        assert!(StochasticDepth::draw(0.0, 3, &seeds(0..8)).is_none());
    }

    #[test]
    fn a_sequence_drops_the_same_branches_wherever_it_stands() {
        let draw = |seeds: &[[u8; 32]]| StochasticDepth::draw(0.5, 6, seeds).expect("something to drop");
        let (all, one) = (draw(&seeds(0..40)), draw(&seeds(23..24)));
        for block in 0..6 {
            for (all, one) in all.block(block).iter().zip(one.block(block)) {
                assert_eq!(all[23], one[0], "block {block}");
            }
        }
    }
}
