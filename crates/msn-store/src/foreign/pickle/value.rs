//! What a pickle can build.

use safetensors::Dtype;

/// A value on the stack. Whatever holds others lies in the [heap](Heap): values copy in no time, a value that is
/// referred to a million times is there once, and dropping a deeply nested one takes no recursion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Text(&'a str),
    /// Bytes, and whole numbers too large for [`Value::Int`]: as stored.
    Bytes(&'a [u8]),
    Callable(Callable),
    Object(Id),
    /// Something without influence on tensors, such as the arguments of the program that trained.
    Inert,
}

/// The place of an object in the [heap](Heap).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Id(u32);

/// What holds values, or describes numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Object<'a> {
    Tuple(Vec<Value<'a>>),
    List(Vec<Value<'a>>),
    /// Keys and values in the order of insertion.
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Storage(Storage<'a>),
    Tensor(Tensor<'a>),
}

/// Numbers stored outside the pickle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Storage<'a> {
    pub(crate) dtype: Dtype,
    /// The name that the file gives it.
    pub(crate) key: &'a str,
    pub(crate) elements: usize,
}

/// A view of a storage. Every element lies in it, and there are no more elements than it has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor<'a> {
    pub(crate) storage: Storage<'a>,
    /// Element of the storage that comes first.
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    /// Elements of the storage from one element of a dimension to the next.
    pub(crate) strides: Vec<usize>,
}

/// The classes and functions that checkpoints refer to, by what is done instead of calling them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Callable {
    /// A dictionary.
    Dict,
    /// `(storage, offset, shape, strides, ...)` to a tensor.
    Tensor,
    /// `(tensor, ...)` to that tensor.
    Parameter,
    /// `(tuple)` to that tuple.
    Size,
    /// The type of a storage, which stands in persistent ids and is not called.
    Storage(Dtype),
    /// Arguments are dropped.
    Inert,
}

/// Every object of a pickle.
#[derive(Debug, Default)]
pub(crate) struct Heap<'a> {
    objects: Vec<Object<'a>>,
}

impl<'a> Heap<'a> {
    /// At most `u32::MAX` objects, which the machine's limits ensure.
    pub(crate) fn add(&mut self, object: Object<'a>) -> Value<'a> {
        self.objects.push(object);
        Value::Object(Id(self.objects.len() as u32 - 1))
    }

    pub(crate) fn get(&self, id: Id) -> &Object<'a> {
        &self.objects[id.0 as usize]
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> &mut Object<'a> {
        &mut self.objects[id.0 as usize]
    }

    /// Entries of a dictionary.
    pub(crate) fn dict(&self, value: Value<'a>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match value {
            Value::Object(id) => match self.get(id) {
                Object::Dict(entries) => Some(entries),
                _ => None,
            },
            _ => None,
        }
    }

    /// Elements of a tuple or a list.
    pub(crate) fn sequence(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::Object(id) => match self.get(id) {
                Object::Tuple(items) | Object::List(items) => Some(items),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn tensor(&self, value: Value<'a>) -> Option<&Tensor<'a>> {
        match value {
            Value::Object(id) => match self.get(id) {
                Object::Tensor(tensor) => Some(tensor),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn storage(&self, value: Value<'a>) -> Option<Storage<'a>> {
        match value {
            Value::Object(id) => match self.get(id) {
                Object::Storage(storage) => Some(*storage),
                _ => None,
            },
            _ => None,
        }
    }

    /// Every storage, in no order that matters.
    pub(crate) fn storages(&self) -> impl Iterator<Item = Storage<'a>> {
        self.objects.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(*storage),
            _ => None,
        })
    }

    /// What a value is, in words.
    pub(crate) fn describe(&self, value: Value<'a>) -> String {
        match value {
            Value::None => "None".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float => "a fraction".to_owned(),
            Value::Text(text) => format!("the text `{}`", shown(text)),
            Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Value::Callable(callable) => format!("a class or function ({callable:?})"),
            Value::Inert => "an object that is not looked at".to_owned(),
            Value::Object(id) => match self.get(id) {
                Object::Tuple(items) => format!("a tuple of {}", items.len()),
                Object::List(items) => format!("a list of {}", items.len()),
                Object::Dict(entries) => format!("a dictionary of {}", entries.len()),
                Object::Storage(_) => "a storage".to_owned(),
                Object::Tensor(tensor) => format!("a tensor of shape {:?}", tensor.shape),
            },
        }
    }
}

/// A text of somebody else as it may stand in a message: control characters escaped, cut off after 100.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}
