//! The classes and functions that checkpoints refer to, and what is done instead of calling them.

use safetensors::Dtype;

use super::value::{Callable, Heap, Object, Storage, Tensor, Value, shown};
use super::{MAX_DIMENSIONS, PickleError};

/// Everything that a pickle may refer to; anything else is refused.
const KNOWN: &[(&str, &str, Callable)] = &[
    ("collections", "OrderedDict", Callable::Dict),
    ("torch._utils", "_rebuild_tensor_v2", Callable::Tensor),
    ("torch._utils", "_rebuild_tensor", Callable::Tensor),
    ("torch._utils", "_rebuild_parameter", Callable::Parameter),
    ("torch._utils", "_rebuild_parameter_with_state", Callable::Parameter),
    ("torch.nn.parameter", "Parameter", Callable::Parameter),
    ("torch", "Size", Callable::Size),
    ("torch", "FloatStorage", Callable::Storage(Dtype::F32)),
    ("torch", "DoubleStorage", Callable::Storage(Dtype::F64)),
    ("torch", "HalfStorage", Callable::Storage(Dtype::F16)),
    ("torch", "BFloat16Storage", Callable::Storage(Dtype::BF16)),
    ("torch", "LongStorage", Callable::Storage(Dtype::I64)),
    ("torch", "IntStorage", Callable::Storage(Dtype::I32)),
    ("torch", "ShortStorage", Callable::Storage(Dtype::I16)),
    ("torch", "CharStorage", Callable::Storage(Dtype::I8)),
    ("torch", "ByteStorage", Callable::Storage(Dtype::U8)),
    ("torch", "BoolStorage", Callable::Storage(Dtype::BOOL)),
    // What stands beside the weights: arguments of programs, metrics, schedules. None of it is built.
    ("argparse", "Namespace", Callable::Inert),
    ("torch", "device", Callable::Inert),
    ("torch", "float16", Callable::Inert),
    ("torch", "bfloat16", Callable::Inert),
    ("torch", "float32", Callable::Inert),
    ("torch", "float64", Callable::Inert),
    ("torch", "int64", Callable::Inert),
    ("numpy", "dtype", Callable::Inert),
    ("numpy", "ndarray", Callable::Inert),
    ("numpy.core.multiarray", "scalar", Callable::Inert),
    ("numpy.core.multiarray", "_reconstruct", Callable::Inert),
    ("numpy._core.multiarray", "scalar", Callable::Inert),
    ("numpy._core.multiarray", "_reconstruct", Callable::Inert),
    ("_codecs", "encode", Callable::Inert),
    ("collections", "defaultdict", Callable::Inert),
    ("collections", "Counter", Callable::Inert),
    ("pathlib", "PosixPath", Callable::Inert),
    ("pathlib", "PurePosixPath", Callable::Inert),
    ("pathlib._local", "PosixPath", Callable::Inert),
    ("__builtin__", "set", Callable::Inert),
    ("builtins", "set", Callable::Inert),
    ("__builtin__", "dict", Callable::Inert),
    ("builtins", "dict", Callable::Inert),
    ("__builtin__", "list", Callable::Inert),
    ("builtins", "list", Callable::Inert),
    ("__builtin__", "int", Callable::Inert),
    ("builtins", "int", Callable::Inert),
];

pub(super) fn find(at: usize, module: &[u8], name: &[u8]) -> Result<Callable, PickleError> {
    let known = KNOWN.iter().find(|known| (known.0.as_bytes(), known.1.as_bytes()) == (module, name));
    known.map(|&(_, _, callable)| callable).ok_or_else(|| PickleError::Global {
        at,
        module: shown(&String::from_utf8_lossy(module)),
        name: shown(&String::from_utf8_lossy(name)),
    })
}

/// What stands for the result of calling `callable` with the tuple `arguments`.
pub(super) fn call<'a>(
    at: usize,
    callable: Value<'a>,
    arguments: Value<'a>,
    heap: &mut Heap<'a>,
) -> Result<Value<'a>, PickleError> {
    let operand =
        |expected, heap: &Heap<'a>, value| PickleError::Operand { at, expected, found: heap.describe(value) };
    let Value::Callable(callable) = callable else {
        // An object that is not looked at, being called, gives another one.
        return match callable {
            Value::Inert => Ok(Value::Inert),
            other => Err(operand("a class or function to call", heap, other)),
        };
    };
    let Some(found) = heap.sequence(arguments) else {
        return Err(operand("a tuple of arguments", heap, arguments));
    };
    match (callable, found) {
        (Callable::Dict, []) => Ok(heap.add(Object::Dict(Vec::new()))),
        (Callable::Dict, &[pairs]) => {
            let pair = |&value: &Value<'a>| match heap.sequence(value) {
                Some(&[key, value]) => Ok((key, value)),
                _ => Err(operand("a pair of a key and a value", heap, value)),
            };
            let Some(pairs) = heap.sequence(pairs) else {
                return Err(operand("a list of pairs", heap, pairs));
            };
            let entries = pairs.iter().map(pair).collect::<Result<_, _>>()?;
            Ok(heap.add(Object::Dict(entries)))
        }
        (Callable::Tensor, &[storage, offset, shape, strides, ..]) => {
            let tensor = tensor(at, [storage, offset, shape, strides], heap)?;
            Ok(heap.add(Object::Tensor(tensor)))
        }
        (Callable::Parameter, &[tensor, ..]) if heap.tensor(tensor).is_some() => Ok(tensor),
        (Callable::Size, &[tuple]) if heap.sequence(tuple).is_some() => Ok(tuple),
        (Callable::Inert | Callable::Storage(_), _) => Ok(Value::Inert),
        _ => Err(operand("the arguments that PyTorch writes", heap, arguments)),
    }
}

/// `('storage', type, key, device, elements)` to a storage. In files from before 2017 a sixth element made it a part
/// of another storage; it is None in all later ones.
pub(super) fn storage<'a>(at: usize, id: Value<'a>, heap: &Heap<'a>) -> Result<Storage<'a>, PickleError> {
    let found = heap.sequence(id);
    match found {
        Some(
            &[
                Value::Text("storage"),
                Value::Callable(Callable::Storage(dtype)),
                Value::Text(key),
                _,
                Value::Int(elements),
                ref rest @ ..,
            ],
        ) if matches!(rest, [] | [Value::None]) && elements >= 0 => {
            let elements = usize::try_from(elements).unwrap_or(usize::MAX);
            Ok(Storage { dtype, key, elements })
        }
        _ => Err(PickleError::Operand {
            at,
            expected: "('storage', type, key, device, number of elements)",
            found: heap.describe(id),
        }),
    }
}

/// A view that stays inside its storage and does not repeat elements, as a stride of 0 would: the memory that a
/// tensor takes is bounded by what the file holds.
fn tensor<'a>(at: usize, parts: [Value<'a>; 4], heap: &Heap<'a>) -> Result<Tensor<'a>, PickleError> {
    let [storage, offset, shape, strides] = parts;
    let operand = |expected, found| Err(PickleError::Operand { at, expected, found });
    let Some(storage) = heap.storage(storage) else {
        return operand("a storage", heap.describe(storage));
    };
    let size = |value: &Value<'a>| match value {
        Value::Int(size) => usize::try_from(*size).ok(),
        _ => None,
    };
    let sizes = |value: Value<'a>| heap.sequence(value)?.iter().map(size).collect::<Option<Vec<usize>>>();
    let (Some(offset), Some(shape), Some(strides)) = (size(&offset), sizes(shape), sizes(strides)) else {
        let found = [offset, shape, strides].map(|value| heap.describe(value)).join(", ");
        return operand("an offset, sizes and strides of at least 0", found);
    };
    if shape.len() > MAX_DIMENSIONS {
        return Err(PickleError::TooMuch { at, what: "dimensions of a tensor", limit: MAX_DIMENSIONS });
    }
    let view = || {
        let elements = storage.elements;
        format!("shape {shape:?}, strides {strides:?}, offset {offset} in a storage of {elements}")
    };
    if shape.len() != strides.len() {
        return operand("as many strides as sizes", view());
    }
    let elements = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let last = shape.iter().zip(&strides).try_fold(offset, |last, (&size, &stride)| {
        last.checked_add(size.saturating_sub(1).checked_mul(stride)?)
    });
    match (elements, last) {
        (Some(0), _) => {}
        (Some(elements), Some(last)) if elements <= storage.elements && last < storage.elements => {}
        _ => return operand("a view inside its storage that repeats no element", view()),
    }
    Ok(Tensor { storage, offset, shape, strides })
}
