//! The readable twin, in `f64` but for the operands of products, which are rounded as the precision says.

use super::{Attention, Head, Sequence, scale};
use crate::element::{Output, Source};
use crate::gemm::Precision;
use crate::gemm::operand;

/// `exp(scores - max)` and its sum.
fn exponentials(scores: &[f64]) -> (Vec<f64>, f64) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let sum = exps.iter().sum();
    (exps, sum)
}

fn dot(n: usize, term: impl Fn(usize) -> f64) -> f64 {
    (0..n).map(term).sum()
}

pub(super) fn forward(precision: Precision, head: Head, qkv: Source<'_>, out: &mut Output<'_>) {
    let Head { sequence: Sequence { first, tokens }, column, dim, width } = head;
    let read = |part: usize, token: usize, c: usize| {
        operand(precision, qkv.get((first + token) * 3 * width + part * width + column + c))
    };
    let round = |x: f64| operand(precision, x as f32);
    for i in 0..tokens {
        let score = |j| dot(dim, |c| read(0, i, c) * read(1, j, c)) * f64::from(head.scale());
        let (exps, sum) = exponentials(&(0..tokens).map(score).collect::<Vec<_>>());
        for c in 0..dim {
            // The exponentials are rounded before they are divided by their sum.
            let value = dot(tokens, |j| round(exps[j]) * read(2, j, c)) / sum;
            out.set((first + i) * width + column + c, value as f32);
        }
    }
}

pub(super) fn backward(
    precision: Precision,
    head: Head,
    qkv: Source<'_>,
    d_out: Source<'_>,
    d_qkv: &mut Output<'_>,
) {
    let Head { sequence: Sequence { first, tokens }, column, dim, width } = head;
    let at = |part: usize, token: usize, c: usize| (first + token) * 3 * width + part * width + column + c;
    let read = |part: usize, token: usize, c: usize| operand(precision, qkv.get(at(part, token, c)));
    let d_out = |token: usize, c: usize| operand(precision, d_out.get((first + token) * width + column + c));
    let round = |x: f64| operand(precision, x as f32);
    let scale = f64::from(head.scale());
    let (mut p, mut ds) = (vec![], vec![]);
    for i in 0..tokens {
        let score = |j| dot(dim, |c| read(0, i, c) * read(1, j, c)) * scale;
        let (exps, sum) = exponentials(&(0..tokens).map(score).collect::<Vec<_>>());
        let dp: Vec<f64> = (0..tokens).map(|j| dot(dim, |c| d_out(i, c) * read(2, j, c))).collect();
        let row: Vec<f64> = exps.iter().map(|e| e / sum).collect();
        let mean = dot(tokens, |j| row[j] * dp[j]);
        ds.push((0..tokens).map(|j| round(row[j] * (dp[j] - mean) * scale)).collect::<Vec<_>>());
        p.push(row.into_iter().map(round).collect::<Vec<_>>());
    }
    for i in 0..tokens {
        for c in 0..dim {
            d_qkv.set(at(0, i, c), dot(tokens, |j| ds[i][j] * read(1, j, c)) as f32);
            d_qkv.set(at(1, i, c), dot(tokens, |j| ds[j][i] * read(0, j, c)) as f32);
            d_qkv.set(at(2, i, c), dot(tokens, |j| p[j][i] * d_out(j, c)) as f32);
        }
    }
}

pub(super) fn cls_forward(
    attention: &Attention<'_>,
    precision: Precision,
    sequences: &[Sequence],
    queries: &[f32],
    tokens: Source<'_>,
    out: &mut [f32],
) {
    let round = |x: f64| operand(precision, x as f32);
    for_each_query(attention, precision, sequences, queries, tokens, |row, token, exps, sum| {
        for (c, out) in out[row..][..attention.width()].iter_mut().enumerate() {
            *out = (dot(exps.len(), |j| round(exps[j]) * token(j, c)) / sum) as f32;
        }
    });
}

#[expect(clippy::too_many_arguments, reason = "those of the function that it is the twin of")]
pub(super) fn cls_backward(
    attention: &Attention<'_>,
    precision: Precision,
    sequences: &[Sequence],
    queries: &[f32],
    tokens: Source<'_>,
    d_out: &[f32],
    d_queries: &mut [f32],
    d_tokens: &mut [f32],
) {
    let (width, scale) = (attention.width(), f64::from(scale(attention.head_dim)));
    let round = |x: f64| operand(precision, x as f32);
    let mut sums = vec![0.0; d_tokens.len()];
    for_each_query(attention, precision, sequences, queries, tokens, |row, token, exps, sum| {
        let gradient = |c: usize| operand(precision, d_out[row + c]);
        let dp: Vec<f64> = (0..exps.len()).map(|j| dot(width, |c| gradient(c) * token(j, c))).collect();
        let p: Vec<f64> = exps.iter().map(|e| e / sum).collect();
        let mean = dot(exps.len(), |j| p[j] * dp[j]);
        let ds: Vec<f64> = (0..exps.len()).map(|j| round(p[j] * (dp[j] - mean) * scale)).collect();
        let first = sequences[row / width % sequences.len()].first;
        for c in 0..width {
            d_queries[row + c] = dot(exps.len(), |j| ds[j] * token(j, c)) as f32;
            for j in 0..exps.len() {
                sums[(first + j) * width + c] +=
                    ds[j] * operand(precision, queries[row + c]) + round(p[j]) * gradient(c);
            }
        }
    });
    d_tokens.iter_mut().zip(sums).for_each(|(d_token, sum)| *d_token = sum as f32);
}

/// Calls `f(row, token, exps, sum)` for each query: where it starts in `[heads, S, D]`, the elements of its sequence's
/// tokens, the exponentials of its scores and their sum.
fn for_each_query(
    attention: &Attention<'_>,
    precision: Precision,
    sequences: &[Sequence],
    queries: &[f32],
    tokens: Source<'_>,
    mut f: impl FnMut(usize, &dyn Fn(usize, usize) -> f64, &[f64], f64),
) {
    let width = attention.width();
    for head in 0..attention.heads {
        for (index, sequence) in sequences.iter().enumerate() {
            let row = (head * sequences.len() + index) * width;
            let token = |j: usize, c: usize| operand(precision, tokens.get((sequence.first + j) * width + c));
            let query = |c: usize| operand(precision, queries[row + c]);
            let scale = f64::from(scale(attention.head_dim));
            let score = |j| dot(width, |c| query(c) * token(j, c)) * scale;
            let (exps, sum) = exponentials(&(0..sequence.tokens).map(score).collect::<Vec<_>>());
            f(row, &token, &exps, sum);
        }
    }
}
