//! How fast a run will be, for saying beforehand how long it takes.

use std::hint::black_box;
use std::time::{Duration, Instant};

use msn_kernels::gemm::{Epilogue, nt};
use msn_kernels::{Bf16, Dims, Precision, Source, on_worker};

/// What whole steps make of what the product below makes alone: 0.75 to 0.88 in bf16 on Zen 4, 0.79 to 0.98 in `f32` on AVX2
/// (docs/performance.md, the tables of steps and of single products), as long as images need little decoding.
const SHARE_OF_PRODUCTS: f64 = 0.8;
/// For how long products are timed, after as long a time to warm up: cores rest until there is work.
const TIMED: Duration = Duration::from_millis(100);

/// Floating point operations a second of whole training steps on this machine's CPU, in this precision and on all threads, as
/// [`flop`](crate::flop) counts them.
///
/// Measures products of the size of a linear layer, which takes a fifth of a second.
pub fn speed_of_training(precision: Precision) -> f64 {
    let dims = Dims { m: 4096, n: 384, k: 384 };
    let numbers =
        |count: usize| (0..count).map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5).collect::<Vec<_>>();
    let (x, weight) = (numbers(dims.m * dims.k), numbers(dims.n * dims.k));
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
    SHARE_OF_PRODUCTS * rate
}
