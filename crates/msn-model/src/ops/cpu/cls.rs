//! Forward and backward of the last block, for [CLS] alone. Its keys and values are never computed: see
//! [`Attention::cls_forward`](msn_kernels::Attention::cls_forward).
//!
//! Shapes as in [`super::block`]; h heads, d = D / h.

use msn_kernels::gemm::{Base, Epilogue, TnOptions, nn, nt, tn};
use msn_kernels::{Dims, Output, Precision, Recycled, Source, layer_norm_backward, zeros};
use rayon::prelude::*;

use super::block::{EPS, For, Shape, Tail, mlp, project, recompute_pre, tail_backward};
use super::buffer::{Buffer, gather, scatter_add};
use super::weights::{WeightGradients, Weights};

/// What the forward pass leaves for the backward pass.
#[derive(Debug)]
pub(super) struct Saved {
    /// Queries: [h, S, d].
    queries: Buffer,
    /// Those times the key weights of their head, so that they meet the tokens themselves: [h, S, D].
    over_tokens: Recycled<f32>,
    /// Sums of the tokens, each times its probability: [h, S, D].
    attended_tokens: Recycled<f32>,
    tail: Tail,
}

/// The forward pass: [S, D], and what it leaves. x: [N, D]
pub(super) fn forward(x: &[f32], weights: &Weights<'_>, shape: &Shape, purpose: For) -> (Vec<f32>, Saved) {
    let mut saved = before_mlp(x, weights, shape);
    let y = mlp(&mut saved.tail, weights, shape, purpose);
    (y, saved)
}

/// What [`forward`] leaves for the backward pass, once more.
pub(super) fn recompute(x: &[f32], weights: &Weights<'_>, shape: &Shape) -> Saved {
    let mut saved = before_mlp(x, weights, shape);
    recompute_pre(&mut saved.tail, weights, shape);
    saved
}

fn before_mlp(x: &[f32], weights: &Weights<'_>, shape: &Shape) -> Saved {
    let (dim, sequences, heads) = (shape.dim, shape.segments.sequences(), shape.heads);
    let each = EachHead::of(shape);
    let [query_weight, key_weight, value_weight] = weights.qkv_parts(dim);
    let normed = shape.norm(x, weights.norm1);
    let cls = normed.rows(shape.segments.cls_rows(), dim);
    let mut queries = shape.buffer(sequences * dim);
    let bias = Epilogue::bias(&weights.qkv_bias[..dim], queries.output());
    nt(shape.precision, Dims { m: sequences, n: dim, k: dim }, cls.source(), query_weight, bias);
    let queries = queries.heads_first(dim, heads);
    let over_tokens = each.widened(&queries, key_weight);

    let mut attended_tokens = Recycled::new(heads * sequences * dim);
    let lengths: Vec<usize> = shape.segments.lengths().collect();
    let attention = shape.attention(&lengths);
    attention.cls_forward(shape.precision, &over_tokens, normed.source(), &mut attended_tokens);
    drop(normed);
    let attended = each.narrowed(&attended_tokens, value_weight, Some(&weights.qkv_bias[2 * dim..]));
    let residual = gather(x, shape.segments.cls_rows(), dim);
    let tail = project(&residual, attended.heads_last(dim, heads), weights, shape);
    Saved { queries, over_tokens, attended_tokens, tail }
}

/// dy: [S, D] -> gradient of x [N, D], and those of the weights.
pub(super) fn backward(
    x: &[f32],
    weights: &Weights<'_>,
    shape: &Shape,
    saved: &Saved,
    dy: &[f32],
) -> (Vec<f32>, WeightGradients) {
    let (dim, tokens, sequences) = (shape.dim, shape.segments.tokens(), shape.segments.sequences());
    let (precision, heads, each) = (shape.precision, shape.heads, EachHead::of(shape));
    let [query_weight, key_weight, value_weight] = weights.qkv_parts(dim);
    let mut gradients = WeightGradients::zeros(dim, shape.hidden);
    let (d_residual, d_attended) = tail_backward(&saved.tail, weights, shape, dy, &mut gradients);
    let [gamma, beta, qkv_bias, .., qkv, _, _, _] = &mut gradients.0;
    let [query_gradient, key_gradient, value_gradient] = thirds(qkv);
    let [query_bias, key_bias, value_bias] = thirds(qkv_bias);

    let d_attended = d_attended.heads_first(dim, heads);
    each.gradients(&d_attended, &saved.attended_tokens, value_gradient, value_bias);
    let d_attended_tokens = each.widened(&d_attended, value_weight);

    let normed = shape.norm(x, weights.norm1);
    let mut d_over_tokens = Recycled::new(heads * sequences * dim);
    let mut d_normed = Recycled::new(tokens * dim);
    let lengths: Vec<usize> = shape.segments.lengths().collect();
    let (attention, queries) = (shape.attention(&lengths), &saved.over_tokens);
    let (dq, dx) = (&mut d_over_tokens[..], &mut d_normed[..]);
    attention.cls_backward(precision, queries, normed.source(), &d_attended_tokens, dq, dx);

    each.gradients(&saved.queries, &d_over_tokens, key_gradient, key_bias);
    // A bias of the keys would add the same number to all scores of a query.
    key_bias.fill(0.0);
    let d_queries = each.narrowed(&d_over_tokens, key_weight, None).heads_last(dim, heads);
    let cls = normed.rows(shape.segments.cls_rows(), dim);
    let sums = TnOptions { column_sums: Some(query_bias), ..Default::default() };
    let dims = Dims { m: dim, n: dim, k: sequences };
    tn(precision, dims, d_queries.source(), cls.source(), sums, query_gradient);
    let mut d_cls = Recycled::new(sequences * dim);
    let dims = Dims { m: sequences, n: dim, k: dim };
    nn(precision, dims, d_queries.source(), query_weight, Epilogue::store(&mut d_cls[..]));

    scatter_add(&mut d_normed, shape.segments.cls_rows(), &d_cls, dim);
    let mut dx = zeros(tokens * dim);
    layer_norm_backward(x, weights.norm1.0, EPS, &d_normed[..], Base::Zero, &mut dx, gamma, beta);
    scatter_add(&mut dx, shape.segments.cls_rows(), &d_residual, dim);
    (dx, gradients)
}

fn thirds<T>(all: &mut [T]) -> [&mut [T]; 3] {
    let third = all.len() / 3;
    let (first, rest) = all.split_at_mut(third);
    let (second, last) = rest.split_at_mut(third);
    [first, second, last]
}

/// Products of narrow rows, [h, S, d], wide rows, [h, S, D], and weights, [h, d, D], head by head.
struct EachHead {
    precision: Precision,
    sequences: usize,
    dim: usize,
    head_dim: usize,
}

impl EachHead {
    fn of(shape: &Shape) -> Self {
        let &Shape { precision, dim, heads, .. } = shape;
        Self { precision, sequences: shape.segments.sequences(), dim, head_dim: dim / heads }
    }

    fn narrow<'a>(&self, rows: &'a Buffer) -> Vec<Source<'a>> {
        rows.parts(self.sequences * self.head_dim)
    }

    /// Narrow rows by weights: wide rows.
    fn widened(&self, rows: &Buffer, weights: &[f32]) -> Recycled<f32> {
        let dims = Dims { m: self.sequences, n: self.dim, k: self.head_dim };
        let wide = self.sequences * self.dim;
        let mut out = Recycled::new(weights.len() / self.head_dim * self.sequences);
        let heads = self.narrow(rows).into_par_iter().zip(weights.par_chunks_exact(self.head_dim * self.dim));
        heads.zip(out.par_chunks_exact_mut(wide)).for_each(|((rows, weight), out)| {
            nn(self.precision, dims, rows, weight, Epilogue::store(out));
        });
        out
    }

    /// Wide rows by transposed weights, and a bias [h, d]: narrow rows.
    fn narrowed(&self, rows: &[f32], weights: &[f32], bias: Option<&[f32]>) -> Buffer {
        let dims = Dims { m: self.sequences, n: self.head_dim, k: self.dim };
        let mut out = Buffer::new(self.precision, rows.len() / self.dim * self.head_dim);
        let heads = rows.par_chunks_exact(self.sequences * self.dim);
        let heads = heads.zip(weights.par_chunks_exact(self.head_dim * self.dim)).enumerate();
        let parts: Vec<Output<'_>> = out.parts_mut(self.sequences * self.head_dim);
        heads.zip(parts).for_each(|((head, (rows, weight)), out)| {
            let bias = bias.map(|bias| &bias[head * self.head_dim..][..self.head_dim]);
            nt(self.precision, dims, rows, weight, Epilogue::Store { bias, row_scale: None, out });
        });
        out
    }

    /// Transposed narrow rows by wide rows, the gradients of the weights between them, and sums of the narrow rows, [h, d].
    fn gradients(&self, narrow: &Buffer, wide: &[f32], weights: &mut [f32], biases: &mut [f32]) {
        let dims = Dims { m: self.head_dim, n: self.dim, k: self.sequences };
        let heads = self.narrow(narrow).into_par_iter().zip(wide.par_chunks_exact(self.sequences * self.dim));
        let weights = weights.par_chunks_exact_mut(self.head_dim * self.dim);
        let gradients = weights.zip(biases.par_chunks_exact_mut(self.head_dim));
        heads.zip(gradients).for_each(|((narrow, wide), (weight, bias))| {
            let sums = TnOptions { column_sums: Some(bias), ..Default::default() };
            tn(self.precision, dims, narrow, wide, sums, weight);
        });
    }
}
