//! safetensors files, ours and others'.

use std::fs;
use std::path::PathBuf;

use half::{bf16, f16};
use msn_store::{Array, StateDict, StoreError, read_safetensors, write_safetensors};
use proptest::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};

/// More than one 64 KiB piece in every type, and not a whole number of pieces.
const MANY: usize = 40_001;

fn scratch_file() -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("file.safetensors");
    (scratch, path)
}

fn values() -> Vec<f32> {
    (0..MANY).map(|i| i as f32 / 64.0 - 300.0).collect()
}

/// The file that the safetensors crate makes of one tensor `x`.
fn file_of(dtype: Dtype, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    serialize([("x", TensorView::new(dtype, shape.to_vec(), bytes).unwrap())], None).unwrap()
}

#[test]
fn what_is_written_is_read_back_bit_by_bit() {
    let (_scratch, path) = scratch_file();
    let odd = [f32::NAN, f32::INFINITY, -0.0, f32::MIN_POSITIVE / 2.0];
    let tensors = StateDict::from([
        ("large".to_owned(), Array::new(vec![MANY], values())),
        ("odd".to_owned(), Array::new(vec![2, 2], odd.to_vec())),
        ("scalar".to_owned(), Array::new(vec![], vec![7.0])),
        ("empty".to_owned(), Array::new(vec![0, 3], vec![])),
    ]);
    write_safetensors(&path, &tensors).unwrap();
    let read = read_safetensors(&path).unwrap();
    assert!(read.keys().eq(tensors.keys()));
    for (name, Array { shape, data }) in &tensors {
        assert_eq!(read[name].shape, *shape);
        assert!(read[name].data.iter().map(|x| x.to_bits()).eq(data.iter().map(|x| x.to_bits())), "{name}");
    }
}

#[test]
fn the_safetensors_crate_reads_what_is_written() {
    let (_scratch, path) = scratch_file();
    let tensors = StateDict::from([
        ("b".to_owned(), Array::new(vec![1, MANY], values())),
        ("a \"quoted\" name".to_owned(), Array::new(vec![3], vec![1.0, 2.0, 3.0])),
    ]);
    write_safetensors(&path, &tensors).unwrap();
    let bytes = fs::read(&path).unwrap();
    let parsed = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(parsed.len(), 2);
    for (name, Array { shape, data }) in &tensors {
        let view = parsed.tensor(name).unwrap();
        assert_eq!((view.dtype(), view.shape()), (Dtype::F32, &shape[..]));
        assert!(view.data().chunks(4).eq(data.iter().map(|value| value.to_le_bytes())));
    }
}

#[test]
fn other_float_types_become_f32() {
    let (_scratch, path) = scratch_file();
    let bytes_of = |dtype| -> Vec<u8> {
        let values = values().into_iter();
        match dtype {
            Dtype::F32 => values.flat_map(f32::to_le_bytes).collect(),
            Dtype::F16 => values.flat_map(|x| f16::from_f32(x).to_le_bytes()).collect(),
            Dtype::BF16 => values.flat_map(|x| bf16::from_f32(x).to_le_bytes()).collect(),
            _ => values.flat_map(|x| (f64::from(x) * (1.0 + 1e-12)).to_le_bytes()).collect(),
        }
    };
    // Largest relative rounding error of each type when the f32 value was stored in it.
    for (dtype, rounding) in
        [(Dtype::F32, 0.0), (Dtype::F64, 0.0), (Dtype::F16, 2_f32.powi(-11)), (Dtype::BF16, 2_f32.powi(-8))]
    {
        fs::write(&path, file_of(dtype, &[MANY], &bytes_of(dtype))).unwrap();
        let read = &read_safetensors(&path).unwrap()["x"];
        assert_eq!(read.shape, [MANY]);
        for (found, expected) in read.data.iter().zip(values()) {
            assert!((found - expected).abs() <= rounding * expected.abs(), "{dtype:?}: {found} {expected}");
        }
    }
}

#[test]
fn an_integer_tensor_is_named() {
    let (_scratch, path) = scratch_file();
    fs::write(&path, file_of(Dtype::I64, &[1], &[0; 8])).unwrap();
    let err = read_safetensors(&path).unwrap_err().to_string();
    assert!(err.ends_with("tensor `x`: expected F32, F16, BF16 or F64, found I64"), "{err}");
}

#[test]
fn a_file_truncated_anywhere_is_an_error() {
    let (_scratch, path) = scratch_file();
    let whole = file_of(Dtype::F32, &[3], &[1; 12]);
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let err = read_safetensors(&path).unwrap_err();
        assert!(
            matches!(err, StoreError::FileLength { .. } | StoreError::HeaderLength { .. }),
            "{length} bytes: {err}"
        );
    }
    fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
    assert!(matches!(read_safetensors(&path), Err(StoreError::FileLength { .. })));
}

/// Would these be believed, the test would die of an allocation of terabytes.
#[test]
fn a_header_that_lies_is_an_error() {
    let (_scratch, path) = scratch_file();
    let file = |length: u64, header: &str| [&length.to_le_bytes(), header.as_bytes()].concat();
    for length in [3, 1 << 20, 1 << 40, u64::MAX] {
        fs::write(&path, file(length, "{}")).unwrap();
        assert!(matches!(read_safetensors(&path), Err(StoreError::HeaderLength { .. })), "{length}");
    }
    for header in [
        r#"{"x":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}"#,
        r#"{"x":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,0]}}"#,
        r#"{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#,
        r#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        r#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#,
        r#"{"x":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}"#,
        r#"{"x":{"dtype":"F32","sha"#,
    ] {
        fs::write(&path, file(header.len() as u64, header)).unwrap();
        let err = read_safetensors(&path).unwrap_err();
        assert!(matches!(err, StoreError::Json { .. } | StoreError::FileLength { .. }), "{header}: {err}");
        assert!(err.to_string().starts_with(path.to_str().unwrap()), "{err}");
    }
}

#[test]
fn an_array_that_contradicts_its_shape_is_not_written() {
    let (_scratch, path) = scratch_file();
    let wrong = Array { shape: vec![2, 2], data: vec![0.0; 3] };
    let err = write_safetensors(&path, &StateDict::from([("x".to_owned(), wrong)])).unwrap_err();
    assert!(err.to_string().ends_with("tensor `x` of shape [2, 2] holds 3 values"), "{err}");
    assert!(!path.exists());
}

proptest! {
    /// No file makes the reader panic, hang or allocate without bound.
    #[test]
    fn damaged_bytes_never_panic(at in 0_usize..200, value: u8, cut in 0_usize..200) {
        let (_scratch, path) = scratch_file();
        let mut bytes = file_of(Dtype::F32, &[2, 5], &[1; 40]);
        let length = bytes.len();
        bytes[at % length] = value;
        bytes.truncate(length - cut % length);
        fs::write(&path, &bytes).unwrap();
        if let Ok(tensors) = read_safetensors(&path) {
            for array in tensors.values() {
                prop_assert_eq!(array.shape.iter().product::<usize>(), array.data.len());
            }
        }
    }
}
