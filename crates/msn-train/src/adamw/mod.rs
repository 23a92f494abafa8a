//! AdamW with one weight decay for matrices and none for biases and norms, unless groups say otherwise.

mod average;
mod cpu;
mod group;

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use msn_model::{Array, StateDict, host_array};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use average::Averages;
pub use group::Group;

use crate::graph::enter;

/// What of AdamW does not change from step to step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamWConfig {
    /// Share that the first and the second moment keep at each step, [0, 1).
    pub betas: [f64; 2],
    /// Added to the root of the second moment, > 0.
    pub eps: f64,
}

/// A state that has only one of the two moments of this parameter, or two of different lengths.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected two moments of `{0}`, of the same length, found one, or two that differ")]
pub struct UnpairedMoment(pub String);

/// AdamW (Loshchilov and Hutter, 2019) as PyTorch computes it.
///
/// Weight decay applies to parameters of two dimensions or more; biases, norms and other vectors have none. Parameters
/// that are to be treated otherwise get a [`Group`].
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    steps: u64,
    moments: BTreeMap<String, Moments>,
    /// By name of the parameter; others have the default of their rank.
    groups: BTreeMap<String, Group>,
}

/// Running means of a parameter's gradient and of its square, flattened.
#[derive(Debug)]
struct Moments {
    first: Tensor<1>,
    second: Tensor<1>,
}

/// What one step applies to all parameters of a module.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// Learning rate, at least 0; a group scales it.
    pub lr: f64,
    /// Weight decay, decoupled, at least 0.
    pub weight_decay: f64,
    /// Factor of the gradients, below 1 where they are clipped.
    pub gradient_scale: f64,
}

impl AdamW {
    /// An optimizer that has seen no step.
    pub fn new(config: AdamWConfig) -> Self {
        Self { config, steps: 0, moments: BTreeMap::new(), groups: BTreeMap::new() }
    }

    /// The optimizer with these groups, by name of the parameter, such as `blocks.0.attn.qkv.weight`. A name that no
    /// module has is without effect.
    pub fn with_groups(self, groups: BTreeMap<String, Group>) -> Self {
        Self { groups, ..self }
    }

    /// The module after one step. Parameters without a gradient stay as they are; gradients are consumed.
    ///
    /// Storage of the module that has no other handle, such as a clone of the module, is updated in place.
    pub fn step<M: Module>(&mut self, module: M, gradients: &mut Gradients, update: Update) -> M {
        self.steps += 1;
        module.map(&mut Apply { optimizer: self, gradients, update, averages: None, path: Vec::new() })
    }

    /// [`AdamW::step`] of the module, and with each parameter the step of `average`, a momentum encoder:
    /// `average = momentum * average + (1 - momentum) * parameter`. Untrained values (running statistics of batch
    /// norm) are left alone: each module has its own.
    ///
    /// # Panics
    /// If the two modules do not have the same parameters in the same order.
    pub fn step_and_average<M: Module>(
        &mut self,
        module: M,
        average: M,
        momentum: f64,
        gradients: &mut Gradients,
        update: Update,
    ) -> (M, M) {
        self.steps += 1;
        let (shell, averages) = Averages::take(average, momentum);
        let averages = Some(averages);
        let mut apply = Apply { optimizer: self, gradients, update, averages, path: Vec::new() };
        let module = module.map(&mut apply);
        let average = apply.averages.expect("given above").put_back(shell);
        (module, average)
    }

    /// Moments by name: `first.NAME` and `second.NAME`.
    pub fn state(&self) -> StateDict {
        let mut state = StateDict::new();
        for (name, moments) in &self.moments {
            state.insert(format!("first.{name}"), host_array(moments.first.clone()));
            state.insert(format!("second.{name}"), host_array(moments.second.clone()));
        }
        state
    }

    /// Number of steps done.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The optimizer after so many steps with a state by [`state`](Self::state).
    ///
    /// # Errors
    /// [`UnpairedMoment`].
    pub fn restore(
        config: AdamWConfig,
        steps: u64,
        mut state: StateDict,
        device: &Device,
    ) -> Result<Self, UnpairedMoment> {
        let vector = |array: Array| {
            let length = array.data.len();
            Tensor::<1>::from_data(TensorData::new(array.data, [length]), device)
        };
        let mut moments = BTreeMap::new();
        while let Some((name, array)) = state.pop_first() {
            let parameter = name
                .strip_prefix("first.")
                .ok_or_else(|| UnpairedMoment(name.strip_prefix("second.").unwrap_or(&name).to_owned()))?;
            let second = state.remove(&format!("second.{parameter}"));
            let second = second.filter(|second| second.data.len() == array.data.len());
            let second = second.ok_or_else(|| UnpairedMoment(parameter.to_owned()))?;
            moments.insert(parameter.to_owned(), Moments { first: vector(array), second: vector(second) });
        }
        Ok(Self { config, steps, moments, groups: BTreeMap::new() })
    }

    /// The parameter and its average after this step. All are flattened and outside the graph.
    fn apply(
        &mut self,
        name: String,
        value: Tensor<1>,
        gradient: Tensor<1>,
        group: Group,
        update: Update,
        average: Option<Average>,
    ) -> (Tensor<1>, Option<Tensor<1>>) {
        let Moments { first, second } = self.moments.remove(&name).unwrap_or_else(|| {
            let zeros = || Tensor::zeros(gradient.shape(), &gradient.device());
            Moments { first: zeros(), second: zeros() }
        });
        let [beta1, beta2] = self.config.betas;
        let step = msn_kernels::AdamW {
            lr: update.lr * group.lr_scale,
            beta1,
            beta2,
            eps: self.config.eps,
            weight_decay: if group.decay { update.weight_decay } else { 0.0 },
            step: self.steps,
            grad_scale: update.gradient_scale,
        };
        let update = if cpu::serves(&gradient) { cpu::update } else { plain_update };
        let ([value, first, second], average) = update(&step, gradient, [value, first, second], average);
        self.moments.insert(name, Moments { first, second });
        (value, average)
    }
}

/// The moving average of a parameter before a step.
#[derive(Clone, Debug)]
struct Average {
    /// Share that stays.
    momentum: f64,
    value: Tensor<1>,
}

impl Average {
    /// The average after a step that gave `parameter`. In this form equal values stay equal, whatever the rounding.
    fn moved_towards(self, parameter: Tensor<1>) -> Tensor<1> {
        self.value.clone() + (parameter - self.value) * (1.0 - self.momentum)
    }
}

/// The update in tensor operations: any device, and the twin of the fast path.
fn plain_update(
    step: &msn_kernels::AdamW,
    gradient: Tensor<1>,
    tensors: [Tensor<1>; 3],
    average: Option<Average>,
) -> ([Tensor<1>; 3], Option<Tensor<1>>) {
    let [value, first, second] = tensors;
    let gradient = gradient * step.grad_scale;
    let square = gradient.clone() * gradient.clone();
    let first = first * step.beta1 + gradient * (1.0 - step.beta1);
    let second = second * step.beta2 + square * (1.0 - step.beta2);
    let correction = |beta: f64| 1.0 - beta.powf(step.step as f64);
    let denominator = second.clone().sqrt() / correction(step.beta2).sqrt() + step.eps;
    let change = first.clone() / denominator * (step.lr / correction(step.beta1));
    let value = value * (1.0 - step.lr * step.weight_decay) - change;
    let average = average.map(|average| average.moved_towards(value.clone()));
    ([value, first, second], average)
}

struct Apply<'a> {
    optimizer: &'a mut AdamW,
    gradients: &'a mut Gradients,
    update: Update,
    averages: Option<Averages>,
    path: Vec<String>,
}

impl ModuleMapper for Apply<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let gradient = param.val().grad_remove(self.gradients);
        let trained = param.is_require_grad();
        let average = self.averages.as_mut().map(Averages::next);
        let Some(gradient) = gradient else {
            if let (Some(averages), Some(average)) = (&mut self.averages, average) {
                averages.done(if trained {
                    average.moved_towards(average::flat(param.val()))
                } else {
                    average.value
                });
            }
            return param;
        };
        param.map(|value| {
            let shape = value.dims();
            let count = shape.iter().product::<usize>();
            let strategy = value.gradient_checkpointing_strategy();
            let value = value.inner().reshape([count]);
            let gradient = gradient.reshape([count]);
            let name = self.path.join(".");
            let group = self.optimizer.groups.get(&name).copied().unwrap_or(Group::of_rank(D));
            let (new, average) = self.optimizer.apply(name, value, gradient, group, self.update, average);
            if let (Some(averages), Some(average)) = (&mut self.averages, average) {
                averages.done(average);
            }
            enter(new.reshape(shape), strategy).require_grad()
        })
    }
}

/// Factor that brings gradients of this norm to a norm of at most `most`, which 0 leaves unbounded.
pub fn clip_scale(most: f64, norm: f64) -> f64 {
    // As PyTorch clips: 1e-6 keeps the quotient finite.
    if most > 0.0 { (most / (norm + 1e-6)).min(1.0) } else { 1.0 }
}

/// The L2 norm of all gradients of a module's parameters.
pub fn gradient_norm<M: Module>(module: &M, gradients: &Gradients) -> f64 {
    struct Norm<'a> {
        gradients: &'a Gradients,
        /// Of the parameters that the CPU's kernels serve.
        sum: f64,
        /// Of the others, on their device.
        squares: Vec<Tensor<1>>,
    }
    impl ModuleVisitor for Norm<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Some(gradient) = param.val().grad(self.gradients) else { return };
            let gradient = average::flat(gradient);
            if cpu::serves(&gradient) {
                self.sum += cpu::sum_of_squares(gradient);
            } else {
                self.squares.push(gradient.powi_scalar(2).sum());
            }
        }
    }
    let mut norm = Norm { gradients, sum: 0.0, squares: Vec::new() };
    module.visit(&mut norm);
    if norm.squares.is_empty() {
        return norm.sum.sqrt();
    }
    let squares = Tensor::cat(norm.squares, 0).into_data().convert::<f64>();
    let others: f64 = squares.try_to_vec::<f64>().expect("converted to f64").iter().sum();
    (norm.sum + others).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use msn_model::{Prototypes, state_dict};

    const CONFIG: AdamWConfig = AdamWConfig { betas: [0.9, 0.999], eps: 1e-8 };
    const UPDATE: Update = Update { lr: 0.1, weight_decay: 0.5, gradient_scale: 1.0 };

    fn step(module: Prototypes, optimizer: &mut AdamW) -> Prototypes {
        let mut gradients = module.weight.val().powi_scalar(2).sum().backward();
        optimizer.step(module, &mut gradients, UPDATE)
    }

    #[test]
    fn the_first_step_decays_and_then_moves_by_the_learning_rate() {
        let device = Device::flex().autodiff();
        let module = Prototypes::new(2, 3, 1, &device);
        let before = state_dict(&module)["weight"].data.clone();
        let after = state_dict(&step(module, &mut AdamW::new(CONFIG)))["weight"].data.clone();
        for (before, after) in before.iter().zip(after) {
            // m / sqrt(v) is the gradient's sign at the first step.
            let expected = before * (1.0 - 0.1 * 0.5) - 0.1 * before.signum();
            assert!((after - expected).abs() < 1e-6, "{after}, expected {expected}");
        }
    }

    #[test]
    fn a_group_scales_the_learning_rate_and_decides_on_the_decay() {
        let device = Device::flex().autodiff();
        let module = Prototypes::new(2, 3, 1, &device);
        let before = state_dict(&module)["weight"].data.clone();
        let group = |group| AdamW::new(CONFIG).with_groups(BTreeMap::from([("weight".to_owned(), group)]));
        for (lr_scale, decay) in [(0.25, true), (0.25, false), (0.0, true)] {
            let after = step(module.clone(), &mut group(Group { lr_scale, decay }));
            for (before, after) in before.iter().zip(&state_dict(&after)["weight"].data) {
                // A rate of 0.1 * lr_scale, which the decay of 0.5 is multiplied by as well, and a first step of one
                // rate.
                let rate = 0.1 * lr_scale as f32;
                let kept = if decay { 1.0 - rate * 0.5 } else { 1.0 };
                let expected = before * kept - rate * before.signum();
                assert!((after - expected).abs() < 1e-6, "{after}, expected {expected}");
            }
        }
    }

    #[test]
    fn the_fast_update_equals_the_plain_one() {
        let device = Device::flex();
        let tensor = |offset: usize| {
            let data: Vec<f32> = (0..1003).map(|i| ((i * 37 + offset) % 101) as f32 / 101.0 + 0.01).collect();
            Tensor::<1>::from_data(TensorData::new(data, [1003]), &device)
        };
        let step = msn_kernels::AdamW {
            lr: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.1,
            step: 7,
            grad_scale: 0.5,
        };
        let tensors = || [tensor(1), tensor(2), tensor(3)];
        let average = || Some(Average { momentum: 0.9, value: tensor(5) });
        let all = |(tensors, average): ([Tensor<1>; 3], Option<Tensor<1>>)| {
            tensors.into_iter().chain(average).collect::<Vec<_>>()
        };
        assert!(cpu::serves(&tensor(4)));
        let fast = all(cpu::update(&step, tensor(4), tensors(), average()));
        let plain = all(plain_update(&step, tensor(4), tensors(), average()));
        assert_eq!((fast.len(), plain.len()), (4, 4));
        for (fast, plain) in fast.into_iter().zip(plain) {
            let [fast, plain] = [fast, plain].map(|t| t.into_data().try_to_vec::<f32>().expect("f32"));
            for (fast, plain) in fast.iter().zip(&plain) {
                // A few roundings of numbers below 2, in another order.
                assert!((fast - plain).abs() < 1e-6, "{fast}, expected {plain}");
            }
        }
    }

    #[test]
    fn the_average_keeps_its_share_and_takes_the_rest_from_the_new_parameter() {
        let device = Device::flex().autodiff();
        let online = Prototypes::new(2, 3, 1, &device);
        let average = Prototypes::new(2, 3, 2, &device.clone().inner());
        let before = state_dict(&average)["weight"].data.clone();
        let mut gradients = online.weight.val().powi_scalar(2).sum().backward();
        let mut optimizer = AdamW::new(CONFIG);
        let (online, average) = optimizer.step_and_average(online, average, 0.75, &mut gradients, UPDATE);
        let (online, average) = (state_dict(&online), state_dict(&average));
        assert_eq!(average["weight"].shape, [2, 3]);
        let values = online["weight"].data.iter().zip(&average["weight"].data).zip(&before);
        for ((online, average), before) in values {
            assert!((average - (0.75 * before + 0.25 * online)).abs() < 1e-7);
        }
    }

    #[test]
    fn a_restored_optimizer_goes_on_with_the_same_bits() {
        let device = Device::flex().autodiff();
        let mut optimizer = AdamW::new(CONFIG);
        let mut module = Prototypes::new(2, 3, 1, &device);
        for _ in 0..3 {
            module = step(module, &mut optimizer);
        }
        let restored = AdamW::restore(CONFIG, optimizer.steps(), optimizer.state(), &device.clone().inner());
        let mut restored = restored.expect("both moments are there");
        let (a, b) = (step(module.clone(), &mut optimizer), step(module, &mut restored));
        assert_eq!(state_dict(&a), state_dict(&b));

        for moment in ["first.weight", "second.weight"] {
            let mut half = optimizer.state();
            half.remove(moment).expect("a moment of the one parameter");
            let refused = AdamW::restore(CONFIG, 3, half, &device.clone().inner());
            let message = refused.expect_err("one of two moments").to_string();
            assert!(message.contains("two moments of `weight`"), "{message}");
        }
    }
}
