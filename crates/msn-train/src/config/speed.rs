//! How fast a run will be, for saying beforehand how long it takes.

use std::hint::black_box;
use std::time::{Duration, Instant};

use msn_kernels::gemm::{Epilogue, nt};
use msn_kernels::{Bf16, Dims, Precision, Source, on_worker};

/// How many floating point operations whole training steps make in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Speed {
    /// On this machine's CPU, by [`Speed::of_cpu`].
    Measured(f64),
    /// On a device that was not asked.
    #[default]
    Unknown,
}

/// What whole steps make of what products alone make: 0.77 to 0.87 (docs/performance.md, by the tables of steps and of
/// single products on the same day).
const SHARE_OF_PRODUCTS: f64 = 0.8;
/// For how long products are timed, after as long a time to warm up: cores rest until there is work.
const TIMED: Duration = Duration::from_millis(100);

impl Speed {
    /// Measures the CPU with products of the size of a linear layer, in this precision, on all threads; takes a fifth of a
    /// second.
    pub fn of_cpu(precision: Precision) -> Self {
        let dims = Dims { m: 4096, n: 384, k: 384 };
        let numbers = |count: usize| (0..count).map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5);
        let (x, weight): (Vec<f32>, Vec<f32>) =
            (numbers(dims.m * dims.k).collect(), numbers(dims.n * dims.k).collect());
        let rounded: Vec<Bf16> = x.iter().map(|x| Bf16::from_f32(*x)).collect();
        let mut y = vec![0.0; dims.m * dims.n];
        let mut product = || {
            let x = match precision {
                Precision::F32 => Source::F32(&x),
                Precision::Bf16 => Source::Bf16(&rounded),
            };
            nt(precision, dims, x, Source::F32(&weight), Epilogue::store(&mut *y));
            black_box(&y);
        };
        let mut rate = || {
            let (start, mut products) = (Instant::now(), 0);
            while products == 0 || start.elapsed() < TIMED {
                product();
                products += 1;
            }
            f64::from(products) * 2.0 * (dims.m * dims.n * dims.k) as f64 / start.elapsed().as_secs_f64()
        };
        let rate = on_worker(|| {
            rate();
            rate()
        });
        Self::Measured(SHARE_OF_PRODUCTS * rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_has_a_speed_in_either_precision() {
        for precision in [Precision::F32, Precision::Bf16] {
            let Speed::Measured(speed) = Speed::of_cpu(precision) else { panic!("measured") };
            // Whatever it is: a busy emulator, or a thousand cores.
            assert!((1e5..1e16).contains(&speed), "{speed:e}");
        }
    }
}
