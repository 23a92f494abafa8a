//! Transformer blocks over packed sequences, linear layers, GELU: on kernels where there are some for the device, else in
//! plain tensor operations.

mod cpu;
mod plain;

use burn::tensor::Tensor;
use msn_kernels::Precision;

use crate::{Block, Segments};
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

/// The last block, for the [CLS] of every sequence alone: keys and values are computed for all tokens, queries,
/// projection and MLP for one token a sequence. x: [N, D] -> [S, D]
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

/// Exact GELU. x: [N, D] -> [N, D]
pub(crate) fn gelu(x: Tensor<2>, path: Path) -> Tensor<2> {
    let done = if path == Path::Plain { None } else { cpu::gelu(&x) };
    done.unwrap_or_else(|| plain::gelu(x))
}
