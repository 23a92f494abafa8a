use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::init::Init;
use crate::layers::INIT_STD;
use crate::ops::Statistics;
use crate::{HeadConfig, Linear, Path, ops};

/// Share of the newest batch in the running statistics, as in PyTorch.
const BATCH_NORM_MOMENTUM: f64 = 0.1;

/// Batch norm over the rows of a matrix, normalising by the batch's own statistics.
///
/// Running statistics are kept for those who use the head after training; MSN itself never reads them.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// [C]
    pub weight: Param<Tensor<1>>,
    /// [C]
    pub bias: Param<Tensor<1>>,
    /// [C], not trained.
    pub running_mean: Param<Tensor<1>>,
    /// [C], of the unbiased variance, not trained.
    pub running_var: Param<Tensor<1>>,
}

impl BatchNorm {
    fn new(channels: usize, init: &Init<'_>) -> Self {
        Self {
            weight: init.constant([channels], 1.0),
            bias: init.constant([channels], 0.0),
            running_mean: init.constant([channels], 0.0).set_require_grad(false),
            running_var: init.constant([channels], 1.0).set_require_grad(false),
        }
    }

    /// Each of `groups` of consecutive rows by its own statistics, by which the running ones are updated in turn.
    /// x: [N, C] -> [N, C]
    fn forward(&mut self, x: Tensor<2>, groups: &[usize], path: Path) -> Tensor<2> {
        let (y, statistics) = ops::batch_norm(x, self.weight.val(), self.bias.val(), groups, path);
        for (Statistics { mean, variance }, &rows) in statistics.into_iter().zip(groups) {
            // With one row the unbiased variance is 0/0; the biased one, 0, is kept in its place.
            let unbias = rows as f64 / (rows.max(2) - 1) as f64;
            self.running_mean = update(&self.running_mean, mean);
            self.running_var = update(&self.running_var, variance.mul_scalar(unbias));
        }
        y
    }
}

fn update(running: &Param<Tensor<1>>, newest: Tensor<1>) -> Param<Tensor<1>> {
    let newest = newest.mul_scalar(BATCH_NORM_MOMENTUM);
    running.clone().map(|old| (old * (1.0 - BATCH_NORM_MOMENTUM) + newest).detach())
}

/// How the names of the head's tensors begin in the state of an encoder.
pub const HEAD_PREFIX: &str = "fc.";

/// Three linear layers with GELU, and batch norm if configured, between them: [CLS] to the projection that is
/// compared with the prototypes.
#[derive(Module, Debug)]
pub struct ProjectionHead {
    /// [hidden, D]
    pub fc1: Linear,
    /// After `fc1`.
    pub bn1: Option<BatchNorm>,
    /// [hidden, hidden]
    pub fc2: Linear,
    /// After `fc2`.
    pub bn2: Option<BatchNorm>,
    /// [output, hidden]
    pub fc3: Linear,
}

impl ProjectionHead {
    pub(crate) fn new(dim: usize, config: &HeadConfig, init: &mut Init<'_>) -> Self {
        let (hidden, output) = (config.hidden_dim, config.output_dim);
        let batch_norm = |init: &Init<'_>| config.batch_norm.then(|| BatchNorm::new(hidden, init));
        Self {
            fc1: Linear::new(dim, hidden, INIT_STD, init),
            bn1: batch_norm(init),
            fc2: Linear::new(hidden, hidden, INIT_STD, init),
            bn2: batch_norm(init),
            fc3: Linear::new(hidden, output, INIT_STD, init),
        }
    }

    /// x: [S, D] -> [S, output]
    ///
    /// `groups` are the numbers of consecutive rows that batch norm treats as separate batches: MSN normalises
    /// large and focal views apart.
    ///
    /// # Panics
    /// If the groups do not add up to S, or one of them is empty.
    pub fn forward(&mut self, x: Tensor<2>, groups: &[usize], path: Path) -> Tensor<2> {
        let x = hidden(&self.fc1, self.bn1.as_mut(), x, groups, path);
        let x = hidden(&self.fc2, self.bn2.as_mut(), x, groups, path);
        self.fc3.forward(x, path)
    }
}

/// Linear, batch norm by groups, GELU. x: [S, in] -> [S, hidden]
fn hidden(
    linear: &Linear,
    norm: Option<&mut BatchNorm>,
    x: Tensor<2>,
    groups: &[usize],
    path: Path,
) -> Tensor<2> {
    let [rows, _] = x.dims();
    assert_eq!(groups.iter().sum::<usize>(), rows, "ProjectionHead: groups {groups:?} of {rows} rows");
    assert!(!groups.contains(&0), "ProjectionHead: an empty group in {groups:?}");
    let Some(norm) = norm else { return ops::gelu(linear.forward(x, path), path) };
    // Batch norm subtracts the linear layer's bias again, so the bias has no gradient; detached, it gets none
    // instead of rounding noise, which Adam would blow up to full steps.
    let x = linear.forward_with_frozen_bias(x, path);
    ops::gelu(norm.forward(x, groups, path), path)
}
