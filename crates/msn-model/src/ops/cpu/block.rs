//! Forward and backward of a block on slices.
//!
//! Shapes: N tokens, S sequences, R rows of the output (all tokens or [CLS] alone), D dimensions, H hidden units. Weights
//! are `[out, in]`. The residual stream stays in `f32`; what only feeds a product is kept in that product's precision.

use msn_kernels::gemm::{Base, Epilogue, TnOptions, nn, nt, tn};
use msn_kernels::{Attention, Dims, Precision, Recycled, join, layer_norm, layer_norm_backward, zeros};

use super::Rows;
use super::buffer::{Buffer, gather, scatter_add};
use super::cls;
use super::weights::{WeightGradients, Weights};
use crate::{LAYER_NORM_EPS, Segments};

pub(super) const EPS: f32 = LAYER_NORM_EPS as f32;

/// What a block needs to know besides its weights.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) dim: usize,
    pub(super) hidden: usize,
    pub(super) heads: usize,
    pub(super) segments: Segments,
    /// Factors of the attention and of the MLP branch, one a row of the output.
    pub(super) factors: Option<[Vec<f32>; 2]>,
    pub(super) precision: Precision,
}

impl Shape {
    fn factors(&self, branch: usize) -> Option<&[f32]> {
        self.factors.as_ref().map(|factors| &factors[branch][..])
    }

    pub(super) fn buffer(&self, count: usize) -> Buffer {
        Buffer::new(self.precision, count)
    }

    /// Layer norm of rows, as operand of a product. x: [R, D] -> [R, D]
    pub(super) fn norm(&self, x: &[f32], (gamma, beta): (&[f32], &[f32])) -> Buffer {
        let mut normed = self.buffer(x.len());
        layer_norm(x, gamma, beta, EPS, normed.output());
        normed
    }

    /// Attention within the sequences of these lengths.
    pub(super) fn attention<'a>(&self, lengths: &'a [usize]) -> Attention<'a> {
        Attention { lengths, heads: self.heads, head_dim: self.dim / self.heads }
    }
}

/// What the forward pass leaves for the backward pass.
///
/// Results of layer norm are not kept: the backward pass computes them anew from what it needs anyway.
#[derive(Debug)]
pub(super) struct Saved {
    attention: SavedAttention,
    tail: Tail,
}

/// The part of [`Saved`] that differs with the rows.
#[derive(Debug)]
enum SavedAttention {
    /// Queries, keys and values: [N, 3 D].
    All(Buffer),
    Cls(cls::Saved),
}

/// The part after the attention.
#[derive(Debug)]
struct Tail {
    /// Result of the attention: [R, D].
    attended: Buffer,
    /// Residual stream after the attention branch: [R, D].
    middle: Recycled<f32>,
    /// Argument of GELU: [R, H]; only for a backward pass.
    pre: Option<Buffer>,
}

/// What a forward pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// The output alone: what only a backward pass needs is not kept.
    Output,
    /// The output and a backward pass.
    Backward,
}

/// The forward pass: [R, D], and what it leaves. x: [N, D]
pub(super) fn forward(
    x: &[f32],
    weights: &Weights<'_>,
    shape: &Shape,
    rows: Rows,
    purpose: For,
) -> (Vec<f32>, Saved) {
    let mut saved = before_mlp(x, weights, shape, rows);
    let y = mlp(&mut saved.tail, weights, shape, purpose);
    (y, saved)
}

/// What [`forward`] leaves for the backward pass, once more.
pub(super) fn recompute(x: &[f32], weights: &Weights<'_>, shape: &Shape, rows: Rows) -> Saved {
    let mut saved = before_mlp(x, weights, shape, rows);
    recompute_pre(&mut saved.tail, weights, shape);
    saved
}

fn before_mlp(x: &[f32], weights: &Weights<'_>, shape: &Shape, rows: Rows) -> Saved {
    match rows {
        Rows::All => {
            let (qkv, attended) = attention(x, weights, shape);
            let tail = project(x, attended, weights, shape);
            Saved { attention: SavedAttention::All(qkv), tail }
        }
        Rows::Cls => {
            let (saved, attended) = cls::attention(x, weights, shape);
            let residual = gather(x, shape.segments.cls_rows(), shape.dim);
            let tail = project(&residual, attended, weights, shape);
            Saved { attention: SavedAttention::Cls(saved), tail }
        }
    }
}

/// Queries, keys and values, [N, 3 D], and the attention's result, [N, D].
fn attention(x: &[f32], weights: &Weights<'_>, shape: &Shape) -> (Buffer, Buffer) {
    let (dim, tokens) = (shape.dim, shape.segments.tokens());
    let normed = shape.norm(x, weights.norm1);
    let mut qkv = shape.buffer(tokens * 3 * dim);
    let dims = Dims { m: tokens, n: 3 * dim, k: dim };
    nt(shape.precision, dims, normed.source(), weights.qkv, Epilogue::bias(weights.qkv_bias, qkv.output()));
    drop(normed);
    let mut attended = shape.buffer(tokens * dim);
    let lengths: Vec<usize> = shape.segments.lengths().collect();
    shape.attention(&lengths).forward(shape.precision, qkv.source(), attended.output());
    (qkv, attended)
}

/// dy: [R, D] -> gradient of x [N, D], and those of the weights.
pub(super) fn backward(
    x: &[f32],
    weights: &Weights<'_>,
    shape: &Shape,
    saved: &Saved,
    dy: &[f32],
) -> (Vec<f32>, WeightGradients) {
    let mut gradients = WeightGradients::zeros(shape.dim, shape.hidden);
    let (d_residual, d_attended) = tail_backward(&saved.tail, weights, shape, dy, &mut gradients);
    let dx = match &saved.attention {
        SavedAttention::All(qkv) => {
            let mut dx = d_residual;
            attention_backward(x, weights, shape, (qkv, &d_attended), &mut dx, &mut gradients);
            dx
        }
        SavedAttention::Cls(saved) => {
            let mut dx = cls::attention_backward(x, weights, shape, (saved, &d_attended), &mut gradients);
            scatter_add(&mut dx, shape.segments.cls_rows(), &d_residual, shape.dim);
            dx
        }
    };
    forget_key_bias(&mut gradients, shape.dim);
    (dx, gradients)
}

/// Queries, keys and values, [N, 3 D], and gradient of the attention's result, [N, D] -> added to that of x, [N, D].
fn attention_backward(
    x: &[f32],
    weights: &Weights<'_>,
    shape: &Shape,
    (qkv, d_attended): (&Buffer, &Buffer),
    dx: &mut [f32],
    gradients: &mut WeightGradients,
) {
    let (dim, tokens) = (shape.dim, shape.segments.tokens());
    let mut d_qkv = shape.buffer(tokens * 3 * dim);
    let lengths: Vec<usize> = shape.segments.lengths().collect();
    let (qkv, d_out) = (qkv.source(), d_attended.source());
    shape.attention(&lengths).backward(shape.precision, qkv, d_out, d_qkv.output());
    let [gamma, beta, qkv_bias, .., qkv, _, _, _] = &mut gradients.0;
    let ((), d_normed) = join(
        || {
            let normed = shape.norm(x, weights.norm1);
            let dims = Dims { m: 3 * dim, n: dim, k: tokens };
            let sums = TnOptions { column_sums: Some(qkv_bias), ..Default::default() };
            tn(shape.precision, dims, d_qkv.source(), normed.source(), sums, qkv);
        },
        || {
            let mut d_normed = shape.buffer(tokens * dim);
            let dims = Dims { m: tokens, n: dim, k: 3 * dim };
            nn(shape.precision, dims, d_qkv.source(), weights.qkv, Epilogue::store(d_normed.output()));
            d_normed
        },
    );
    layer_norm_backward(x, weights.norm1.0, EPS, d_normed.source(), Base::Output, dx, gamma, beta);
}

/// From the attention's result to the MLP's input: residual and attended [R, D].
fn project(residual: &[f32], attended: Buffer, weights: &Weights<'_>, shape: &Shape) -> Tail {
    let dim = shape.dim;
    let rows = residual.len() / dim;
    let mut middle = Recycled::new(rows * dim);
    let dims = Dims { m: rows, n: dim, k: dim };
    let add = branch(weights.proj_bias, shape.factors(0), residual, &mut middle);
    nt(shape.precision, dims, attended.source(), weights.proj, add);
    Tail { attended, middle, pre: None }
}

/// The block's result: [R, D].
fn mlp(tail: &mut Tail, weights: &Weights<'_>, shape: &Shape, purpose: For) -> Vec<f32> {
    let (dim, hidden, precision) = (shape.dim, shape.hidden, shape.precision);
    let Tail { middle, pre, .. } = tail;
    let rows = middle.len() / dim;
    let normed = shape.norm(middle, weights.norm2);
    *pre = (purpose == For::Backward).then(|| shape.buffer(rows * hidden));
    let mut act = shape.buffer(rows * hidden);
    let dims = Dims { m: rows, n: hidden, k: dim };
    let (bias, pre) = (Some(weights.fc1_bias), pre.as_mut().map(Buffer::output));
    nt(precision, dims, normed.source(), weights.fc1, Epilogue::Gelu { bias, pre, act: act.output() });
    drop(normed);
    let mut y = zeros(rows * dim);
    let dims = Dims { m: rows, n: dim, k: hidden };
    let add = branch(weights.fc2_bias, shape.factors(1), middle, &mut y);
    nt(precision, dims, act.source(), weights.fc2, add);
    y
}

/// The argument of GELU, which [`mlp`] keeps for a backward pass, once more.
fn recompute_pre(tail: &mut Tail, weights: &Weights<'_>, shape: &Shape) {
    let (dim, hidden) = (shape.dim, shape.hidden);
    let rows = tail.middle.len() / dim;
    let mut pre = shape.buffer(rows * hidden);
    let dims = Dims { m: rows, n: hidden, k: dim };
    let store = Epilogue::bias(weights.fc1_bias, pre.output());
    nt(shape.precision, dims, shape.norm(&tail.middle, weights.norm2).source(), weights.fc1, store);
    tail.pre = Some(pre);
}

/// `out = residual + factors (product + bias)`.
fn branch<'a>(
    bias: &'a [f32],
    factors: Option<&'a [f32]>,
    residual: &'a [f32],
    out: &'a mut [f32],
) -> Epilogue<'a> {
    Epilogue::Add { bias: Some(bias), row_scale: factors, base: Base::Slice(residual), out }
}

/// dy: [R, D] -> gradients of the residual input [R, D] and of the attention's result [R, D].
fn tail_backward(
    saved: &Tail,
    weights: &Weights<'_>,
    shape: &Shape,
    dy: &[f32],
    gradients: &mut WeightGradients,
) -> (Vec<f32>, Buffer) {
    let (dim, hidden, precision) = (shape.dim, shape.hidden, shape.precision);
    let rows = dy.len() / dim;
    let [_, _, _, proj_bias, gamma, beta, fc1_bias, fc2_bias, _, proj, fc1, fc2] = &mut gradients.0;

    let (mut d_pre, mut act) = (shape.buffer(rows * hidden), shape.buffer(rows * hidden));
    let dims = Dims { m: rows, n: hidden, k: dim };
    let pre = saved.pre.as_ref().expect("kept for the backward pass").source();
    let row_scale = shape.factors(1);
    let gelu = Epilogue::GeluGrad { pre, row_scale, out: d_pre.output(), act: act.output() };
    nn(precision, dims, dy, weights.fc2, gelu);
    let ((), d_normed) = join(
        || {
            let dims = Dims { m: dim, n: hidden, k: rows };
            tn(precision, dims, dy, act.source(), TnOptions { row_scale, column_sums: Some(fc2_bias) }, fc2);
            drop(act);
            let dims = Dims { m: hidden, n: dim, k: rows };
            let sums = TnOptions { column_sums: Some(fc1_bias), ..Default::default() };
            let normed = shape.norm(&saved.middle, weights.norm2);
            tn(precision, dims, d_pre.source(), normed.source(), sums, fc1);
        },
        || {
            let mut d_normed = shape.buffer(rows * dim);
            let dims = Dims { m: rows, n: dim, k: hidden };
            nn(precision, dims, d_pre.source(), weights.fc1, Epilogue::store(d_normed.output()));
            d_normed
        },
    );
    let mut d_middle = zeros(rows * dim);
    let (gradient, past) = (d_normed.source(), Base::Slice(dy));
    layer_norm_backward(&saved.middle, weights.norm2.0, EPS, gradient, past, &mut d_middle, gamma, beta);

    let row_scale = shape.factors(0);
    let ((), d_attended) = join(
        || {
            let dims = Dims { m: dim, n: dim, k: rows };
            let options = TnOptions { row_scale, column_sums: Some(proj_bias) };
            tn(precision, dims, &d_middle[..], saved.attended.source(), options, proj);
        },
        || {
            let mut d_attended = shape.buffer(rows * dim);
            let dims = Dims { m: rows, n: dim, k: dim };
            let store = Epilogue::Store { bias: None, row_scale, out: d_attended.output() };
            nn(precision, dims, &d_middle[..], weights.proj, store);
            d_attended
        },
    );
    (d_middle, d_attended)
}

/// The key bias adds the same number to all logits of a query, which softmax cancels: its gradient is zero, and the
/// rounding noise in its place would become full steps under Adam.
fn forget_key_bias(gradients: &mut WeightGradients, dim: usize) {
    let [_, _, qkv_bias, ..] = &mut gradients.0;
    qkv_bias[dim..2 * dim].fill(0.0);
}
