//! Tokens, transformer blocks over packed sequences, linear layers, batch norm, GELU: on kernels where there are some for
//! the device, else in plain tensor operations.

mod cpu;
mod plain;

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use msn_kernels::Precision;

use crate::{Block, Segments, View};
use cpu::Rows;

/// Factors of the attention and the MLP branch, one a sequence: see [`crate::StochasticDepth`].
pub(crate) type BranchFactors<'a> = Option<&'a [Vec<f32>; 2]>;

/// How blocks and linear layers are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Kernels multiplying in this precision where the device has them, plain tensor operations elsewhere.
    Kernels(Precision),
    /// Plain tensor operations.
    Plain,
}

/// Embedded patches of all views with their positions, each image led by its [CLS].
/// patches: [P, D], cls: [1, D], positions: by side of the grid, [grid^2, D] -> [N, D]
pub(crate) fn tokens(
    patches: Tensor<2>,
    cls: Tensor<2>,
    positions: &BTreeMap<usize, Tensor<2>>,
    views: &[View],
    path: Path,
) -> Tensor<2> {
    let done = if path == Path::Plain { None } else { cpu::tokens(&patches, &cls, positions, views) };
    done.unwrap_or_else(|| plain::tokens(patches, cls, positions, views))
}

/// A whole block. x: [N, D] -> [N, D]
pub(crate) fn block(
    x: Tensor<2>,
    block: &Block,
    segments: &Segments,
    factors: BranchFactors<'_>,
    path: Path,
) -> Tensor<2> {
    let fast = |precision| cpu::block(&x, block, segments, factors, Rows::All, precision);
    let done = if let Path::Kernels(precision) = path { fast(precision) } else { None };
    done.unwrap_or_else(|| plain::block(x, block, segments, factors))
}

/// The last block, for the [CLS] of every sequence alone: queries, projection and MLP are computed for one token a sequence.
/// Plain operations compute keys and values for all tokens, kernels not even those. x: [N, D] -> [S, D]
pub(crate) fn cls_block(
    x: Tensor<2>,
    block: &Block,
    segments: &Segments,
    factors: BranchFactors<'_>,
    path: Path,
) -> Tensor<2> {
    let fast = |precision| cpu::block(&x, block, segments, factors, Rows::Cls, precision);
    let done = if let Path::Kernels(precision) = path { fast(precision) } else { None };
    done.unwrap_or_else(|| plain::cls_block(x, block, segments, factors))
}

/// `x W^T + b`. x: [N, in], weight: [out, in], bias: [out] -> [N, out]
pub(crate) fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>, path: Path) -> Tensor<2> {
    let done = match path {
        Path::Kernels(precision) => cpu::linear(&x, &weight, &bias, precision),
        Path::Plain => None,
    };
    done.unwrap_or_else(|| plain::linear(x, weight, bias))
}

/// Added to the variance by batch norm before its root is taken, as PyTorch does.
const BATCH_NORM_EPS: f64 = 1e-5;

/// Mean and biased variance of the columns of a group of rows: [C] each, without a gradient.
#[derive(Debug)]
pub(crate) struct Statistics {
    pub(crate) mean: Tensor<1>,
    pub(crate) variance: Tensor<1>,
}

/// Batch norm of each of `groups` of consecutive rows by its own statistics, and those.
/// x: [N, C], weight, bias: [C] -> [N, C]
pub(crate) fn batch_norm(
    x: Tensor<2>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    groups: &[usize],
    path: Path,
) -> (Tensor<2>, Vec<Statistics>) {
    let done = if path == Path::Plain { None } else { cpu::batch_norm(&x, &weight, &bias, groups) };
    done.unwrap_or_else(|| plain::batch_norm(x, weight, bias, groups))
}

/// Exact GELU. x: [N, D] -> [N, D]
pub(crate) fn gelu(x: Tensor<2>, path: Path) -> Tensor<2> {
    let done = if path == Path::Plain { None } else { cpu::gelu(&x) };
    done.unwrap_or_else(|| plain::gelu(x))
}
