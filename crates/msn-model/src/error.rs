use thiserror::Error;

/// What can be wrong with an encoder's description or with the weights offered to it.
#[derive(Debug, Error)]
pub enum Error {
    /// A configuration field is out of its range.
    #[error("{field}: expected {expected}, found {found}")]
    Config {
        /// Name of the field, such as `encoder.patch_size`.
        field: &'static str,
        /// The values that are allowed.
        expected: String,
        /// The value that was given.
        found: String,
    },
    /// The name of an encoder variant that is not in the table.
    #[error("encoder.variant: expected {expected}, found `{found}`")]
    UnknownVariant {
        /// The forms that are understood.
        expected: String,
        /// The name that was given.
        found: String,
    },
    /// The name of a device that is not compiled in.
    #[error("device: expected one of {expected}, found `{found}`")]
    UnknownDevice {
        /// The devices that are.
        expected: String,
        /// The name that was given.
        found: String,
    },
    /// A device that is compiled in, but that this machine does not have.
    #[error("device: expected a driver that offers a `{name}` device, found none")]
    AbsentDevice {
        /// The device's name.
        name: String,
    },
    /// A tensor that the model needs is not among the weights.
    #[error("weights: expected a tensor `{name}` of shape {shape:?}, found none of that name")]
    MissingTensor {
        /// Name of the tensor.
        name: String,
        /// Shape that the model has.
        shape: Vec<usize>,
    },
    /// A tensor of the weights has another shape than the model's.
    #[error("weights: tensor `{name}`: expected shape {expected:?}, found {found:?}")]
    TensorShape {
        /// Name of the tensor.
        name: String,
        /// Shape that the model has.
        expected: Vec<usize>,
        /// Shape that the weights have.
        found: Vec<usize>,
    },
    /// The weights hold tensors that the model has no place for.
    #[error("weights: the model has no tensor named {names:?}")]
    UnusedTensors {
        /// Names of the tensors.
        names: Vec<String>,
    },
}
