//! Milliseconds that attention takes in one block of a training step, forward and backward, on two threads.
//!
//! `cargo bench -p msn-kernels --bench attention`

use std::time::Instant;

use msn_kernels::{Attention, Bf16, Precision};

#[global_allocator]
static ALLOCATOR: msn_kernels::LineAligned = msn_kernels::LineAligned;

/// Attention over groups of equally long sequences.
struct Case {
    name: &'static str,
    /// Tokens of a sequence, and sequences, of each group.
    groups: &'static [(usize, usize)],
    heads: usize,
}

/// The anchors and the targets of a step of two configurations of `bench/run.sh`.
const CASES: [Case; 4] = [
    Case { name: "vit-s16-224 anchors", groups: &[(167, 8), (37, 80)], heads: 6 },
    Case { name: "vit-s16-224 targets", groups: &[(197, 8)], heads: 6 },
    Case { name: "vit-ti4-32 anchors", groups: &[(55, 64), (17, 256)], heads: 3 },
    Case { name: "vit-ti4-32 targets", groups: &[(65, 64)], heads: 3 },
];
const HEAD_DIM: usize = 64;
const ROUNDS: usize = 41;

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads start");
    pool.install(|| {
        for Case { name, groups, heads } in CASES {
            let lengths: Vec<usize> =
                groups.iter().flat_map(|&(tokens, count)| std::iter::repeat_n(tokens, count)).collect();
            let attention = Attention { lengths: &lengths, heads, head_dim: HEAD_DIM };
            let (tokens, dim) = (lengths.iter().sum::<usize>(), heads * HEAD_DIM);
            let products: usize = lengths.iter().map(|t| 2 * t * t * dim).sum();
            let qkv = numbers(tokens * 3 * dim);
            let d_out = numbers(tokens * dim);
            let mut out = vec![Bf16::ZERO; tokens * dim];
            let mut d_qkv = vec![Bf16::ZERO; tokens * 3 * dim];
            let forward = median(|| attention.forward(Precision::Bf16, &qkv[..], &mut out[..]));
            let backward =
                median(|| attention.backward(Precision::Bf16, &qkv[..], &d_out[..], &mut d_qkv[..]));
            let rate = |count: usize, seconds: f64| (count * products) as f64 / seconds / 1e9;
            println!(
                "{name:20} forward {:6.3} ms {:4.0} GFLOP/s, backward {:6.3} ms {:4.0} GFLOP/s",
                forward * 1e3,
                rate(2, forward),
                backward * 1e3,
                rate(5, backward),
            );
        }
    });
}

fn numbers(count: usize) -> Vec<Bf16> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Bf16::from_f32((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
    };
    (0..count).map(|_| next()).collect()
}

fn median(mut f: impl FnMut()) -> f64 {
    let mut seconds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[ROUNDS / 2]
}
