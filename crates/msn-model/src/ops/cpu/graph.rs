//! Between Burn's tensors and graphs on one side and slices on the other.

use burn::backend::autodiff::checkpoint::strategy::{
    BalancedCheckpointing, CheckpointStrategy, NoCheckpointing,
};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Bytes, DType, GradientCheckpointingStrategy, Tensor};

/// A strategy of a graph: what a block keeps for its backward pass, and how tensors of such a graph are opened.
pub(super) trait Strategy: CheckpointStrategy {
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

/// Something that kernels compute, on tensors outside a graph or as one node of a graph; `None` where one of the tensors
/// is of another backend.
pub(super) trait Operation {
    type Output;

    fn outside_graph(self) -> Option<Self::Output>;
    fn in_graph<C: Strategy>(self) -> Option<Self::Output>;
}

/// The operation in the graph that `x`, one of its tensors, belongs to; `None` where `x` is not an `f32` tensor of the CPU
/// backend.
pub(super) fn apply<O: Operation>(operation: O, x: &Tensor<2>) -> Option<O::Output> {
    if x.dtype() != DType::F32 {
        return None;
    }
    match x.device().gradient_checkpointing_strategy() {
        None => operation.outside_graph(),
        Some(GradientCheckpointingStrategy::Disabled) => operation.in_graph::<NoCheckpointing>(),
        Some(GradientCheckpointingStrategy::Balanced) => operation.in_graph::<BalancedCheckpointing>(),
    }
}

/// A contiguous tensor outside a graph; `None` if it is of another backend.
pub(super) fn outside<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    tensor.clone().try_into_primitive::<Flex>().ok().map(contiguous)
}

pub(super) fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().expect("contiguous f32")
}

pub(super) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

pub(super) fn tensor(data: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(data), Layout::contiguous(shape.to_vec().into()), DType::F32)
}
