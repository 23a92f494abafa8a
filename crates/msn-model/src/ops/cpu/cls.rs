//! Attention of the last block, for [CLS] alone. Its keys and values are never computed: see
//! [`Attention::cls_forward`](msn_kernels::Attention::cls_forward).
//!
//! Shapes as in [`super::block`]; h heads, d = D / h.

use msn_kernels::gemm::{Base, Epilogue, TnOptions, nn, nt, tn};
use msn_kernels::{Dims, Precision, Recycled, Source, join_all, layer_norm_backward, zeros};

use super::block::{EPS, Shape};
use super::buffer::{Buffer, scatter_add};
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
}

/// What the backward pass needs, and the attention's result, [S, D]. x: [N, D]
pub(super) fn attention(x: &[f32], weights: &Weights<'_>, shape: &Shape) -> (Saved, Buffer) {
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
    let attended = each.narrowed(&attended_tokens, value_weight, Some(&weights.qkv_bias[2 * dim..]));
    (Saved { queries, over_tokens, attended_tokens }, attended.heads_last(dim, heads))
}

/// Gradient of the attention's result, [S, D] -> that of x, [N, D].
pub(super) fn attention_backward(
    x: &[f32],
    weights: &Weights<'_>,
    shape: &Shape,
    (saved, d_attended): (&Saved, &Buffer),
    gradients: &mut WeightGradients,
) -> Vec<f32> {
    let (dim, tokens, sequences) = (shape.dim, shape.segments.tokens(), shape.segments.sequences());
    let (precision, heads, each) = (shape.precision, shape.heads, EachHead::of(shape));
    let [query_weight, key_weight, value_weight] = weights.qkv_parts(dim);
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
    shape.attention(&lengths).cls_backward(
        precision,
        &saved.over_tokens,
        normed.source(),
        &d_attended_tokens,
        &mut d_over_tokens,
        &mut d_normed,
    );

    each.gradients(&saved.queries, &d_over_tokens, key_gradient, key_bias);
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
    dx
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

    /// Elements of the wide rows of a head.
    fn wide(&self) -> usize {
        self.sequences * self.dim
    }

    fn weights<'a>(&self, weights: &'a [f32]) -> std::slice::ChunksExact<'a, f32> {
        weights.chunks_exact(self.head_dim * self.dim)
    }

    /// Narrow rows by weights: wide rows.
    fn widened(&self, rows: &Buffer, weights: &[f32]) -> Recycled<f32> {
        let dims = Dims { m: self.sequences, n: self.dim, k: self.head_dim };
        let rows = self.narrow(rows);
        let mut out = Recycled::new(rows.len() * self.wide());
        let heads = rows.into_iter().zip(self.weights(weights)).zip(out.chunks_exact_mut(self.wide()));
        join_all(heads.collect(), |((rows, weight), out)| {
            nn(self.precision, dims, rows, weight, Epilogue::store(out));
        });
        out
    }

    /// Wide rows by transposed weights, and a bias [h, d]: narrow rows.
    fn narrowed(&self, rows: &[f32], weights: &[f32], bias: Option<&[f32]>) -> Buffer {
        let dims = Dims { m: self.sequences, n: self.head_dim, k: self.dim };
        let mut out = Buffer::new(self.precision, rows.len() / self.dim * self.head_dim);
        let parts = out.parts_mut(self.sequences * self.head_dim);
        let heads = rows.chunks_exact(self.wide()).zip(self.weights(weights)).zip(parts).enumerate();
        join_all(heads.collect(), |(head, ((rows, weight), out))| {
            let bias = bias.map(|bias| &bias[head * self.head_dim..][..self.head_dim]);
            nt(self.precision, dims, rows, weight, Epilogue::Store { bias, row_scale: None, out });
        });
        out
    }

    /// Transposed narrow rows by wide rows, the gradients of the weights between them, and sums of the narrow rows, [h, d].
    fn gradients(&self, narrow: &Buffer, wide: &[f32], weights: &mut [f32], biases: &mut [f32]) {
        let dims = Dims { m: self.head_dim, n: self.dim, k: self.sequences };
        let weights = weights.chunks_exact_mut(self.head_dim * self.dim);
        let gradients = weights.zip(biases.chunks_exact_mut(self.head_dim));
        let heads = self.narrow(narrow).into_iter().zip(wide.chunks_exact(self.wide())).zip(gradients);
        join_all(heads.collect(), |((narrow, wide), (weight, bias))| {
            let sums = TnOptions { column_sums: Some(bias), ..Default::default() };
            tn(self.precision, dims, narrow, wide, sums, weight);
        });
    }
}
