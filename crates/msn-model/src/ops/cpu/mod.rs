//! Blocks on the CPU: one node of the autodiff graph a block, with kernels of `msn-kernels` behind it.

mod block;
mod buffer;
mod weights;

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{
    BalancedCheckpointing, CheckpointStrategy, NoCheckpointing,
};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Bytes, DType, GradientCheckpointingStrategy, Tensor};
use msn_kernels::{MAX_HEAD_DIM, Precision};

use super::BranchFactors;
use crate::{Block, Segments};
use block::{For, Saved, SavedCls, Shape};
use weights::{COUNT, Weights};

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
    match x.device().gradient_checkpointing_strategy() {
        None => outside_graph(x, block, &shape, rows),
        Some(GradientCheckpointingStrategy::Disabled) => in_graph::<NoCheckpointing>(x, block, shape, rows),
        Some(GradientCheckpointingStrategy::Balanced) => {
            in_graph::<BalancedCheckpointing>(x, block, shape, rows)
        }
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

/// A strategy of a graph: what a block keeps for its backward pass, and how tensors of such a graph are opened.
trait Strategy: CheckpointStrategy {
    /// Whether the backward pass computes the activations anew, rather than finding them kept.
    const RECOMPUTES: bool;

    fn open<const D: usize>(tensor: Tensor<D>) -> Option<FloatTensor<Autodiff<Flex>>>;
    fn close(primitive: FloatTensor<Autodiff<Flex>>) -> Tensor<2>;
}

macro_rules! strategy {
    ($strategy:ty, recomputes: $recomputes:literal) => {
        impl Strategy for $strategy {
            const RECOMPUTES: bool = $recomputes;

            fn open<const D: usize>(tensor: Tensor<D>) -> Option<FloatTensor<Autodiff<Flex>>> {
                tensor.try_into_primitive::<Autodiff<Flex, Self>>().ok()
            }

            fn close(primitive: FloatTensor<Autodiff<Flex>>) -> Tensor<2> {
                Tensor::from_primitive::<Autodiff<Flex, Self>>(primitive)
            }
        }
    };
}

strategy!(NoCheckpointing, recomputes: false);
strategy!(BalancedCheckpointing, recomputes: true);

fn outside_graph(x: &Tensor<2>, block: &Block, shape: &Shape, rows: Rows) -> Option<Tensor<2>> {
    let x = contiguous(x.clone().try_into_primitive::<Flex>().ok()?);
    let (vectors, matrices) = weights::parameters(block);
    let vectors = vectors.map(|vector| vector.try_into_primitive::<Flex>());
    let matrices = matrices.map(|matrix| matrix.try_into_primitive::<Flex>());
    let parameters = vectors.into_iter().chain(matrices).map(|p| p.ok().map(contiguous));
    let parameters: Vec<FlexTensor> = parameters.collect::<Option<_>>()?;
    let (y, _) = run(&x, &parameters, shape, rows, For::Output);
    Some(Tensor::from_primitive::<Flex>(y))
}

fn in_graph<C: Strategy>(x: &Tensor<2>, block: &Block, shape: Shape, rows: Rows) -> Option<Tensor<2>> {
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
            let saved = (!C::RECOMPUTES).then_some(saved);
            prep.finish(State { x, parameters: inputs, shape, rows, saved }, y)
        }
    };
    Some(C::close(y))
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
    rows: Rows,
    /// `None` where the backward pass is to compute it anew.
    saved: Option<Kept>,
}

fn run(
    x: &FlexTensor,
    parameters: &[FlexTensor],
    shape: &Shape,
    rows: Rows,
    purpose: For,
) -> (FlexTensor, Kept) {
    let weights = slices(parameters);
    let saved = prepare(x, &weights, shape, rows, purpose);
    let y = match &saved {
        Kept::All(saved) => block::output(saved, &weights, shape),
        Kept::Cls(saved) => block::output_cls(saved, &weights, shape),
    };
    let count = y.len() / shape.dim;
    (tensor(y, &[count, shape.dim]), saved)
}

fn prepare(x: &FlexTensor, weights: &Weights<'_>, shape: &Shape, rows: Rows, purpose: For) -> Kept {
    match rows {
        Rows::All => Kept::All(Arc::new(block::prepare(slice(x), weights, shape, purpose))),
        Rows::Cls => Kept::Cls(Arc::new(block::prepare_cls(slice(x), weights, shape, purpose))),
    }
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
        let saved = saved.unwrap_or_else(|| prepare(&x, &weights, &shape, rows, For::Backward));
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
