//! Batch norm as one node of the autodiff graph.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, TensorData};
use msn_kernels::{BatchNorm, zeros};

use super::graph::{Operation, Strategy, apply, contiguous, outside, slice, tensor};
use crate::ops::{BATCH_NORM_EPS, Statistics};

/// Batch norm of each group of consecutive rows on the CPU, and the statistics of each; `None` where `x` is not an `f32`
/// tensor of the CPU backend. x: [N, C], weight, bias: [C] -> [N, C]
pub(in crate::ops) fn batch_norm(
    x: &Tensor<2>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    groups: &[usize],
) -> Option<(Tensor<2>, Vec<Statistics>)> {
    let (y, statistics) = apply(Run { x, weight, bias, groups }, x)?;
    let ([_, channels], device) = (x.dims(), x.device());
    let row = |row: &[f32]| Tensor::from_data(TensorData::new(row.to_vec(), [channels]), &device);
    let group = |group: &[f32]| {
        let (mean, variance) = group.split_at(channels);
        Statistics { mean: row(mean), variance: row(variance) }
    };
    Some((y, statistics.chunks_exact(2 * channels).map(group).collect()))
}

/// A batch norm, about to be computed.
struct Run<'a> {
    x: &'a Tensor<2>,
    weight: &'a Tensor<1>,
    bias: &'a Tensor<1>,
    groups: &'a [usize],
}

impl Operation for Run<'_> {
    /// The result, and mean and variance of each group: [G, 2, C].
    type Output = (Tensor<2>, Vec<f32>);

    fn outside_graph(self) -> Option<Self::Output> {
        let (x, weight, bias) = (outside(self.x)?, outside(self.weight)?, outside(self.bias)?);
        let (y, statistics) = forward(&x, &weight, &bias, self.groups);
        Some((Tensor::from_primitive::<Flex>(y), statistics))
    }

    fn in_graph<C: Strategy>(self) -> Option<Self::Output> {
        let (x, x_node) = C::open(self.x.clone())?.into_parts();
        let (weight, weight_node) = C::open(self.weight.clone())?.into_parts();
        let (bias, bias_node) = C::open(self.bias.clone())?.into_parts();
        let (x, weight) = (contiguous(x), contiguous(weight));
        let (y, statistics) = forward(&x, &weight, &contiguous(bias), self.groups);
        let node = (BatchNormBackward {}).prepare::<C>([x_node, weight_node, bias_node]);
        let y = C::close(match node.compute_bound().stateful() {
            OpsKind::UnTracked(prep) => prep.finish(y),
            OpsKind::Tracked(prep) => {
                let (groups, statistics) = (self.groups.to_vec(), statistics.clone());
                prep.finish(State { x, weight, groups, statistics }, y)
            }
        });
        Some((y, statistics))
    }
}

fn norm(groups: &[usize], channels: usize) -> BatchNorm<'_> {
    BatchNorm { groups, channels, eps: BATCH_NORM_EPS as f32 }
}

/// x: [N, C], weight, bias: [C] -> [N, C], and the statistics [G, 2, C]
fn forward(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    groups: &[usize],
) -> (FlexTensor, Vec<f32>) {
    let [rows, channels] = x.layout().shape().dims();
    let (mut y, mut statistics) = (zeros(rows * channels), zeros(groups.len() * 2 * channels));
    norm(groups, channels).forward(slice(x), slice(weight), slice(bias), &mut y, &mut statistics);
    (tensor(y, &[rows, channels]), statistics)
}

#[derive(Clone, Debug)]
struct State {
    /// [N, C]
    x: FlexTensor,
    /// [C]
    weight: FlexTensor,
    groups: Vec<usize>,
    /// Mean and variance of each group: [G, 2, C].
    statistics: Vec<f32>,
}

/// Backward pass: the parents are the input, the weight and the bias.
#[derive(Debug)]
struct BatchNormBackward {}

impl Backward<Flex, 3> for BatchNormBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let State { x, weight, groups, statistics } = ops.state;
        let dy = contiguous(gradients.consume::<Flex>(&ops.node));
        let [rows, channels] = x.layout().shape().dims();
        let mut found = [zeros(rows * channels), zeros(channels), zeros(channels)];
        let [dx, d_weight, d_bias] = &mut found;
        let (x, weight, dy) = (slice(&x), slice(&weight), slice(&dy));
        norm(&groups, channels).backward(x, weight, &statistics, dy, dx, d_weight, d_bias);
        let shapes = [&[rows, channels][..], &[channels], &[channels]];
        for ((parent, gradient), shape) in ops.parents.into_iter().zip(found).zip(shapes) {
            if let Some(parent) = parent {
                gradients.register::<Flex>(parent.id, tensor(gradient, shape));
            }
        }
    }
}
