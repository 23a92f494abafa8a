//! Tokens, blocks, linear layers, batch norm and GELU on the CPU: one node of the autodiff graph each, with kernels of
//! `msn-kernels` behind it.

mod batch_norm;
mod block;
mod buffer;
mod cls;
mod gelu;
mod graph;
mod linear;
mod tokens;
mod weights;

use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use msn_kernels::Precision;

use super::BranchFactors;
use crate::{Block, Segments};
pub(super) use batch_norm::batch_norm;
use block::{For, Saved, Shape};
pub(super) use gelu::gelu;
use graph::{Operation, Strategy, apply, contiguous, outside, slice, tensor};
pub(super) use linear::linear;
pub(super) use tokens::tokens;
use weights::{COUNT, Weights};

/// Which tokens a block computes an output for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// All tokens: [N, D].
    All,
    /// The [CLS] of every sequence: [S, D].
    Cls,
}

/// A block on the CPU, or `None` where `x` is not an `f32` tensor of the CPU backend. x: [N, D]
pub(super) fn block(
    x: &Tensor<2>,
    block: &Block,
    segments: &Segments,
    factors: BranchFactors<'_>,
    rows: Rows,
    precision: Precision,
) -> Option<Tensor<2>> {
    let [hidden, dim] = block.mlp.fc1.weight.dims();
    let heads = block.heads;
    let factors = factors.map(|factors| factors.each_ref().map(|branch| per_row(branch, segments, rows)));
    let shape = Shape { dim, hidden, heads, segments: segments.clone(), factors, precision };
    apply(BlockRun { x, block, shape, rows }, x)
}

/// One factor a row of the output, from one a sequence.
fn per_row(factors: &[f32], segments: &Segments, rows: Rows) -> Vec<f32> {
    match rows {
        Rows::Cls => factors.to_vec(),
        Rows::All => segments.per_token(factors),
    }
}

/// A block, about to be computed.
struct BlockRun<'a> {
    x: &'a Tensor<2>,
    block: &'a Block,
    shape: Shape,
    rows: Rows,
}

impl Operation for BlockRun<'_> {
    type Output = Tensor<2>;

    fn outside_graph(self) -> Option<Tensor<2>> {
        let Self { x, block, shape, rows } = self;
        let (vectors, matrices) = weights::parameters(block);
        let parameters = vectors.iter().map(outside).chain(matrices.iter().map(outside));
        let parameters: Vec<FlexTensor> = parameters.collect::<Option<_>>()?;
        let (y, _) = run(&outside(x)?, &parameters, &shape, rows, For::Output);
        Some(Tensor::from_primitive::<Flex>(y))
    }

    fn in_graph<C: Strategy>(self) -> Option<Tensor<2>> {
        let Self { x, block, shape, rows } = self;
        let (vectors, matrices) = weights::parameters(block);
        let (vectors, matrices) = (vectors.map(C::open), matrices.map(C::open));
        let mut nodes = Vec::with_capacity(1 + COUNT);
        let mut inputs = Vec::with_capacity(1 + COUNT);
        for input in std::iter::once(C::open(x.clone())).chain(vectors).chain(matrices) {
            let (primitive, node) = input?.into_parts();
            inputs.push(contiguous(primitive));
            nodes.push(node);
        }
        let x = inputs.remove(0);
        let Ok(nodes) = nodes.try_into() else { unreachable!("one node for the input and one a parameter") };
        let y = match (BlockBackward {}).prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => prep.finish(run(&x, &inputs, &shape, rows, For::Output).0),
            OpsKind::Tracked(prep) => {
                let purpose = if C::RECOMPUTES { For::Output } else { For::Backward };
                let (y, saved) = run(&x, &inputs, &shape, rows, purpose);
                let saved = (!C::RECOMPUTES).then(|| Arc::new(saved));
                prep.finish(State { x, parameters: inputs, shape, rows, saved }, y)
            }
        };
        Some(C::close(y))
    }
}

#[derive(Clone, Debug)]
struct State {
    x: FlexTensor,
    parameters: Vec<FlexTensor>,
    shape: Shape,
    rows: Rows,
    /// `None` where the backward pass is to compute it anew.
    saved: Option<Arc<Saved>>,
}

fn run(
    x: &FlexTensor,
    parameters: &[FlexTensor],
    shape: &Shape,
    rows: Rows,
    purpose: For,
) -> (FlexTensor, Saved) {
    let (y, saved) = block::forward(slice(x), &slices(parameters), shape, rows, purpose);
    let count = y.len() / shape.dim;
    (tensor(y, &[count, shape.dim]), saved)
}

/// Backward pass of a block: its input and its parameters are the parents.
#[derive(Debug)]
struct BlockBackward {}

impl Backward<Flex, { 1 + COUNT }> for BlockBackward {
    type State = State;

    fn backward(self, ops: Ops<State, { 1 + COUNT }>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let State { x, parameters, shape, rows, saved } = ops.state;
        let dy = contiguous(gradients.consume::<Flex>(&ops.node));
        let weights = slices(&parameters);
        let recomputed = || Arc::new(block::recompute(slice(&x), &weights, &shape, rows));
        let saved = saved.unwrap_or_else(recomputed);
        let (dx, by_weight) = block::backward(slice(&x), &weights, &shape, &saved, slice(&dy));
        let inputs = std::iter::once(&x).chain(&parameters);
        let found = std::iter::once(dx).chain(by_weight.0);
        for ((parent, input), gradient) in ops.parents.into_iter().zip(inputs).zip(found) {
            if let Some(parent) = parent {
                gradients.register::<Flex>(parent.id, tensor(gradient, &input.layout().shape().to_vec()));
            }
        }
    }
}

fn slices(parameters: &[FlexTensor]) -> Weights<'_> {
    Weights::new(std::array::from_fn(|index| slice(&parameters[index])))
}
