//! Layer normalisation and softmax.

use msn_kernels::gemm::Base;
use msn_kernels::{Bf16, Isa, layer_norm, layer_norm_backward, softmax_rows};

use crate::support::{
    BF16_ROUNDING, F32_ROUNDING, assert_close, fast_paths, narrowed, on, slopes, to_bf16, to_f32, uniform,
    widened,
};

/// (rows, elements of a row): one; primes; around the vectors of 4, 8 and 16; more rows than a task has.
const SIZES: [[usize; 2]; 8] = [[1, 1], [2, 3], [3, 16], [5, 17], [7, 31], [65, 48], [131, 192], [3, 1031]];
const EPS: f32 = 1e-6;

/// The small ones suffice for Miri, a million times slower than a processor.
fn sizes() -> impl Iterator<Item = [usize; 2]> {
    let largest = if cfg!(miri) { 100 } else { usize::MAX };
    SIZES.into_iter().filter(move |[n, d]| n * d <= largest)
}

#[test]
fn layer_norm_agrees_with_the_plain_twin() {
    for [n, d] in sizes() {
        // Away from zero mean, as residual streams are.
        let x: Vec<f32> = uniform(1, n * d).into_iter().map(|x| 3.0 * x + 2.0).collect();
        let (gamma, beta, base) = (uniform(2, d), uniform(3, d), uniform(4, n * d));
        let dy = uniform(5, n * d);
        let half_dy = to_bf16(&dy);
        let run = |isa| {
            on(isa, || {
                let (mut y, mut half) = (vec![f32::NAN; n * d], vec![Bf16::NAN; n * d]);
                layer_norm(&x, &gamma, &beta, EPS, &mut y[..]);
                layer_norm(&x, &gamma, &beta, EPS, &mut half[..]);
                let mut gradients = vec![];
                let mut backward = |base: Base<'_>, mut dx: Vec<f32>, half: bool| {
                    let (mut dgamma, mut dbeta) = (vec![f32::NAN; d], vec![f32::NAN; d]);
                    let sums = (&mut dgamma[..], &mut dbeta[..]);
                    if half {
                        layer_norm_backward(&x, &gamma, EPS, &half_dy[..], base, &mut dx, sums.0, sums.1);
                    } else {
                        layer_norm_backward(&x, &gamma, EPS, &dy[..], base, &mut dx, sums.0, sums.1);
                    }
                    gradients.extend([dx, dgamma, dbeta]);
                };
                backward(Base::Zero, vec![f32::NAN; n * d], false);
                backward(Base::Slice(&base), vec![f32::NAN; n * d], true);
                backward(Base::Output, base.clone(), false);
                (y, to_f32(&half), gradients)
            })
        };
        let (y, half, gradients) = run(Isa::Plain);
        for isa in fast_paths() {
            let what = format!("{isa:?} [{n}, {d}]");
            let (found_y, found_half, found_gradients) = run(isa);
            // A row of one element (variance 0) divides by sqrt(eps) and is exactly 0 before that. Else the
            // mean of 2 loses about 2 roundings of the differences, which the deviation of 1.7 divides.
            assert_close(&found_y, &y, 30.0 * F32_ROUNDING, 8.0 * F32_ROUNDING, &what);
            assert_close(&found_half, &half, 30.0 * F32_ROUNDING, 2.0 * BF16_ROUNDING, &what);
            for (i, (found, expected)) in found_gradients.iter().zip(&gradients).enumerate() {
                // dgamma and dbeta are sums over rows, at most 131 of them; dx has rows near 3 / 1.7 for
                // d of 2 and above, and is a difference of numbers of that size.
                let bound = 60.0 * F32_ROUNDING * (1.0 + (n as f32).sqrt());
                assert_close(found, expected, bound, 8.0 * F32_ROUNDING, &format!("{what} {i}"));
            }
        }
    }
}

#[test]
fn layer_norm_and_its_gradient_agree_with_the_formula() {
    let (n, d) = (3, 11);
    let (x, gamma, beta) = (uniform(1, n * d), uniform(2, d), uniform(3, d));
    let dy = uniform(4, n * d);
    let reference = |[x, gamma, beta]: &[Vec<f64>; 3]| -> Vec<f64> {
        let row = |x: &[f64]| {
            let mean = x.iter().sum::<f64>() / d as f64;
            let square = x.iter().map(|x| x * x).sum::<f64>() / d as f64;
            let deviation = (square - mean * mean + f64::from(EPS)).sqrt();
            (0..d).map(|j| (x[j] - mean) / deviation * gamma[j] + beta[j]).collect::<Vec<_>>()
        };
        x.chunks_exact(d).flat_map(row).collect()
    };
    let inputs = [&x[..], &gamma, &beta];
    let y = narrowed(&reference(&inputs.map(widened)));
    let expected = slopes(inputs, &dy, reference);
    for isa in Isa::supported() {
        let mut found_y = vec![0.0; n * d];
        let mut found = [vec![0.0; n * d], vec![0.0; d], vec![0.0; d]];
        let [dx, dgamma, dbeta] = &mut found;
        on(isa, || {
            layer_norm(&x, &gamma, &beta, EPS, &mut found_y[..]);
            layer_norm_backward(&x, &gamma, EPS, &dy[..], Base::Zero, dx, dgamma, dbeta);
        });
        // Some ten roundings of numbers near 2.
        assert_close(&found_y, &y, 2e-6, 0.0, &format!("{isa:?} y"));
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_close(found, expected, 3e-6, 0.0, &format!("{isa:?} gradient {i}"));
        }
    }
}

#[test]
fn softmax_agrees_with_the_plain_twin() {
    for [n, d] in sizes() {
        let x = uniform(1, n * d);
        let run = |isa, scale| {
            let mut x = x.clone();
            on(isa, || softmax_rows(&mut x, d, scale));
            x
        };
        for scale in [1.0, 10.0, 40.0] {
            for isa in fast_paths() {
                // exp is good to 2 units in the last place, and its argument, a difference times the scale,
                // of up to 2 scale to two roundings; the sum adds a few.
                let relative = (4.0 * scale + 16.0) * F32_ROUNDING;
                let what = format!("{isa:?} [{n}, {d}] {scale}");
                // exp(-87.33) stands for all that is below it.
                assert_close(&run(isa, scale), &run(Isa::Plain, scale), 2e-38, relative, &what);
            }
        }
    }
}

#[test]
fn softmax_survives_large_numbers_and_shows_nan() {
    for isa in Isa::supported() {
        let mut rows = [1e30, -1e30, 0.0, 1e30, f32::NAN, 0.0, 1.0, 2.0];
        on(isa, || softmax_rows(&mut rows, 4, 1.0));
        // exp(-87.33) = 1.2e-38 stands for all that is below it.
        assert_close(&rows[..4], &[0.5, 0.0, 0.0, 0.5], 2e-38, 0.0, &format!("{isa:?}"));
        assert!(rows[4..].iter().all(|x| x.is_nan()), "{isa:?} {rows:?}");
    }
}
