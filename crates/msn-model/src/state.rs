//! Parameters by name: what checkpoints hold.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use msn_store::{Array, StateDict};

use crate::Error;

/// Calls `visit` with the name and the value of every parameter and running statistic, in the module's order.
pub fn for_each_parameter<M: Module>(module: &M, visit: impl FnMut(&str, Array)) {
    struct Visitor<F> {
        path: Vec<String>,
        visit: F,
    }
    impl<F: FnMut(&str, Array)> ModuleVisitor for Visitor<F> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            let shape = value.dims().to_vec();
            let data = value.into_data().convert::<f32>().try_into_vec().expect("converted to f32");
            (self.visit)(&self.path.join("."), Array { shape, data });
        }
    }
    module.visit(&mut Visitor { path: Vec::new(), visit });
}

/// Every parameter and running statistic of a module.
pub fn state_dict<M: Module>(module: &M) -> StateDict {
    let mut state = StateDict::new();
    for_each_parameter(module, |name, array| {
        state.insert(name.to_owned(), array);
    });
    state
}

/// The module with the parameters and running statistics of `state`, which must name each exactly once.
///
/// # Errors
/// [`Error::MissingTensor`], [`Error::TensorShape`] or [`Error::UnusedTensors`] where the two do not fit.
pub fn load_state<M: Module>(module: M, mut state: StateDict) -> Result<M, Error> {
    struct Mapper<'a> {
        path: Vec<String>,
        state: &'a mut StateDict,
        error: Option<Error>,
    }
    impl Mapper<'_> {
        fn take(&mut self, expected: &[usize]) -> Result<Vec<f32>, Error> {
            let name = self.path.join(".");
            match self.state.remove(&name) {
                None => Err(Error::MissingTensor { name, shape: expected.to_vec() }),
                Some(Array { shape, .. }) if shape != expected => {
                    Err(Error::TensorShape { name, expected: expected.to_vec(), found: shape })
                }
                Some(Array { data, .. }) => Ok(data),
            }
        }
    }
    impl ModuleMapper for Mapper<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let shape = param.dims();
            let data = match self.take(&shape) {
                Ok(data) => data,
                Err(error) => {
                    self.error.get_or_insert(error);
                    return param;
                }
            };
            let train = param.is_require_grad();
            let value = TensorData::new(data, shape).convert_dtype(param.dtype());
            param.map(|old| Tensor::from_data(value, &old.device()).set_require_grad(train))
        }
    }
    let mut mapper = Mapper { path: Vec::new(), state: &mut state, error: None };
    let module = module.map(&mut mapper);
    match mapper.error {
        Some(error) => Err(error),
        None if state.is_empty() => Ok(module),
        None => Err(Error::UnusedTensors { names: state.into_keys().collect() }),
    }
}
