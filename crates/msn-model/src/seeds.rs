//! Seeds of the initial weights, from a run's seed: what training starts from can be drawn again from it.

/// Seed of the encoder that a run with this seed starts from.
pub fn encoder_seed(run: u64) -> u64 {
    run.wrapping_mul(2)
}

/// Seed of the prototypes that a run with this seed starts from.
pub fn prototypes_seed(run: u64) -> u64 {
    run.wrapping_mul(2).wrapping_add(1)
}
