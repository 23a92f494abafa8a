//! A linear layer as one node of the autodiff graph.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, GradientCheckpointingStrategy, Tensor};
use msn_kernels::gemm::{Epilogue, TnOptions, nn, nt, tn};
use msn_kernels::{Dims, Precision, zeros};

use super::graph::{Strategy, contiguous, slice, tensor};

/// `x W^T + b` on the CPU, or `None` where `x` is not an `f32` tensor of the CPU backend.
/// x: [N, in], weight: [out, in], bias: [out] -> [N, out]
pub(in crate::ops) fn linear(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    bias: &Tensor<1>,
    precision: Precision,
) -> Option<Tensor<2>> {
    if x.dtype() != DType::F32 {
        return None;
    }
    match x.device().gradient_checkpointing_strategy() {
        None => {
            let [x, weight] = [x, weight].map(|tensor| tensor.clone().try_into_primitive::<Flex>());
            let bias = contiguous(bias.clone().try_into_primitive::<Flex>().ok()?);
            let state = State { x: contiguous(x.ok()?), weight: contiguous(weight.ok()?), precision };
            Some(Tensor::from_primitive::<Flex>(forward(&state, &bias)))
        }
        Some(GradientCheckpointingStrategy::Disabled) => {
            in_graph::<NoCheckpointing>(x, weight, bias, precision)
        }
        Some(GradientCheckpointingStrategy::Balanced) => {
            in_graph::<BalancedCheckpointing>(x, weight, bias, precision)
        }
    }
}

fn in_graph<C: Strategy>(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    bias: &Tensor<1>,
    precision: Precision,
) -> Option<Tensor<2>> {
    let (x, x_node) = C::open(x.clone())?.into_parts();
    let (weight, weight_node) = C::open(weight.clone())?.into_parts();
    let (bias, bias_node) = C::open(bias.clone())?.into_parts();
    let state = State { x: contiguous(x), weight: contiguous(weight), precision };
    let y = forward(&state, &contiguous(bias));
    let node = (LinearBackward {}).prepare::<C>([x_node, weight_node, bias_node]).compute_bound().stateful();
    Some(C::close(match node {
        OpsKind::UnTracked(prep) => prep.finish(y),
        OpsKind::Tracked(prep) => prep.finish(state, y),
    }))
}

#[derive(Clone, Debug)]
struct State {
    /// [N, in]
    x: FlexTensor,
    /// [out, in]
    weight: FlexTensor,
    precision: Precision,
}

impl State {
    /// N, in, out.
    fn sizes(&self) -> [usize; 3] {
        let ([rows, inputs], [outputs, _]) =
            (self.x.layout().shape().dims(), self.weight.layout().shape().dims());
        [rows, inputs, outputs]
    }
}

fn forward(state: &State, bias: &FlexTensor) -> FlexTensor {
    let [rows, inputs, outputs] = state.sizes();
    let mut y = zeros(rows * outputs);
    let dims = Dims { m: rows, n: outputs, k: inputs };
    let store = Epilogue::bias(slice(bias), &mut y[..]);
    nt(state.precision, dims, slice(&state.x), slice(&state.weight), store);
    tensor(y, &[rows, outputs])
}

/// Backward pass: the parents are the input, the weight and the bias.
#[derive(Debug)]
struct LinearBackward {}

impl Backward<Flex, 3> for LinearBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let state = ops.state;
        let dy = contiguous(gradients.consume::<Flex>(&ops.node));
        let [rows, inputs, outputs] = state.sizes();
        let [x_parent, weight_parent, bias_parent] = ops.parents;
        if let Some(parent) = x_parent {
            let mut dx = zeros(rows * inputs);
            let dims = Dims { m: rows, n: inputs, k: outputs };
            nn(state.precision, dims, slice(&dy), slice(&state.weight), Epilogue::store(&mut dx[..]));
            gradients.register::<Flex>(parent.id, tensor(dx, &[rows, inputs]));
        }
        let (mut d_weight, mut d_bias) = (zeros(outputs * inputs), zeros(outputs));
        let dims = Dims { m: outputs, n: inputs, k: rows };
        let options = TnOptions { column_sums: Some(&mut d_bias), ..Default::default() };
        tn(state.precision, dims, slice(&dy), slice(&state.x), options, &mut d_weight);
        if let Some(parent) = weight_parent {
            gradients.register::<Flex>(parent.id, tensor(d_weight, &[outputs, inputs]));
        }
        if let Some(parent) = bias_parent {
            gradients.register::<Flex>(parent.id, tensor(d_bias, &[outputs]));
        }
    }
}
