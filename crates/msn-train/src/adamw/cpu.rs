//! The update on the CPU: one pass over a parameter, its gradient and its moments.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor};
use msn_kernels::AdamW;

/// Whether [`update`] can serve a parameter with this gradient: it is `f32` on the CPU.
pub(super) fn serves(gradient: &Tensor<1>) -> bool {
    gradient.dtype() == DType::F32 && gradient.clone().try_into_primitive::<Flex>().is_ok()
}

/// Value, first and second moment after a step; storage that has no other handle is updated in place.
///
/// # Panics
/// If a tensor is not `f32` on the CPU.
pub(super) fn update(step: &AdamW, gradient: Tensor<1>, tensors: [Tensor<1>; 3]) -> [Tensor<1>; 3] {
    let gradient = primitive(gradient);
    let [mut value, mut first, mut second] = tensors.map(primitive);
    let gradient = gradient.as_slice::<f32>().expect("contiguous f32");
    step.update(value.storage_mut(), gradient, first.storage_mut(), second.storage_mut(), None);
    [value, first, second].map(Tensor::from_primitive::<Flex>)
}

fn primitive(tensor: Tensor<1>) -> FlexTensor {
    let primitive = tensor.try_into_primitive::<Flex>().expect("a tensor on the CPU");
    if primitive.is_contiguous() { primitive } else { primitive.to_contiguous() }
}
