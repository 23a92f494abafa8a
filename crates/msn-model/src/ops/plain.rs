//! What `ops` computes, in plain tensor operations: any device, and the twin that faster paths are tested against.

use std::collections::BTreeMap;
use std::f64::consts::FRAC_1_SQRT_2;

use burn::tensor::{Int, Tensor, TensorData, activation};

use super::{BATCH_NORM_EPS, BranchFactors, Path, Statistics};
use crate::view::Kept;
use crate::{Block, Segments, View};

/// patches: [P, D], cls: [1, D], positions: by side of the grid, [grid^2, D] -> [N, D]
pub(super) fn tokens(
    patches: Tensor<2>,
    cls: Tensor<2>,
    positions: &BTreeMap<usize, Tensor<2>>,
    views: &[View],
) -> Tensor<2> {
    let [_, dim] = patches.dims();
    let kept = |places: &[u32]| {
        let places: Vec<i64> = places.iter().map(|&place| i64::from(place)).collect();
        let count = places.len();
        Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &patches.device())
    };
    let mut start = 0;
    let mut tokens = Vec::with_capacity(views.len());
    for view in views {
        let (batch, count) = (view.batch, view.patches_per_image());
        let rows = patches.clone().slice([start..start + batch * count, 0..dim]);
        start += batch * count;
        let rows = rows.reshape([batch, count, dim]);
        let positions = positions[&view.grid].clone();
        let rows = match &view.kept {
            Kept::All => rows + positions.unsqueeze(),
            Kept::Shared(places) => rows + positions.select(0, kept(places)).unsqueeze(),
            Kept::PerImage(places) => rows + positions.select(0, kept(places)).reshape([batch, count, dim]),
        };
        let cls = cls.clone().unsqueeze::<3>().expand([batch, 1, dim]);
        tokens.push(Tensor::cat(vec![cls, rows], 1).reshape([batch * (1 + count), dim]));
    }
    Tensor::cat(tokens, 0)
}

pub(super) fn block(
    x: Tensor<2>,
    block: &Block,
    segments: &Segments,
    factors: BranchFactors<'_>,
) -> Tensor<2> {
    let qkv = project(block.norm1.forward(x.clone()), block, 0..3);
    let attended = attention(qkv, segments, block.heads);
    let per_token = |branch: usize| factors.map(|factors| segments.per_token(&factors[branch]));
    let x = add_branch(x, block.attn.proj.forward(attended, Path::Plain), per_token(0));
    let branch = mlp(x.clone(), block);
    add_branch(x, branch, per_token(1))
}

pub(super) fn cls_block(
    x: Tensor<2>,
    block: &Block,
    segments: &Segments,
    factors: BranchFactors<'_>,
) -> Tensor<2> {
    let rows: Vec<i64> = segments.cls_rows().map(|row| row as i64).collect();
    let rows: Tensor<1, Int> = Tensor::from_data(TensorData::new(rows, [segments.sequences()]), &x.device());
    let normed = block.norm1.forward(x.clone());
    let queries = project(normed.clone().select(0, rows.clone()), block, 0..1);
    let attended = cls_attention(queries, project(normed, block, 1..3), segments, block.heads);
    let per_sequence = |branch: usize| factors.map(|factors| factors[branch].clone());
    let x = add_branch(x.select(0, rows), block.attn.proj.forward(attended, Path::Plain), per_sequence(0));
    let branch = mlp(x.clone(), block);
    add_branch(x, branch, per_sequence(1))
}

pub(super) fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    x.matmul(weight.transpose()) + bias.unsqueeze()
}

/// x: [N, C], weight, bias: [C] -> [N, C]
pub(super) fn batch_norm(
    x: Tensor<2>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    groups: &[usize],
) -> (Tensor<2>, Vec<Statistics>) {
    let [_, channels] = x.dims();
    let (mut normed, mut statistics) = (Vec::new(), Vec::new());
    let mut start = 0;
    for &count in groups {
        let group = x.clone().slice([start..start + count, 0..channels]);
        start += count;
        let mean = group.clone().mean_dim(0);
        let centred = group - mean.clone();
        let variance = centred.clone().powi_scalar(2).mean_dim(0);
        let scale = (variance.clone() + BATCH_NORM_EPS).sqrt().recip() * weight.clone().unsqueeze();
        normed.push(centred * scale + bias.clone().unsqueeze());
        let [mean, variance] = [mean, variance].map(|row: Tensor<2>| row.detach().squeeze_dim::<1>(0));
        statistics.push(Statistics { mean, variance });
    }
    (Tensor::cat(normed, 0), statistics)
}

/// The given thirds (queries, keys, values) of the stacked projection. x: [N, D] -> [N, thirds * D]
///
/// The key bias takes no part in the gradient: it adds the same number to all logits of a query, which softmax
/// cancels. Its gradient is zero, but rounding would leave noise that Adam, dividing by the noise's own size,
/// would turn into steps as long as any other.
fn project(x: Tensor<2>, block: &Block, thirds: std::ops::Range<usize>) -> Tensor<2> {
    let dim = x.dims()[1];
    let bias = block.attn.qkv.bias.val();
    let third = |index: usize| bias.clone().slice(index * dim..(index + 1) * dim);
    let bias = thirds.clone().map(|index| if index == 1 { third(1).detach() } else { third(index) });
    let weight = block.attn.qkv.weight.val().slice([thirds.start * dim..thirds.end * dim, 0..dim]);
    linear(x, weight, Tensor::cat(bias.collect(), 0))
}

/// Multi-head self-attention within each sequence. qkv: [N, 3 * D] -> [N, D]
fn attention(qkv: Tensor<2>, segments: &Segments, heads: usize) -> Tensor<2> {
    let dim = qkv.dims()[1] / 3;
    let mut start = 0;
    let mut attended = Vec::with_capacity(segments.groups().len());
    for &(count, length) in segments.groups() {
        let rows = qkv.clone().slice([start..start + count * length, 0..3 * dim]);
        start += count * length;
        let [q, k, v] = split_heads::<3>(rows, count, length, heads);
        attended.push(merge_heads(weigh(q, k, v)));
    }
    Tensor::cat(attended, 0)
}

/// Attention of one query a sequence. queries: [S, D], keys_values: [N, 2 * D] -> [S, D]
fn cls_attention(queries: Tensor<2>, keys_values: Tensor<2>, segments: &Segments, heads: usize) -> Tensor<2> {
    let dim = queries.dims()[1];
    let (mut start, mut sequence) = (0, 0);
    let mut attended = Vec::with_capacity(segments.groups().len());
    for &(count, length) in segments.groups() {
        let q = queries.clone().slice([sequence..sequence + count, 0..dim]);
        let rows = keys_values.clone().slice([start..start + count * length, 0..2 * dim]);
        sequence += count;
        start += count * length;
        let [q] = split_heads::<1>(q, count, 1, heads);
        let [k, v] = split_heads::<2>(rows, count, length, heads);
        attended.push(merge_heads(weigh(q, k, v)));
    }
    Tensor::cat(attended, 0)
}

/// softmax(q k^T / sqrt(d)) v. q: [B, H, Q, d], k and v: [B, H, T, d] -> [B, H, Q, d]
fn weigh(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let scale = 1.0 / (q.dims()[3] as f64).sqrt();
    activation::softmax(q.matmul(k.transpose()).mul_scalar(scale), 3).matmul(v)
}

/// x: [B * T, PARTS * H * d] -> PARTS times [B, H, T, d]
fn split_heads<const PARTS: usize>(
    x: Tensor<2>,
    batch: usize,
    length: usize,
    heads: usize,
) -> [Tensor<4>; PARTS] {
    let head_dim = x.dims()[1] / (PARTS * heads);
    let x = x.reshape([batch, length, PARTS, heads, head_dim]).permute([2, 0, 3, 1, 4]);
    std::array::from_fn(|part| {
        x.clone().slice([part..part + 1, 0..batch, 0..heads, 0..length, 0..head_dim]).squeeze_dim(0)
    })
}

/// x: [B, H, T, d] -> [B * T, H * d]
fn merge_heads(x: Tensor<4>) -> Tensor<2> {
    let [batch, heads, length, head_dim] = x.dims();
    x.swap_dims(1, 2).reshape([batch * length, heads * head_dim])
}

fn mlp(x: Tensor<2>, block: &Block) -> Tensor<2> {
    let hidden = block.mlp.fc1.forward(block.norm2.forward(x), Path::Plain);
    block.mlp.fc2.forward(gelu(hidden), Path::Plain)
}

/// `x (1 + erf(x / sqrt(2))) / 2` (Hendrycks and Gimpel, 2016). x: [N, D] -> [N, D]
///
/// Burn's `gelu` is that too, but its derivative is the tanh approximation's, up to 9e-4 off, on every backend without one
/// of its own.
pub(super) fn gelu(x: Tensor<2>) -> Tensor<2> {
    let twice_the_share = x.clone().mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0);
    x.mul_scalar(0.5) * twice_the_share
}

/// `x + factor * branch`, the factor one a row.
fn add_branch(x: Tensor<2>, branch: Tensor<2>, factors: Option<Vec<f32>>) -> Tensor<2> {
    let Some(factors) = factors else { return x + branch };
    let rows = factors.len();
    let factors = Tensor::<2>::from_data(TensorData::new(factors, [rows, 1]), &x.device());
    x + branch * factors
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// Values of a few units, which f32 rounds at 6e-8 a unit.
    const TOLERANCE: f64 = 1e-6;

    #[test]
    fn the_derivative_of_gelu_is_that_of_the_exact_function() {
        let points: Vec<f32> = (-40..=40).map(|i| i as f32 / 8.0).collect();
        let data = TensorData::new(points.clone(), [points.len(), 1]);
        let x = Tensor::<2>::from_data(data, &Device::flex().autodiff()).require_grad();
        let y = gelu(x.clone());
        let slope = x.grad(&y.clone().sum().backward()).expect("tracked");
        let [y, slope] =
            [y.into_data(), slope.into_data()].map(|data| data.try_to_vec::<f32>().expect("f32"));
        for ((x, y), slope) in points.into_iter().map(f64::from).zip(y).zip(slope) {
            let share = 0.5 * libm::erfc(-x * FRAC_1_SQRT_2);
            let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
            assert!((f64::from(y) - x * share).abs() < TOLERANCE, "gelu({x}) is {y}");
            assert!((f64::from(slope) - share - x * density).abs() < TOLERANCE, "gelu'({x}) is {slope}");
        }
    }
}
