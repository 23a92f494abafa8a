//! GELU, bf16 and the optimizer.

use msn_kernels::{AdamW, Bf16, Ema, Isa, gelu, gelu_backward, sum_of_squares};

use crate::support::{BF16_ROUNDING, assert_close, fast_paths, on, to_bf16, to_f32, uniform};

/// Arguments from -12 to 12, and the zeros.
fn arguments() -> Vec<f32> {
    let count = if cfg!(miri) { 101 } else { 24_001 };
    let step = 24.0 / (count - 1) as f32;
    (0..count).map(|i| i as f32 * step - 12.0).chain([0.0, -0.0, 1e-30, 100.0, -100.0]).collect()
}

#[test]
fn gelu_agrees_with_the_plain_twin() {
    let x = arguments();
    let half_x = to_bf16(&x);
    let n = x.len();
    let run = |isa| {
        on(isa, || {
            let (mut y, mut half_y) = (vec![f32::NAN; n], vec![Bf16::ZERO; n]);
            gelu(&x[..], &mut y[..]);
            gelu(&x[..], &mut half_y[..]);
            let (mut dx, mut half_dx) = (vec![f32::NAN; n], vec![Bf16::ZERO; n]);
            gelu_backward(&x[..], &x[..], &mut dx[..]);
            gelu_backward(&half_x[..], &half_x[..], &mut half_dx[..]);
            [y, to_f32(&half_y), dx, to_f32(&half_dx)]
        })
    };
    let expected = run(Isa::Plain);
    for isa in fast_paths() {
        for (i, (found, expected)) in run(isa).iter().zip(&expected).enumerate() {
            // The error of Phi is below 8e-8 + a rounding, that of x phi(x) a few roundings of 0.24; both
            // times an argument that makes the relative part.
            let relative = if i % 2 == 0 { 2.5e-7 } else { 2.0 * BF16_ROUNDING };
            assert_close(found, expected, 1e-6, relative, &format!("{isa:?} {i}"));
        }
    }
}

#[test]
fn gelu_has_its_known_values_and_the_gradient_is_its_slope() {
    // x Phi(x) with Phi of 1, 2 and -1 from tables of the normal distribution.
    let x = [0.0, 1.0, 2.0, -1.0_f32];
    let expected = [0.0, 0.841_344_8, 1.954_499_7, -0.158_655_26];
    for isa in Isa::supported() {
        let mut y = [0.0_f32; 4];
        on(isa, || gelu(&x[..], &mut y[..]));
        assert_close(&y, &expected, 4e-7, 0.0, &format!("{isa:?}"));

        let x: Vec<f32> = (-40..=40).map(|i| i as f32 / 10.0).collect();
        let step = 1.0 / 256.0;
        let moved = |by: f32| {
            let x: Vec<f32> = x.iter().map(|x| x + by).collect();
            let mut y = vec![0.0_f32; x.len()];
            on(isa, || gelu(&x[..], &mut y[..]));
            y
        };
        let slope: Vec<f32> =
            moved(step).iter().zip(moved(-step)).map(|(a, b)| (a - b) / (2.0 * step)).collect();
        let mut dx = vec![0.0_f32; x.len()];
        on(isa, || gelu_backward(&x[..], &vec![1.0_f32; x.len()][..], &mut dx[..]));
        // The third derivative is below 1.6, so differences are off by h^2 / 6 * 1.6 = 4e-6; two errors of
        // up to 1e-6 for |x| near 4 over 2 h = 1/128 add 2.6e-4.
        assert_close(&dx, &slope, 3e-4, 0.0, &format!("{isa:?} slope"));
    }
}

#[test]
fn bf16_rounds_to_nearest_even_on_every_path() {
    let cases = [
        (1.0, 1.0),
        (1.0 + 1.0 / 256.0, 1.0),
        (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),
        (-1.0 - 1.01 / 256.0, -1.0 - 2.0 / 256.0),
        (3.4e38, f32::INFINITY),
        (f32::NEG_INFINITY, f32::NEG_INFINITY),
        (-0.0, -0.0),
    ];
    for (x, expected) in cases {
        assert_eq!(Bf16::from_f32(x).to_f32().to_bits(), f32::to_bits(expected), "{x}");
    }
    assert!(Bf16::from_f32(f32::from_bits(0x7f80_0001)).to_f32().is_nan());
    // On the vector paths, through the one operation that only multiplies by about 1: GELU of large numbers.
    let x: Vec<f32> = uniform(1, 999).iter().map(|x| 50.0 + 40.0 * x).collect();
    for isa in fast_paths() {
        let mut y = vec![Bf16::ZERO; x.len() + 1];
        let input: Vec<f32> = x.iter().copied().chain([f32::NAN]).collect();
        on(isa, || gelu(&input[..], &mut y[..]));
        assert_eq!(y[..x.len()], to_bf16(&x), "{isa:?}");
        assert!(y[x.len()].to_f32().is_nan(), "{isa:?}");
    }
}

const ADAMW: AdamW =
    AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1, step: 1, grad_scale: 0.5 };

/// Parameters, m, v and the moving average after three steps.
fn three_steps(isa: Isa, n: usize) -> [Vec<f32>; 4] {
    let mut state = [uniform(1, n), vec![0.0; n], vec![0.0; n], uniform(2, n)];
    for step in 1..=3 {
        let gradients = uniform(10 + step, n);
        let [parameters, m, v, average] = &mut state;
        let ema = Ema { momentum: 0.99, average };
        on(isa, || AdamW { step, ..ADAMW }.update(parameters, &gradients, m, v, Some(ema)));
    }
    state
}

#[test]
fn adamw_agrees_with_the_plain_twin() {
    for n in [1, 3, 16, 33, 257, if cfg!(miri) { 300 } else { 70_001 }] {
        let expected = three_steps(Isa::Plain, n);
        for isa in fast_paths() {
            for (i, (found, expected)) in three_steps(isa, n).iter().zip(&expected).enumerate() {
                // A few roundings of numbers up to 1; the step is at most 3 lr.
                assert_close(found, expected, 5e-7, 0.0, &format!("{isa:?} {n} {i}"));
            }
        }
    }
}

#[test]
fn adamw_takes_the_step_of_its_definition() {
    for isa in Isa::supported() {
        let (mut p, mut m, mut v, mut average) = ([2.0_f32], [0.0_f32], [0.0_f32], [1.0_f32]);
        let ema = Ema { momentum: 0.75, average: &mut average };
        on(isa, || ADAMW.update(&mut p, &[4.0], &mut m, &mut v, Some(ema)));
        // g' = 2. At the first step the corrected m is g' and the corrected v is g'^2, so the parameter
        // moves by lr against the sign of g' after its decay by lr weight_decay = 1e-3.
        let expected = 2.0 * (1.0 - 1e-3) - 1e-2;
        assert_close(&p, &[expected], 3e-7, 0.0, &format!("{isa:?} p"));
        assert_close(&m, &[0.2], 3e-8, 0.0, &format!("{isa:?} m"));
        assert_close(&v, &[0.004], 1e-9, 0.0, &format!("{isa:?} v"));
        assert_close(&average, &[0.75 + 0.25 * expected], 3e-7, 0.0, &format!("{isa:?} average"));

        let before = average;
        on(isa, || AdamW { step: 2, ..ADAMW }.update(&mut p, &[4.0], &mut m, &mut v, None));
        assert_eq!(average, before);
    }
}

#[test]
fn the_sum_of_squares_is_exact_for_small_integers() {
    for isa in Isa::supported() {
        for n in [0, 1, 15, 16, 1023, 1025, if cfg!(miri) { 1100 } else { 100_000 }] {
            let x: Vec<f32> = (0..n).map(|i| (i % 7) as f32 - 3.0).collect();
            let expected: i64 = (0..n as i64).map(|i| (i % 7 - 3).pow(2)).sum();
            assert_eq!(on(isa, || sum_of_squares(&x)), expected as f64, "{isa:?} {n}");
        }
    }
}
