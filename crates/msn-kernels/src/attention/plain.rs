//! The readable twin, in `f64` but for the operands of products, which are rounded as the precision says.

use super::{Attention, Head, Sequence};
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

/// For the head whose elements start at `column`: the index of the key of a token; its value is `width`
/// further.
fn key_at(sequence: Sequence, width: usize, column: usize, token: usize) -> usize {
    (sequence.first + token) * 2 * width + column
}

pub(super) fn cls_forward(
    &Attention { heads, head_dim: dim, .. }: &Attention<'_>,
    sequences: &[Sequence],
    q: Source<'_>,
    kv: Source<'_>,
    out: &mut Output<'_>,
) {
    let width = heads * dim;
    for (index, sequence) in sequences.iter().enumerate() {
        for column in (0..width).step_by(dim) {
            let key = |token: usize, c: usize| f64::from(kv.get(key_at(*sequence, width, column, token) + c));
            let query = |c: usize| f64::from(q.get(index * width + column + c));
            let score = |j| dot(dim, |c| query(c) * key(j, c)) / (dim as f64).sqrt();
            let (exps, sum) = exponentials(&(0..sequence.tokens).map(score).collect::<Vec<_>>());
            for c in 0..dim {
                let value = dot(sequence.tokens, |j| exps[j] * key(j, width + c)) / sum;
                out.set(index * width + column + c, value as f32);
            }
        }
    }
}

pub(super) fn cls_backward(
    &Attention { heads, head_dim: dim, .. }: &Attention<'_>,
    sequences: &[Sequence],
    [q, kv, d_out]: [Source<'_>; 3],
    d_q: &mut Output<'_>,
    d_kv: &mut Output<'_>,
) {
    let (width, scale) = (heads * dim, 1.0 / (dim as f64).sqrt());
    for (index, &sequence) in sequences.iter().enumerate() {
        for column in (0..width).step_by(dim) {
            let tokens = sequence.tokens;
            let at = |token: usize| key_at(sequence, width, column, token);
            let key = |token: usize, c: usize| f64::from(kv.get(at(token) + c));
            let query = |c: usize| f64::from(q.get(index * width + column + c));
            let gradient = |c: usize| f64::from(d_out.get(index * width + column + c));
            let score = |j| dot(dim, |c| query(c) * key(j, c)) * scale;
            let (exps, sum) = exponentials(&(0..tokens).map(score).collect::<Vec<_>>());
            let dp: Vec<f64> = (0..tokens).map(|j| dot(dim, |c| gradient(c) * key(j, width + c))).collect();
            let mean = dot(tokens, |j| exps[j] / sum * dp[j]);
            let ds: Vec<f64> = (0..tokens).map(|j| exps[j] / sum * (dp[j] - mean) * scale).collect();
            for c in 0..dim {
                d_q.set(index * width + column + c, dot(tokens, |j| ds[j] * key(j, c)) as f32);
                for j in 0..tokens {
                    d_kv.set(at(j) + c, (ds[j] * query(c)) as f32);
                    d_kv.set(at(j) + width + c, (exps[j] / sum * gradient(c)) as f32);
                }
            }
        }
    }
}
