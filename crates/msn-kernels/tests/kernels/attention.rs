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

/// Bound on the error of results that sum products with probabilities: exp is good to 2 units in the
/// last place, scores of up to 30 to 30 roundings; magnitudes are below 10. In bf16 a probability near a tie may round the other
/// way, an error of up to 2^-7 of one of the terms. What dominates a sum is near 1 or rounds alike; of the largest result a
/// quarter of that error is allowed. A key that is lost costs more: in the longest sequence 1/263 of a result on average.
fn tolerance(precision: Precision, expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let rounding = 300.0 * F32_ROUNDING;
    match precision {
        Precision::F32 => rounding,
        Precision::Bf16 => rounding + largest * BF16_ROUNDING / 2.0,
    }
}

/// The gradients of queries, of keys and of values apart, which differ in size.
fn parts(d_qkv: &[f32], width: usize) -> [Vec<f32>; 3] {
    std::array::from_fn(|part| {
        d_qkv.chunks_exact(3 * width).flat_map(|row| row[part * width..][..width].to_vec()).collect()
    })
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
                        let (out, half_out) = both(n * d, |out| attention.forward(precision, qkv, out));
                        let (d_qkv, half_d_qkv) =
                            both(n * 3 * d, |d_qkv| attention.backward(precision, qkv, d_out, d_qkv));
                        let ([dq, dk, dv], [half_dq, half_dk, half_dv]) =
                            (parts(&d_qkv, d), parts(&half_d_qkv, d));
                        [
                            ("out", out, half_out),
                            ("dq", dq, half_dq),
                            ("dk", dk, half_dk),
                            ("dv", dv, half_dv),
                        ]
                    })
                };
                let expected = run(Isa::Plain);
                for isa in fast_paths() {
                    for ((name, found, found_half), (_, expected, half)) in run(isa).iter().zip(&expected) {
                        let what = format!("{isa:?} {precision:?} {attention:?} {name}");
                        let bound = tolerance(precision, expected);
                        assert_close(found, expected, bound, 0.0, &what);
                        assert_close(found_half, half, bound, 2.0 * BF16_ROUNDING, &what);
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
                        assert_close(found, expected, tolerance(precision, expected), 0.0, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn the_last_key_and_the_last_query_count_in_sequences_of_any_length() {
    const DIM: usize = 8;
    let lengths: &[usize] = if cfg!(miri) { &[2, 7] } else { &std::array::from_fn::<_, 70, _>(|i| i + 1) };
    let attention = |length| Attention { lengths: length, heads: 1, head_dim: DIM };
    for length in lengths.chunks(1) {
        let n = length[0];
        // The last key has about half of the weight: a score of ln n more than the others.
        let factor = (n as f32).ln() * (DIM as f32).sqrt() / DIM as f32;
        let mut qkv = uniform(1, n * 3 * DIM);
        for (token, row) in qkv.chunks_exact_mut(3 * DIM).enumerate() {
            row[..DIM].fill(1.0);
            row[DIM..2 * DIM].fill(if token + 1 == n { factor } else { 0.0 });
        }
        // Of the queries the last one alone has a gradient.
        let mut d_out = vec![0.0; n * DIM];
        d_out[(n - 1) * DIM..].copy_from_slice(&uniform(2, DIM));
        for precision in [Precision::F32, Precision::Bf16] {
            let run = |isa| {
                let (mut out, mut d_qkv) = (vec![f32::NAN; n * DIM], vec![f32::NAN; n * 3 * DIM]);
                on(isa, || {
                    attention(length).forward(precision, &qkv[..], &mut out[..]);
                    attention(length).backward(precision, &qkv[..], &d_out[..], &mut d_qkv[..]);
                });
                let [dq, dk, dv] = parts(&d_qkv, DIM);
                [("out", out), ("dq", dq), ("dk", dk), ("dv", dv)]
            };
            let expected = run(Isa::Plain);
            for isa in fast_paths() {
                for ((name, found), (_, expected)) in run(isa).iter().zip(&expected) {
                    let what = format!("{isa:?} {precision:?} {n} tokens {name}");
                    assert_close(found, expected, tolerance(precision, expected), 0.0, &what);
                }
            }
        }
    }
}

/// Keys whose scores are huge.
#[derive(Clone, Copy, Debug)]
enum Keys {
    /// All the same.
    Equal,
    /// One is larger than the others by a bf16's last place.
    OneLarger(usize),
    /// They differ by a few units, where an `f32` of that size still has them.
    Graded,
}

/// Queries and keys of 16 elements whose products are `4 size` or 0, and what the keys add to that, all exact; the scores are a
/// quarter of them.
fn huge_scores(size: f32, keys: Keys, tokens: usize) -> [Vec<[f32; 16]>; 2] {
    let size = Bf16::from_f32(size).to_f32();
    let query = |token: usize| match keys {
        // Its neighbours in a vector must not change what meets nothing.
        _ if token % 3 == 2 => [0.0; 16],
        Keys::Equal | Keys::OneLarger(_) => [size / 4.0; 16],
        Keys::Graded => std::array::from_fn(|c| [4.0 * size, 1.0, 0.0][c.min(2)]),
    };
    let key = |token: usize| match keys {
        Keys::OneLarger(larger) if token == larger => [1.0 + 2.0 * BF16_ROUNDING; 16],
        Keys::Equal | Keys::OneLarger(_) => [1.0; 16],
        Keys::Graded => std::array::from_fn(|c| if c == 1 { 2.0 * (token % 8) as f32 } else { 1.0 }),
    };
    [(0..tokens).map(query).collect(), (0..tokens).map(key).collect()]
}

#[test]
#[cfg_attr(miri, ignore = "a statement about numbers, in many cases")]
fn huge_scores_weigh_values_by_their_differences() {
    const TOKENS: usize = 37;
    const DIM: usize = 16;
    let attention = Attention { lengths: &[TOKENS], heads: 1, head_dim: DIM };
    let larger = [0, 20, TOKENS - 1].map(Keys::OneLarger);
    let cases = [1e4, 1e6, -1e6, 1e10, 1e20, -1e20, 1e30]
        .into_iter()
        .flat_map(|size| larger.into_iter().chain([Keys::Equal]).map(move |keys| (size, keys)))
        .chain([(1e4, Keys::Graded), (1e6, Keys::Graded), (-1e6, Keys::Graded)]);
    let (values, d_out) = (to_bf16(&uniform(1, TOKENS * DIM)), to_bf16(&uniform(2, TOKENS * DIM)));
    let (values, d_out) = (to_f32(&values), to_f32(&d_out));
    for (size, keys) in cases {
        let [q, k] = huge_scores(size, keys, TOKENS);
        let qkv: Vec<f32> = (0..TOKENS)
            .flat_map(|token| [&q[token][..], &k[token], &values[token * DIM..][..DIM]].concat())
            .collect();
        let expected = narrowed(&reference(&widened(&qkv), TOKENS, DIM));
        for precision in [Precision::F32, Precision::Bf16] {
            let backward = |isa| {
                let mut d_qkv = vec![f32::NAN; TOKENS * 3 * DIM];
                on(isa, || attention.backward(precision, &qkv[..], &d_out[..], &mut d_qkv[..]));
                let [dq, dk, dv] = parts(&d_qkv, DIM);
                // Gradients of keys are sums of queries.
                [dq, dk.iter().map(|x| x / size).collect(), dv]
            };
            let expected_gradients = backward(Isa::Plain);
            // Weights are rounded once, by half of this; values are below 1.
            let rounding = if precision == Precision::Bf16 { BF16_ROUNDING } else { 100.0 * F32_ROUNDING };
            for isa in Isa::supported() {
                let what = format!("{isa:?} {precision:?} {size} {keys:?}");
                let mut out = vec![f32::NAN; TOKENS * DIM];
                on(isa, || attention.forward(precision, &qkv[..], &mut out[..]));
                assert_close(&out, &expected, rounding, 0.0, &format!("{what} out"));
                for ((part, found), expected) in
                    ["dq", "dk", "dv"].iter().zip(backward(isa)).zip(&expected_gradients)
                {
                    let bound = tolerance(precision, expected);
                    assert_close(&found, expected, bound, 0.0, &format!("{what} {part}"));
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
            let expected = of_firsts(&all);
            assert_close(&cls, &expected, tolerance(Precision::F32, &expected), 0.0, &what);
        }
    }
}

/// `softmax(q k^T / sqrt(d)) v` of one head and sequence, in `f64`, written on its own.
fn reference(qkv: &[f64], tokens: usize, dim: usize) -> Vec<f64> {
    let part = |part: usize, token: usize| &qkv[(token * 3 + part) * dim..][..dim];
    let mut out = vec![0.0; tokens * dim];
    for i in 0..tokens {
        let dot = |j| part(0, i).iter().zip(part(1, j)).map(|(q, k)| q * k).sum::<f64>();
        let largest = (0..tokens).map(dot).fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> =
            (0..tokens).map(|j| ((dot(j) - largest) / (dim as f64).sqrt()).exp()).collect();
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
#[should_panic(expected = "attention: qkv has 23 elements, expected [1, 3, 8]")]
fn activations_of_the_wrong_length_are_refused() {
    let attention = Attention { lengths: &[1], heads: 1, head_dim: 8 };
    attention.forward(Precision::F32, &[0.0_f32; 23][..], &mut [0.0_f32; 8][..]);
}

#[test]
#[should_panic(expected = "are too many to count")]
fn heads_whose_columns_wrap_are_refused() {
    let huge = 1 << (usize::BITS / 2);
    let attention = Attention { lengths: &[1], heads: huge, head_dim: huge };
    attention.forward(Precision::F32, &[0.0_f32; 0][..], &mut [0.0_f32; 0][..]);
}

#[test]
#[should_panic(expected = "attention: tokens: those of 3 parts are too many to count")]
fn sequences_whose_tokens_wrap_are_refused() {
    let half = 1 << (usize::BITS - 1);
    let attention = Attention { lengths: &[half, half, 1], heads: 1, head_dim: 1 };
    attention.forward(Precision::F32, &[0.0_f32; 3][..], &mut [0.0_f32; 1][..]);
}
