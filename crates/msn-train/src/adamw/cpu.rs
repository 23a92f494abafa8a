//! The update on the CPU: one pass over a parameter, its gradient and its moments.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor};
use msn_kernels::AdamW;

/// Value, first and second moment after a step, or what was given where it is not `f32` on the CPU.
pub(super) fn update(
    step: &AdamW,
    gradient: &Tensor<1>,
    tensors: [Tensor<1>; 3],
) -> Result<[Tensor<1>; 3], [Tensor<1>; 3]> {
    let Some(gradient) = primitive(gradient.clone()) else { return Err(tensors) };
    let [Some(mut value), Some(mut first), Some(mut second)] = tensors.clone().map(primitive) else {
        return Err(tensors);
    };
    // With the last other handle gone, the storage is updated in place.
    drop(tensors);
    let gradient = gradient.as_slice::<f32>().expect("contiguous f32");
    step.update(value.storage_mut(), gradient, first.storage_mut(), second.storage_mut(), None);
    Ok([value, first, second].map(Tensor::from_primitive::<Flex>))
}

fn primitive(tensor: Tensor<1>) -> Option<FlexTensor> {
    if tensor.dtype() != DType::F32 {
        return None;
    }
    let primitive = tensor.try_into_primitive::<Flex>().ok()?;
    Some(if primitive.is_contiguous() { primitive } else { primitive.to_contiguous() })
}
