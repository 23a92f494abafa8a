//! Blocks on the CPU: one node of the autodiff graph a block, with kernels of `msn-kernels` behind it.

mod block;
mod buffer;
mod weights;

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Bytes, DType, Tensor};
use msn_kernels::{MAX_HEAD_DIM, Precision};

use super::BranchFactors;
use crate::{Block, Segments};
use block::{Saved, SavedCls, Shape};
use weights::{COUNT, Weights};

/// A tensor of the CPU backend inside the autodiff graph.
type Graph = Autodiff<Flex, NoCheckpointing>;

/// Which tokens a block computes an output for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// All tokens: [N, D].
    All,
    /// The [CLS] of every sequence: [S, D].
    Cls,
}

/// A block on the CPU, or `None` where `x` is not an `f32` tensor of the CPU backend, or a head larger than kernels
/// take. x: [N, D]
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
    if x.dtype() != DType::F32 || dim / heads > MAX_HEAD_DIM {
        return None;
    }
    let factors = factors.map(|factors| factors.each_ref().map(|branch| per_row(branch, segments, rows)));
    let shape = Shape { dim, hidden, heads, segments: segments.clone(), factors, precision };
    if x.device().is_autodiff() {
        in_graph(x, block, shape, rows)
    } else {
        outside_graph(x, block, &shape, rows)
    }
}

/// One factor a row of the output, from one a sequence.
fn per_row(factors: &[f32], segments: &Segments, rows: Rows) -> Vec<f32> {
    match rows {
        Rows::Cls => factors.to_vec(),
        Rows::All => {
            let repeat = |(factor, length): (&f32, usize)| std::iter::repeat_n(*factor, length);
            factors.iter().zip(segments.lengths()).flat_map(repeat).collect()
        }
    }
}

fn outside_graph(x: &Tensor<2>, block: &Block, shape: &Shape, rows: Rows) -> Option<Tensor<2>> {
    let x = contiguous(x.clone().try_into_primitive::<Flex>().ok()?);
    let (vectors, matrices) = weights::parameters(block);
    let vectors = vectors.map(|vector| vector.try_into_primitive::<Flex>());
    let matrices = matrices.map(|matrix| matrix.try_into_primitive::<Flex>());
    let parameters = vectors.into_iter().chain(matrices).map(|p| p.ok().map(contiguous));
    let parameters: Vec<FlexTensor> = parameters.collect::<Option<_>>()?;
    let (y, _) = run(&x, &parameters, shape, rows);
    Some(Tensor::from_primitive::<Flex>(y))
}

fn in_graph(x: &Tensor<2>, block: &Block, shape: Shape, rows: Rows) -> Option<Tensor<2>> {
    let (vectors, matrices) = weights::parameters(block);
    let vectors = vectors.map(|vector| vector.try_into_primitive::<Graph>());
    let matrices = matrices.map(|matrix| matrix.try_into_primitive::<Graph>());
    let mut nodes = Vec::with_capacity(1 + COUNT);
    let mut inputs = Vec::with_capacity(1 + COUNT);
    let x = x.clone().try_into_primitive::<Graph>();
    for input in std::iter::once(x).chain(vectors).chain(matrices) {
        let (primitive, node) = input.ok()?.into_parts();
        inputs.push(contiguous(primitive));
        nodes.push(node);
    }
    let x = inputs.remove(0);
    let Ok(nodes) = nodes.try_into() else { unreachable!("one node for the input and one a parameter") };
    let y = match (BlockBackward {}).prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::UnTracked(prep) => prep.finish(run(&x, &inputs, &shape, rows).0),
        OpsKind::Tracked(prep) => {
            let (y, saved) = run(&x, &inputs, &shape, rows);
            prep.finish(State { x, parameters: inputs, shape, saved }, y)
        }
    };
    Some(Tensor::from_primitive::<Graph>(y))
}

/// What a forward pass leaves for the backward pass.
#[derive(Clone, Debug)]
enum Kept {
    All(Arc<Saved>),
    Cls(Arc<SavedCls>),
}

#[derive(Clone, Debug)]
struct State {
    x: FlexTensor,
    parameters: Vec<FlexTensor>,
    shape: Shape,
    saved: Kept,
}

fn run(x: &FlexTensor, parameters: &[FlexTensor], shape: &Shape, rows: Rows) -> (FlexTensor, Kept) {
    let weights = slices(parameters);
    let (y, saved) = match rows {
        Rows::All => {
            let (y, saved) = block::forward(slice(x), &weights, shape);
            (y, Kept::All(Arc::new(saved)))
        }
        Rows::Cls => {
            let (y, saved) = block::forward_cls(slice(x), &weights, shape);
            (y, Kept::Cls(Arc::new(saved)))
        }
    };
    let count = y.len() / shape.dim;
    (tensor(y, &[count, shape.dim]), saved)
}

/// Backward pass of a block: its input and its parameters are the parents.
#[derive(Debug)]
struct BlockBackward {}

impl Backward<Flex, { 1 + COUNT }> for BlockBackward {
    type State = State;

    fn backward(self, ops: Ops<State, { 1 + COUNT }>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let State { x, parameters, shape, saved } = ops.state;
        let dy = contiguous(gradients.consume::<Flex>(&ops.node));
        let weights = slices(&parameters);
        let (dx, by_weight) = match saved {
            Kept::All(saved) => block::backward(slice(&x), &weights, &shape, &saved, slice(&dy)),
            Kept::Cls(saved) => block::backward_cls(slice(&x), &weights, &shape, &saved, slice(&dy)),
        };
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

fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().expect("contiguous f32")
}

fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

fn tensor(data: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(data), Layout::contiguous(shape.to_vec().into()), DType::F32)
}
