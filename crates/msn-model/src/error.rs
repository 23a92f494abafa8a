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
    /// A checkpoint of another program without the encoder of a vision transformer.
    #[error("expected the encoder of a vision transformer, with a tensor named `cls_token`, found {found}")]
    NoEncoder {
        /// What there is, in words.
        found: String,
    },
    /// A tensor of another program's encoder that ours could not have.
    #[error("tensor `{name}`: expected shape {expected}, found {found}")]
    ForeignShape {
        /// Name of the tensor, as we call it.
        name: String,
        /// Shapes that are understood.
        expected: String,
        /// Shape of the tensor, or of its parts.
        found: String,
    },
    /// Another program's encoder without tensors that every one has.
    #[error("expected the tensors {names:?} too, found none of these names")]
    MissingTensors {
        /// Their names in the file.
        names: Vec<String>,
    },
    /// Another program's encoder with parts that change its features and that ours does not have.
    #[error(
        "expected an encoder of patches, [CLS], positions, blocks and a final norm, found these parts too: {names:?}"
    )]
    ForeignParts {
        /// Their names in the file.
        names: Vec<String>,
    },
    /// The number of attention heads, which tensors do not show.
    #[error(
        "expected to know the number of attention heads of an encoder {dim} wide and {depth} blocks deep, found no \
         variant of that size and none in the file; give it with --heads"
    )]
    UnknownHeads {
        /// Embedding dimension.
        dim: usize,
        /// Number of blocks.
        depth: usize,
    },
}
