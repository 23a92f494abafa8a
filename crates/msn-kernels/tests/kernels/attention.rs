use msn_kernels::{Attention, Bf16, Isa, Output, Precision, Source};

use crate::support::{
    BF16_ROUNDING, F32_ROUNDING, assert_close, fast_paths, narrowed, on, slopes, to_bf16, to_f32, uniform,
    widened,
};

/// (lengths, heads, head dimension): one token; primes; lengths around the tiles and beyond a block of
/// queries (96, 48); over a block of the inner dimension (256 words); every head dimension of the models, one beyond a block,
/// an odd one.
const CASES: [(&[usize], usize, usize); 11] = [
    (&[1], 1, 8),
    (&[1, 2, 3], 2, 16),
    (&[17, 5], 3, 24),
    (&[12, 13, 31, 33], 1, 32),
    (&[37, 1, 50], 2, 48),
    (&[97], 2, 64),
    (&[29, 64], 1, 80),
    (&[7, 11], 1, 128),
    (&[263], 1, 8),
    (&[9, 14], 1, 300),
    (&[1, 4], 3, 5),
];

/// For Miri, a million times slower than a processor: a sequence beyond the register tile of six rows, a head that
/// fills no whole vector of four.
const MIRI_CASES: [(&[usize], usize, usize); 2] = [(&[2, 7], 2, 5), (&[2, 7], 1, 5)];

fn cases() -> impl Iterator<Item = Attention<'static>> {
    let cases = if cfg!(miri) { &MIRI_CASES[..] } else { &CASES };
    cases.iter().map(|&(lengths, heads, head_dim)| Attention { lengths, heads, head_dim })
}

fn dims(attention: &Attention<'_>) -> [usize; 3] {
    let tokens = attention.lengths.iter().sum();
    [attention.lengths.len(), tokens, attention.heads * attention.head_dim]
}

/// Scores of a few units, so that softmax is neither flat nor a maximum.
fn activations(seed: u64, n: usize) -> Vec<f32> {
    uniform(seed, n).into_iter().map(|x| 2.0 * x).collect()
}

/// A result in `f32` and in bf16.
fn both(n: usize, mut f: impl FnMut(Output<'_>)) -> (Vec<f32>, Vec<f32>) {
    let (mut single, mut half) = (vec![f32::NAN; n], vec![Bf16::NAN; n]);
    f(single[..].as_mut().into());
    f(half[..].as_mut().into());
    (single, to_f32(&half))
}

/// Bound on the error of a result that sums products with probabilities: exp is good to 2 units in the
/// last place, scores of up to 30 to 30 roundings. In bf16 a probability near a tie may round the other
/// way, an error of 2^-8 of one term, which for the few terms that dominate is nearly that of the sum;
/// magnitudes are below 10.
fn tolerance(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 300.0 * F32_ROUNDING,
        Precision::Bf16 => 10.0 * BF16_ROUNDING / 2.0,
    }
}

#[test]
fn attention_agrees_with_the_plain_twin() {
    for attention in cases() {
        let [_, n, d] = dims(&attention);
        let (qkv, d_out) = (activations(1, n * 3 * d), uniform(2, n * d));
        let (half_qkv, half_d_out) = (to_bf16(&qkv), to_bf16(&d_out));
        for (qkv, d_out) in
            [(Source::F32(&qkv), Source::F32(&d_out)), (Source::Bf16(&half_qkv), Source::Bf16(&half_d_out))]
        {
            for precision in [Precision::F32, Precision::Bf16] {
                let run = |isa| {
                    on(isa, || {
                        let forward = both(n * d, |out| attention.forward(precision, qkv, out));
                        let backward =
                            both(n * 3 * d, |d_qkv| attention.backward(precision, qkv, d_out, d_qkv));
                        [forward, backward]
                    })
                };
                let expected = run(Isa::Plain);
                for isa in fast_paths() {
                    for (i, (found, expected)) in run(isa).iter().zip(&expected).enumerate() {
                        let what = format!("{isa:?} {precision:?} {attention:?} {}", ["out", "d_qkv"][i]);
                        let bound = tolerance(precision);
                        assert_close(&found.0, &expected.0, bound, 0.0, &what);
                        assert_close(&found.1, &expected.1, bound, 2.0 * BF16_ROUNDING, &what);
                    }
                }
            }
        }
    }
}

/// (lengths, heads, head dimension) for [CLS], whose queries are as wide as all heads together: that width is the inner
/// dimension, here beyond a block of 256 words; more heads than a tile has columns.
const CLS_CASES: [(&[usize], usize, usize); 2] = [(&[3, 20], 4, 150), (&[5, 40], 35, 2)];

#[test]
fn cls_attention_agrees_with_the_plain_twin() {
    let wide = CLS_CASES.iter().filter(|_| !cfg!(miri));
    let wide = wide.map(|&(lengths, heads, head_dim)| Attention { lengths, heads, head_dim });
    for attention in cases().chain(wide) {
        let [s, n, d] = dims(&attention);
        let rows = attention.heads * s;
        // Scores sum over D, not over one head.
        let smaller = (attention.heads as f32).sqrt().recip();
        let queries: Vec<f32> = activations(1, rows * d).into_iter().map(|x| smaller * x).collect();
        let (tokens, d_out) = (activations(2, n * d), uniform(3, rows * d));
        let half_tokens = to_bf16(&tokens);
        for tokens in [Source::F32(&tokens), Source::Bf16(&half_tokens)] {
            for precision in [Precision::F32, Precision::Bf16] {
                let run = |isa| {
                    on(isa, || {
                        let (mut out, mut d_queries) = (vec![f32::NAN; rows * d], vec![f32::NAN; rows * d]);
                        let mut d_tokens = vec![f32::NAN; n * d];
                        attention.cls_forward(precision, &queries, tokens, &mut out);
                        let gradients = (&mut d_queries, &mut d_tokens);
                        attention.cls_backward(precision, &queries, tokens, &d_out, gradients.0, gradients.1);
                        [("out", out), ("d_queries", d_queries), ("d_tokens", d_tokens)]
                    })
                };
                let expected = run(Isa::Plain);
                for isa in fast_paths() {
                    for ((name, found), (_, expected)) in run(isa).iter().zip(&expected) {
                        let what = format!("{isa:?} {precision:?} {attention:?} {name}");
                        // Gradients of tokens sum over the heads.
                        let bound = tolerance(precision) * (attention.heads as f32).sqrt();
                        assert_close(found, expected, bound, 0.0, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn one_head_whose_tokens_are_keys_and_values_gives_its_first_row() {
    for isa in Isa::supported() {
        for attention in cases().filter(|attention| attention.heads == 1) {
            let [s, n, d] = dims(&attention);
            let tokens = activations(1, n * d);
            let qkv: Vec<f32> = tokens.chunks_exact(d).flat_map(|row| row.repeat(3)).collect();
            let firsts: Vec<usize> = attention
                .lengths
                .iter()
                .scan(0, |next, length| Some(std::mem::replace(next, *next + length)))
                .collect();
            let of_firsts = |matrix: &[f32]| -> Vec<f32> {
                firsts.iter().flat_map(|row| matrix[row * d..][..d].to_vec()).collect()
            };
            let (mut all, mut cls) = (vec![0.0; n * d], vec![0.0; s * d]);
            let queries = of_firsts(&tokens);
            on(isa, || {
                attention.forward(Precision::F32, &qkv[..], &mut all[..]);
                attention.cls_forward(Precision::F32, &queries, &tokens[..], &mut cls);
            });
            let what = format!("{isa:?} {attention:?}");
            assert_close(&cls, &of_firsts(&all), tolerance(Precision::F32), 0.0, &what);
        }
    }
}

/// `softmax(q k^T / sqrt(d)) v` of one head and sequence, in `f64`, written on its own.
fn reference(qkv: &[f64], tokens: usize, dim: usize) -> Vec<f64> {
    let part = |part: usize, token: usize| &qkv[(token * 3 + part) * dim..][..dim];
    let mut out = vec![0.0; tokens * dim];
    for i in 0..tokens {
        let dot = |j| part(0, i).iter().zip(part(1, j)).map(|(q, k)| q * k).sum::<f64>();
        let weights: Vec<f64> = (0..tokens).map(|j| (dot(j) / (dim as f64).sqrt()).exp()).collect();
        let sum: f64 = weights.iter().sum();
        for (j, weight) in weights.iter().enumerate() {
            for (out, v) in out[i * dim..].iter_mut().zip(part(2, j)) {
                *out += weight / sum * v;
            }
        }
    }
    out
}

#[test]
fn attention_and_its_gradient_agree_with_the_formula() {
    let (tokens, dim) = (5, 8);
    let attention = Attention { lengths: &[tokens], heads: 1, head_dim: dim };
    let (qkv, d_out) = (activations(1, tokens * 3 * dim), uniform(2, tokens * dim));
    let expected = narrowed(&reference(&widened(&qkv), tokens, dim));
    let [expected_gradient] = slopes([&qkv], &d_out, |[qkv]| reference(qkv, tokens, dim));
    for isa in Isa::supported() {
        let (mut out, mut d_qkv) = (vec![0.0; tokens * dim], vec![0.0; tokens * 3 * dim]);
        on(isa, || {
            attention.forward(Precision::F32, &qkv[..], &mut out[..]);
            attention.backward(Precision::F32, &qkv[..], &d_out[..], &mut d_qkv[..]);
        });
        // As in the comparison with the twin; values here are near 1.
        assert_close(&out, &expected, 2e-6, 0.0, &format!("{isa:?} out"));
        assert_close(&d_qkv, &expected_gradient, 2e-6, 0.0, &format!("{isa:?} d_qkv"));
    }
}

#[test]
fn the_gradient_of_cls_attention_agrees_with_the_formula() {
    let (tokens, heads, head_dim) = (5, 2, 3);
    let width = heads * head_dim;
    let attention = Attention { lengths: &[tokens], heads, head_dim };
    let (queries, x) = (activations(1, heads * width), activations(2, tokens * width));
    let d_out = uniform(3, heads * width);
    let formula = |[queries, x]: &[Vec<f64>; 2]| -> Vec<f64> {
        let row = |query: &[f64]| {
            let dot = |token: &[f64]| token.iter().zip(query).map(|(x, q)| x * q).sum::<f64>();
            let weights: Vec<f64> =
                x.chunks_exact(width).map(|token| (dot(token) / (head_dim as f64).sqrt()).exp()).collect();
            let sum: f64 = weights.iter().sum();
            let mut out = vec![0.0; width];
            for (weight, token) in weights.iter().zip(x.chunks_exact(width)) {
                out.iter_mut().zip(token).for_each(|(out, x)| *out += weight / sum * x);
            }
            out
        };
        queries.chunks_exact(width).flat_map(row).collect()
    };
    let expected = narrowed(&formula(&[widened(&queries), widened(&x)]));
    let [expected_d_queries, expected_d_tokens] = slopes([&queries, &x], &d_out, formula);
    for isa in Isa::supported() {
        let (mut out, mut d_queries) = (vec![0.0; heads * width], vec![0.0; heads * width]);
        let mut d_tokens = vec![0.0; tokens * width];
        on(isa, || {
            attention.cls_forward(Precision::F32, &queries, &x[..], &mut out);
            attention.cls_backward(Precision::F32, &queries, &x[..], &d_out, &mut d_queries, &mut d_tokens);
        });
        assert_close(&out, &expected, 4e-6, 0.0, &format!("{isa:?} out"));
        assert_close(&d_queries, &expected_d_queries, 4e-6, 0.0, &format!("{isa:?} d_queries"));
        assert_close(&d_tokens, &expected_d_tokens, 4e-6, 0.0, &format!("{isa:?} d_tokens"));
    }
}

#[test]
#[should_panic(expected = "attention: qkv has 23 elements, expected [1, 24]")]
fn activations_of_the_wrong_length_are_refused() {
    let attention = Attention { lengths: &[1], heads: 1, head_dim: 8 };
    attention.forward(Precision::F32, &[0.0_f32; 23][..], &mut [0.0_f32; 8][..]);
}
