//! What several tests of the model need.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};
use msn_model::{Array, Encoder, StateDict};

pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("f32")
}

/// The gradients of the parameters that have one.
pub(crate) fn gradients_of(encoder: &Encoder, gradients: Gradients) -> StateDict {
    struct Collect {
        path: Vec<String>,
        gradients: Gradients,
        found: StateDict,
    }
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(&self.gradients) {
                let shape = gradient.dims().to_vec();
                self.found.insert(self.path.join("."), Array { shape, data: host(gradient) });
            }
        }
    }
    let mut collect = Collect { path: Vec::new(), gradients, found: StateDict::new() };
    encoder.visit(&mut collect);
    collect.found
}
