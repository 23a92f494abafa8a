//! Tensors from outside the autodiff graph, brought inside.

use burn::tensor::{GradientCheckpointingStrategy, Tensor};

/// `inner` in the graph of tensors of this strategy: operations refuse to mix strategies, and a tensor that enters the
/// graph has Burn's default.
pub(crate) fn enter<const D: usize>(
    inner: Tensor<D>,
    strategy: Option<GradientCheckpointingStrategy>,
) -> Tensor<D> {
    let tensor = Tensor::from_inner(inner);
    match strategy {
        Some(strategy) => tensor.with_gradient_checkpointing_strategy(strategy),
        None => tensor,
    }
}
