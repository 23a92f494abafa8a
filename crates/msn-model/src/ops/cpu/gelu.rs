//! GELU as one node of the autodiff graph.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use msn_kernels::zeros;

use super::graph::{Operation, Strategy, apply, contiguous, outside, slice, tensor};

/// Exact GELU on the CPU, or `None` where `x` is not an `f32` tensor of the CPU backend. x: [N, D] -> [N, D]
pub(in crate::ops) fn gelu(x: &Tensor<2>) -> Option<Tensor<2>> {
    apply(Gelu { x }, x)
}

struct Gelu<'a> {
    x: &'a Tensor<2>,
}

impl Operation for Gelu<'_> {
    type Output = Tensor<2>;

    fn outside_graph(self) -> Option<Tensor<2>> {
        Some(Tensor::from_primitive::<Flex>(forward(&outside(self.x)?)))
    }

    fn in_graph<C: Strategy>(self) -> Option<Tensor<2>> {
        let (x, node) = C::open(self.x.clone())?.into_parts();
        let x = contiguous(x);
        let y = forward(&x);
        Some(C::close(match (GeluBackward {}).prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => prep.finish(y),
            OpsKind::Tracked(prep) => prep.finish(x, y),
        }))
    }
}

fn forward(x: &FlexTensor) -> FlexTensor {
    let mut y = zeros::<f32>(slice(x).len());
    msn_kernels::gelu(slice(x), &mut y[..]);
    tensor(y, &x.layout().shape().to_vec())
}

/// Backward pass: the parent is the argument, which is the state.
#[derive(Debug)]
struct GeluBackward {}

impl Backward<Flex, 1> for GeluBackward {
    type State = FlexTensor;

    fn backward(self, ops: Ops<FlexTensor, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let x = ops.state;
        let dy = contiguous(gradients.consume::<Flex>(&ops.node));
        let [Some(parent)] = ops.parents else { return };
        let mut dx = zeros::<f32>(slice(&x).len());
        msn_kernels::gelu_backward(slice(&x), slice(&dy), &mut dx[..]);
        gradients.register::<Flex>(parent.id, tensor(dx, &x.layout().shape().to_vec()));
    }
}
