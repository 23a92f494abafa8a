//! Numbers to compute with, paths to compute on, comparisons.

use msn_kernels::{Bf16, Isa, with_isa};

/// Half a unit in the last place of numbers near 1, for `f32` and for bf16.
pub(crate) const F32_ROUNDING: f32 = 6e-8;
pub(crate) const BF16_ROUNDING: f32 = 1.0 / 256.0;

/// `n` numbers in [-1, 1), the same ones for the same seed.
pub(crate) fn uniform(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..8).for_each(|_| _ = next());
    (0..n).map(|_| (next() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

pub(crate) fn to_bf16(x: &[f32]) -> Vec<Bf16> {
    x.iter().map(|x| Bf16::from_f32(*x)).collect()
}

pub(crate) fn to_f32(x: &[Bf16]) -> Vec<f32> {
    x.iter().map(|x| x.to_f32()).collect()
}

/// The paths of this processor beside the plain one.
pub(crate) fn fast_paths() -> Vec<Isa> {
    Isa::supported().filter(|isa| *isa != Isa::Plain).collect()
}

/// Calls `f` on a path that is known to be supported.
pub(crate) fn on<R>(isa: Isa, f: impl FnOnce() -> R) -> R {
    with_isa(isa, f).expect("one of Isa::supported")
}

pub(crate) fn widened(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

pub(crate) fn narrowed(x: &[f64]) -> Vec<f32> {
    x.iter().map(|x| *x as f32).collect()
}

/// The gradients of the loss `sum(dy y(inputs))`, one for each of the inputs: central differences with steps of 1e-5 in
/// `f64`, whose error is about 1e-9.
pub(crate) fn slopes<const N: usize>(
    inputs: [&[f32]; N],
    dy: &[f32],
    y: impl Fn(&[Vec<f64>; N]) -> Vec<f64>,
) -> [Vec<f32>; N] {
    let inputs = inputs.map(widened);
    let loss = |input: usize, i: usize, step: f64| -> f64 {
        let mut moved = inputs.clone();
        moved[input][i] += step;
        y(&moved).iter().zip(dy).map(|(y, dy)| y * f64::from(*dy)).sum()
    };
    let slope = |input, i| ((loss(input, i, 1e-5) - loss(input, i, -1e-5)) / 2e-5) as f32;
    std::array::from_fn(|input| (0..inputs[input].len()).map(|i| slope(input, i)).collect())
}

/// Checks that each element of `found` is within `absolute + relative * |expected|` of `expected`.
#[track_caller]
pub(crate) fn assert_close(found: &[f32], expected: &[f32], absolute: f32, relative: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(
            error <= absolute + relative * expected.abs(),
            "{what}: element {i} is {found}, expected {expected}"
        );
    }
}
