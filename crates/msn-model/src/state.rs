//! Parameters by name: what checkpoints hold.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use msn_store::{Array, StateDict};

use crate::Error;

/// The values of a tensor, row-major, once its device has computed them.
pub fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().expect("converted to f32")
}

/// The same with the tensor's shape.
pub fn host_array<const D: usize>(tensor: Tensor<D>) -> Array {
    let shape = tensor.dims().to_vec();
    Array::new(shape, host(tensor))
}

/// Takes the tensor of this name and shape out of `state`; errors name it with `prefix` before it.
///
/// # Errors
/// [`Error::MissingTensor`] or [`Error::TensorShape`].
pub fn take_tensor(
    state: &mut StateDict,
    prefix: &str,
    name: &str,
    expected: &[usize],
) -> Result<Array, Error> {
    let found = state.remove(name);
    let name = format!("{prefix}{name}");
    match found {
        Some(found) if found.shape == expected => Ok(found),
        Some(found) => Err(Error::TensorShape { name, expected: expected.to_vec(), found: found.shape }),
        None => Err(Error::MissingTensor { name, shape: expected.to_vec() }),
    }
}

/// Every parameter and running statistic of a module.
pub fn state_dict<M: Module>(module: &M) -> StateDict {
    let mut state = StateDict::new();
    for_each_tensor(module, |name, array| {
        state.insert(name, array);
    });
    state
}

/// Calls `f` with every parameter and running statistic of a module and its name, one after the other, in an order that
/// depends on the kind of module alone.
pub fn for_each_tensor<M: Module>(module: &M, f: impl FnMut(String, Array)) {
    struct Visitor<F> {
        path: Vec<String>,
        f: F,
    }
    impl<F: FnMut(String, Array)> ModuleVisitor for Visitor<F> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            (self.f)(self.path.join("."), host_array(param.val()));
        }
    }
    module.visit(&mut Visitor { path: Vec::new(), f });
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
            Ok(take_tensor(self.state, "", &self.path.join("."), expected)?.data)
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
