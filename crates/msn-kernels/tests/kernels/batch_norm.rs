//! Batch normalisation.

use msn_kernels::{BatchNorm, Isa};

use crate::support::{F32_ROUNDING, assert_close, fast_paths, narrowed, on, slopes, uniform, widened};

const EPS: f32 = 1e-5;

/// (rows of each group, columns): one; primes; around vectors and strips of 4, 8 and 16 lanes; more rows than a block of
/// a sum; no group at all.
const CASES: [(&[usize], usize); 8] = [
    (&[1], 1),
    (&[2], 3),
    (&[1, 5], 17),
    (&[3, 2, 4], 31),
    (&[64, 65], 33),
    (&[131], 64),
    (&[7, 130], 131),
    (&[], 5),
];

/// The small ones suffice for Miri.
fn cases() -> impl Iterator<Item = (&'static [usize], usize)> {
    let largest = if cfg!(miri) { 300 } else { usize::MAX };
    CASES.into_iter().filter(move |(groups, c)| groups.iter().sum::<usize>() * c <= largest)
}

/// y, statistics, dx, dgamma, dbeta.
fn run(isa: Isa, norm: BatchNorm<'_>, x: &[f32], [gamma, beta]: [&[f32]; 2], dy: &[f32]) -> [Vec<f32>; 5] {
    let c = norm.channels;
    let mut found = [x.len(), norm.groups.len() * 2 * c, x.len(), c, c].map(|len| vec![f32::NAN; len]);
    let [y, statistics, dx, dgamma, dbeta] = &mut found;
    on(isa, || {
        norm.forward(x, gamma, beta, y, statistics);
        norm.backward(x, gamma, statistics, dy, dx, dgamma, dbeta);
    });
    found
}

#[test]
fn batch_norm_agrees_with_the_plain_twin() {
    for (groups, c) in cases() {
        let n: usize = groups.iter().sum();
        // Away from zero mean.
        let x: Vec<f32> = uniform(1, n * c).into_iter().map(|x| 3.0 * x + 2.0).collect();
        let (gamma, beta, dy) = (uniform(2, c), uniform(3, c), uniform(4, n * c));
        let norm = BatchNorm { groups, channels: c, eps: EPS };
        let expected = run(Isa::Plain, norm, &x, [&gamma, &beta], &dy);
        for isa in fast_paths() {
            let found = run(isa, norm, &x, [&gamma, &beta], &dy);
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                // In a group of one row, the difference from the mean is exactly 0; of two, the deviation may be as
                // small as the differences happen to be, which divides the roundings of numbers up to 5. The sums have
                // up to 195 terms, their roundings going both ways.
                let bound = 400.0 * F32_ROUNDING * (1.0 + (n as f32).sqrt());
                assert_close(
                    found,
                    expected,
                    bound,
                    8.0 * F32_ROUNDING,
                    &format!("{isa:?} {groups:?} {c} {i}"),
                );
            }
        }
    }
}

#[test]
fn batch_norm_and_its_gradient_agree_with_the_formula() {
    let (groups, c) = ([3, 5], 7);
    let n = 8;
    let norm = BatchNorm { groups: &groups, channels: c, eps: EPS };
    let (x, gamma, beta, dy) = (uniform(1, n * c), uniform(2, c), uniform(3, c), uniform(4, n * c));
    let reference = |[x, gamma, beta]: &[Vec<f64>; 3]| -> Vec<f64> {
        let mut y = vec![0.0; n * c];
        for rows in [0..3, 3..8] {
            for j in 0..c {
                let count = rows.len() as f64;
                let mean = rows.clone().map(|i| x[i * c + j]).sum::<f64>() / count;
                let square = rows.clone().map(|i| x[i * c + j].powi(2)).sum::<f64>() / count;
                let deviation = (square - mean * mean + f64::from(EPS)).sqrt();
                for i in rows.clone() {
                    y[i * c + j] = (x[i * c + j] - mean) / deviation * gamma[j] + beta[j];
                }
            }
        }
        y
    };
    let inputs = [&x[..], &gamma, &beta];
    let expected_y = narrowed(&reference(&inputs.map(widened)));
    let expected = slopes(inputs, &dy, reference);
    for isa in Isa::supported() {
        let [y, statistics, dx, dgamma, dbeta] = run(isa, norm, &x, [&gamma, &beta], &dy);
        // Some ten roundings of numbers near 2, of gradients divided by deviations of down to 0.1.
        assert_close(&y, &expected_y, 2e-6, 0.0, &format!("{isa:?} y"));
        for (i, (found, expected)) in [dx, dgamma, dbeta].iter().zip(&expected).enumerate() {
            assert_close(found, expected, 2e-5, 0.0, &format!("{isa:?} gradient {i}"));
        }
        for (group, rows) in [0..3, 3..8].into_iter().enumerate() {
            for j in 0..c {
                let column = || rows.clone().map(|i| f64::from(x[i * c + j]));
                let mean = column().sum::<f64>() / rows.len() as f64;
                let variance = column().map(|x| (x - mean).powi(2)).sum::<f64>() / rows.len() as f64;
                let found = [0, 1].map(|row| f64::from(statistics[(2 * group + row) * c + j]));
                let error = (found[0] - mean).abs().max((found[1] - variance).abs());
                assert!(error < 1e-6, "{isa:?} {group} {j}: {found:?}, expected {mean} and {variance}");
            }
        }
    }
}

#[test]
fn a_constant_column_becomes_beta() {
    // Dividing by sqrt(eps) would blow up any rounding of the mean; sums of 1999 are exact.
    let (groups, c) = ([3, 7], 5);
    let norm = BatchNorm { groups: &groups, channels: c, eps: EPS };
    let beta = uniform(1, c);
    for isa in Isa::supported() {
        let [y, statistics, ..] = run(isa, norm, &[1999.0; 50], [&[2.0; 5], &beta], &[0.0; 50]);
        for row in y.chunks_exact(c) {
            assert_eq!(row, beta, "{isa:?}");
        }
        assert!(statistics.chunks_exact(2 * c).all(|group| group[c..] == [0.0; 5]), "{isa:?} {statistics:?}");
    }
}

#[test]
#[should_panic(expected = "batch_norm: dy has 5 elements, expected [3, 2]")]
fn a_gradient_of_the_wrong_length_is_refused() {
    let norm = BatchNorm { groups: &[3], channels: 2, eps: EPS };
    let (x, two, four) = ([0.0; 6], [0.0; 2], [0.0; 4]);
    norm.backward(&x, &two, &four, &[0.0; 5], &mut [0.0; 6], &mut [0.0; 2], &mut [0.0; 2]);
}

#[test]
#[should_panic(expected = "batch_norm: rows: those of 3 parts are too many to count")]
fn groups_whose_sum_wraps_to_the_rows_are_refused() {
    let half = 1 << (usize::BITS - 1);
    let norm = BatchNorm { groups: &[half, half, 1], channels: 1, eps: EPS };
    norm.forward(&[0.0], &[0.0], &[0.0], &mut [0.0], &mut [0.0; 6]);
}
