use std::collections::VecDeque;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// Moves the momentum encoder towards the trained one:
/// `target = momentum * target + (1 - momentum) * online`, parameter by parameter.
///
/// Untrained values (running statistics of batch norm) are left alone: each encoder has its own.
///
/// # Panics
/// If the two modules do not have the same parameters in the same order.
pub fn update_momentum_encoder<M: Module>(target: M, online: &M, momentum: f64) -> M {
    let mut collect = Collect { parameters: VecDeque::new() };
    online.visit(&mut collect);
    let mut blend = Blend { online: collect.parameters, momentum };
    let target = target.map(&mut blend);
    assert!(blend.online.is_empty(), "update_momentum_encoder: the online module has more parameters");
    target
}

/// Parameters of the online module in order, flattened; `None` for those that are not trained.
struct Collect {
    parameters: VecDeque<Option<Tensor<1>>>,
}

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let trained = param.is_require_grad();
        self.parameters.push_back(trained.then(|| flat(param.val())));
    }
}

struct Blend {
    online: VecDeque<Option<Tensor<1>>>,
    momentum: f64,
}

impl ModuleMapper for Blend {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let online =
            self.online.pop_front().expect("update_momentum_encoder: the target has more parameters");
        let Some(online) = online else { return param };
        let momentum = self.momentum;
        param.map(|target| {
            let online = online.to_device(&target.device()).reshape(target.shape());
            // In this form equal values stay equal, whatever the rounding.
            target.clone() + (online - target) * (1.0 - momentum)
        })
    }
}

/// A parameter outside the graph, as a vector.
fn flat<const D: usize>(value: Tensor<D>) -> Tensor<1> {
    let count = value.shape().num_elements();
    let value = if value.device().is_autodiff() { value.inner() } else { value };
    value.reshape([count])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use msn_model::{Prototypes, state_dict};

    #[test]
    fn the_target_keeps_its_share_and_takes_the_rest() {
        let device = Device::default();
        let online = Prototypes::new(3, 4, 1, &device.clone().autodiff());
        let target = Prototypes::new(3, 4, 2, &device);
        let (from, to) = (state_dict(&target), state_dict(&online));
        let blended = state_dict(&update_momentum_encoder(target, &online, 0.75));
        for ((blended, from), to) in
            blended["weight"].data.iter().zip(&from["weight"].data).zip(&to["weight"].data)
        {
            assert!((blended - (0.75 * from + 0.25 * to)).abs() < 1e-7);
        }
    }
}
