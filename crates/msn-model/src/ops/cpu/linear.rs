//! A linear layer as one node of the autodiff graph.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use msn_kernels::gemm::{Epilogue, TnOptions, nn, nt, tn};
use msn_kernels::{Dims, Precision, zeros};

use super::graph::{Operation, Strategy, apply, contiguous, outside, slice, tensor};

/// `x W^T + b` on the CPU, or `None` where `x` is not an `f32` tensor of the CPU backend.
/// x: [N, in], weight: [out, in], bias: [out] -> [N, out]
pub(in crate::ops) fn linear(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    bias: &Tensor<1>,
    precision: Precision,
) -> Option<Tensor<2>> {
    apply(Linear { x, weight, bias, precision }, x)
}

struct Linear<'a> {
    x: &'a Tensor<2>,
    weight: &'a Tensor<2>,
    bias: &'a Tensor<1>,
    precision: Precision,
}

impl Operation for Linear<'_> {
    type Output = Tensor<2>;

    fn outside_graph(self) -> Option<Tensor<2>> {
        let bias = outside(self.bias)?;
        let state = State { x: outside(self.x)?, weight: outside(self.weight)?, precision: self.precision };
        Some(Tensor::from_primitive::<Flex>(forward(&state, &bias)))
    }

    fn in_graph<C: Strategy>(self) -> Option<Tensor<2>> {
        let (x, x_node) = C::open(self.x.clone())?.into_parts();
        let (weight, weight_node) = C::open(self.weight.clone())?.into_parts();
        let (bias, bias_node) = C::open(self.bias.clone())?.into_parts();
        let state = State { x: contiguous(x), weight: contiguous(weight), precision: self.precision };
        let y = forward(&state, &contiguous(bias));
        let node = (LinearBackward {}).prepare::<C>([x_node, weight_node, bias_node]);
        Some(C::close(match node.compute_bound().stateful() {
            OpsKind::UnTracked(prep) => prep.finish(y),
            OpsKind::Tracked(prep) => prep.finish(state, y),
        }))
    }
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
