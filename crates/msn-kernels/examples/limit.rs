//! The most that this processor multiplies: products on registers alone, on all threads at once, in GFLOP/s.
//!
//! `cargo run --release -p msn-kernels --example limit -- 2` prints a JSON line for 2 threads. What the training
//! step reaches is given as a share of it in docs/performance.md.

#![expect(unsafe_code, reason = "functions compiled for instructions that were detected")]

use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Trials, the best of which counts: whatever else runs on the machine can only slow one down.
const TRIALS: usize = 20;
/// Passes over the accumulators in a trial: some 30 ms.
const PASSES: usize = 10_000_000;

/// Multiplications and additions of vectors on registers.
struct Peak {
    /// Floating-point operations of a pass.
    flop: usize,
    /// Does the given number of passes.
    run: fn(usize) -> f32,
}

fn main() {
    let default = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = std::env::args().nth(1).map_or(default, |text| text.parse().expect("a number of threads"));
    let number = |peak: Option<Peak>| match peak {
        Some(peak) => format!("{:.1}", measure(&peak, threads)),
        None => "null".to_owned(),
    };
    let (f32, bf16) = (number(f32_peak()), number(bf16_peak()));
    println!("{{\"threads\": {threads}, \"f32_gflops\": {f32}, \"bf16_gflops\": {bf16}}}");
}

/// GFLOP/s of the best trial.
fn measure(peak: &Peak, threads: usize) -> f64 {
    let slowest = || {
        let start = Barrier::new(threads);
        let trial = || {
            start.wait();
            let begin = Instant::now();
            std::hint::black_box((peak.run)(PASSES));
            begin.elapsed()
        };
        std::thread::scope(|scope| {
            let trials: Vec<_> = (0..threads).map(|_| scope.spawn(trial)).collect();
            let times = trials.into_iter().map(|trial| trial.join().expect("no panic"));
            times.max().unwrap_or(Duration::MAX)
        })
    };
    let best = (0..TRIALS).map(|_| slowest()).min().unwrap_or(Duration::MAX);
    (threads * PASSES * peak.flop) as f64 / best.as_secs_f64() / 1e9
}

#[cfg(not(target_arch = "x86_64"))]
fn f32_peak() -> Option<Peak> {
    None
}

#[cfg(not(target_arch = "x86_64"))]
fn bf16_peak() -> Option<Peak> {
    None
}

#[cfg(target_arch = "x86_64")]
use x86::{bf16_peak, f32_peak};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::Peak;

    // Plain loops below: a closure would not be compiled for the function's instructions.

    /// Independent sums. Two instructions start in a cycle and take up to six: 12 sums keep both units busy, and
    /// as many fit into the 16 registers of AVX2.
    const SUMS: usize = 12;
    /// With the 32 registers of AVX-512.
    const SUMS_512: usize = 24;

    pub(super) fn f32_peak() -> Option<Peak> {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: AVX-512 F was detected.
            return Some(Peak { flop: SUMS_512 * 16 * 2, run: |passes| unsafe { fma_512(passes) } });
        }
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        // SAFETY: AVX2 and FMA were detected.
        avx2.then_some(Peak { flop: SUMS * 8 * 2, run: |passes| unsafe { fma_256(passes) } })
    }

    pub(super) fn bf16_peak() -> Option<Peak> {
        let there = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16");
        // SAFETY: AVX-512 F and AVX512_BF16 were detected.
        there.then_some(Peak { flop: SUMS_512 * 32 * 2, run: |passes| unsafe { dot_512(passes) } })
    }

    #[target_feature(enable = "avx2,fma")]
    fn fma_256(passes: usize) -> f32 {
        let (a, b) = (_mm256_set1_ps(black_box(0.5)), _mm256_set1_ps(black_box(0.25)));
        let mut sums = [_mm256_setzero_ps(); SUMS];
        for _ in 0..passes {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(a, b, *sum);
            }
        }
        let mut total = _mm256_setzero_ps();
        for sum in sums {
            total = _mm256_add_ps(total, sum);
        }
        _mm256_cvtss_f32(total)
    }

    #[target_feature(enable = "avx512f")]
    fn fma_512(passes: usize) -> f32 {
        let (a, b) = (_mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(black_box(0.25)));
        let mut sums = [_mm512_setzero_ps(); SUMS_512];
        for _ in 0..passes {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(a, b, *sum);
            }
        }
        total_512(sums)
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn dot_512(passes: usize) -> f32 {
        let (a, b) = (_mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(black_box(0.25)));
        let (a, b) = (_mm512_cvtne2ps_pbh(a, a), _mm512_cvtne2ps_pbh(b, b));
        let mut sums = [_mm512_setzero_ps(); SUMS_512];
        for _ in 0..passes {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, a, b);
            }
        }
        total_512(sums)
    }

    /// The sum of all lanes, so that no accumulator can be left out as unused.
    #[target_feature(enable = "avx512f")]
    fn total_512(sums: [__m512; SUMS_512]) -> f32 {
        let mut total = _mm512_setzero_ps();
        for sum in sums {
            total = _mm512_add_ps(total, sum);
        }
        _mm512_reduce_add_ps(total)
    }
}
