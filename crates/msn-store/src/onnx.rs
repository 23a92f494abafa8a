//! ONNX models: a graph of operations with its weights, in one protobuf file.
//!
//! The messages are the parts of `onnx.proto` (IR version 8) that a model of floats needs, declared by hand.

use std::path::Path;

use prost::Message;

use crate::atomic;
use crate::error::{Result, StoreError};

/// Version of the file format.
const IR_VERSION: i64 = 8;

/// Protobuf readers take no message of 2 GiB or more.
const LARGEST: usize = i32::MAX as usize;

/// A model.
#[derive(Clone, PartialEq, Message)]
pub struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSet>,
    #[prost(message, repeated, tag = "14")]
    metadata_props: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSet {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// Operations in an order in which each finds its inputs computed.
#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, optional, tag = "2")]
    f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    i: Option<i64>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    ints: Vec<i64>,
    /// 1: a float, 2: an integer, 7: integers.
    #[prost(int32, tag = "20")]
    kind: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    /// Little-endian.
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}

/// Numbers of element types.
const FLOAT: i32 = 1;
const INT64: i32 = 7;

/// A dimension of an input or an output.
#[derive(Clone, Copy, Debug)]
pub enum Size {
    /// Always so many.
    Fixed(usize),
    /// Another number each time, under this name.
    Free(&'static str),
}

/// A setting of an operation.
#[derive(Clone, Debug)]
pub enum Attribute {
    /// A fraction.
    Float(f32),
    /// A whole number.
    Int(i64),
    /// Whole numbers.
    Ints(Vec<i64>),
}

impl Graph {
    /// A graph without operations.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Adds an operation on values that are there; returns its result, whose name is `name`.
    pub fn node(
        &mut self,
        name: &str,
        operation: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> String {
        let attribute = attributes.iter().map(|(name, value)| {
            let message = AttributeMessage { name: (*name).to_owned(), ..Default::default() };
            match value {
                Attribute::Float(value) => AttributeMessage { f: Some(*value), kind: 1, ..message },
                Attribute::Int(value) => AttributeMessage { i: Some(*value), kind: 2, ..message },
                Attribute::Ints(values) => AttributeMessage { ints: values.clone(), kind: 7, ..message },
            }
        });
        self.node.push(Node {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.to_owned()],
            name: format!("{name}/{operation}"),
            op_type: operation.to_owned(),
            attribute: attribute.collect(),
        });
        name.to_owned()
    }

    /// Adds constants of the given shape, row-major; returns their name.
    pub fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, shape, FLOAT, bytes)
    }

    /// Adds whole numbers, such as a shape; returns their name.
    pub fn ints(&mut self, name: &str, shape: &[usize], values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, shape, INT64, bytes)
    }

    fn constant(&mut self, name: &str, shape: &[usize], data_type: i32, raw_data: Vec<u8>) -> String {
        let dims = shape.iter().map(|&size| size as i64).collect();
        self.initializer.push(Tensor { dims, data_type, name: name.to_owned(), raw_data });
        name.to_owned()
    }

    /// Declares an input of floats.
    pub fn input(&mut self, name: &str, shape: &[Size]) {
        self.input.push(floats(name, shape));
    }

    /// Declares that the value `name`, of floats, is an output.
    pub fn output(&mut self, name: &str, shape: &[Size]) {
        self.output.push(floats(name, shape));
    }

    /// The model of this graph with operations of the given version (`opset`), and texts about it.
    pub fn model(self, opset: i64, about: &[(&str, String)]) -> Model {
        let entry = |(key, value): &(&str, String)| Entry { key: (*key).to_owned(), value: value.clone() };
        Model {
            ir_version: IR_VERSION,
            producer_name: "msn".to_owned(),
            graph: Some(self),
            opset_import: vec![OperatorSet { domain: String::new(), version: opset }],
            metadata_props: about.iter().map(entry).collect(),
        }
    }
}

fn floats(name: &str, shape: &[Size]) -> ValueInfo {
    let dimension = |size: &Size| match size {
        Size::Fixed(size) => Dimension { dim_value: Some(*size as i64), dim_param: None },
        Size::Free(name) => Dimension { dim_value: None, dim_param: Some((*name).to_owned()) },
    };
    let shape = Some(Shape { dim: shape.iter().map(dimension).collect() });
    let tensor_type = Some(TensorType { elem_type: FLOAT, shape });
    ValueInfo { name: name.to_owned(), kind: Some(Type { tensor_type }) }
}

/// Writes `model`, atomically.
///
/// # Errors
/// [`StoreError::TooLarge`] for a model of 2 GiB or more, which no reader of the format takes; [`StoreError::Io`].
pub fn write(path: &Path, model: &Model) -> Result<()> {
    let bytes = model.encoded_len();
    if bytes > LARGEST {
        return Err(StoreError::TooLarge { path: path.into(), limit: LARGEST, found: bytes });
    }
    atomic::write(path, &model.encode_to_vec())
}
