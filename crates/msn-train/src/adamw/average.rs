//! Parameters of a momentum encoder, taken out of it while they move.

use std::collections::VecDeque;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;

use super::Average;

/// The parameters of a module in its order, flattened: first those to come, then those that are done.
#[derive(Debug)]
pub(super) struct Averages {
    momentum: f64,
    /// With the shapes that they had.
    to_come: VecDeque<(Tensor<1>, Vec<usize>)>,
    done: VecDeque<Tensor<1>>,
    shapes: VecDeque<Vec<usize>>,
}

impl Averages {
    /// The parameters of `module` and what is left of it. Taken out, each has one handle only, and so can be updated
    /// in place.
    pub(super) fn take<M: Module>(module: M, momentum: f64) -> (M, Self) {
        let averages =
            Self { momentum, to_come: VecDeque::new(), done: VecDeque::new(), shapes: VecDeque::new() };
        let mut take = Take(averages);
        let shell = module.map(&mut take);
        (shell, take.0)
    }

    /// The next parameter.
    ///
    /// # Panics
    /// If there is none: the modules differ.
    pub(super) fn next(&mut self) -> Average {
        let (value, shape) = self.to_come.pop_front().expect("AdamW: the average has fewer parameters");
        self.shapes.push_back(shape);
        Average { momentum: self.momentum, value }
    }

    /// Takes the last one that `next` gave back, moved.
    pub(super) fn done(&mut self, value: Tensor<1>) {
        self.done.push_back(value);
    }

    /// The module that they were taken out of, whole again.
    ///
    /// # Panics
    /// If some are still to come: the modules differ.
    pub(super) fn put_back<M: Module>(self, shell: M) -> M {
        assert!(self.to_come.is_empty(), "AdamW: the average has more parameters");
        shell.map(&mut Put(self))
    }
}

struct Take(Averages);

impl ModuleMapper for Take {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|value| {
            let placeholder = Tensor::zeros([1; D], &value.device());
            let shape = value.dims().to_vec();
            self.0.to_come.push_back((flat(value), shape));
            placeholder
        })
    }
}

struct Put(Averages);

impl ModuleMapper for Put {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = self.0.done.pop_front().expect("as many as were taken");
        let shape = self.0.shapes.pop_front().expect("one for each that is done");
        let shape: [usize; D] = shape.try_into().expect("of the rank that it had");
        param.map(|_| value.reshape(shape))
    }
}

/// A tensor outside the graph, as a vector.
pub(super) fn flat<const D: usize>(value: Tensor<D>) -> Tensor<1> {
    let count = value.shape().num_elements();
    let value = if value.device().is_autodiff() { value.inner() } else { value };
    value.reshape([count])
}
