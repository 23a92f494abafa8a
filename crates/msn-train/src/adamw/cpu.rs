//! The update on the CPU: one pass over a parameter, its gradient, its moments and its moving average.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor};
use msn_kernels::{AdamW, Ema};

use super::Average;

/// Whether [`update`] can serve a parameter with this gradient: it is `f32` on the CPU.
pub(super) fn serves(gradient: &Tensor<1>) -> bool {
    gradient.dtype() == DType::F32 && gradient.clone().try_into_primitive::<Flex>().is_ok()
}

/// Value, first and second moment, and the average after a step; storage that has no other handle is updated in place.
///
/// # Panics
/// If a tensor is not `f32` on the CPU.
pub(super) fn update(
    step: &AdamW,
    gradient: Tensor<1>,
    tensors: [Tensor<1>; 3],
    average: Option<Average>,
) -> ([Tensor<1>; 3], Option<Tensor<1>>) {
    let gradient = primitive(gradient);
    let gradient = gradient.as_slice::<f32>().expect("contiguous f32");
    let [mut value, mut first, mut second] = tensors.map(primitive);
    let (momentum, mut average) =
        average.map(|Average { momentum, value }| (momentum, primitive(value))).unzip();
    let ema = momentum
        .zip(average.as_mut())
        .map(|(momentum, average)| Ema { momentum, average: average.storage_mut() });
    step.update(value.storage_mut(), gradient, first.storage_mut(), second.storage_mut(), ema);
    let tensor = Tensor::from_primitive::<Flex>;
    ([value, first, second].map(tensor), average.map(tensor))
}

/// The sum of the squares of the elements.
///
/// # Panics
/// If the tensor is not `f32` on the CPU.
pub(super) fn sum_of_squares(tensor: Tensor<1>) -> f64 {
    msn_kernels::sum_of_squares(primitive(tensor).as_slice::<f32>().expect("contiguous f32"))
}

fn primitive(tensor: Tensor<1>) -> FlexTensor {
    let primitive = tensor.try_into_primitive::<Flex>().expect("a tensor on the CPU");
    if primitive.is_contiguous() { primitive } else { primitive.to_contiguous() }
}
