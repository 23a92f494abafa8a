//! Named f32 arrays and the safetensors files that hold them.
//!
//! Files are read and written in pieces of [`PIECE`] bytes: besides the values themselves no more than the
//! header and one piece is in memory, whatever the file says about itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError};

use crate::atomic;
use crate::error::{Result, StoreError};

/// The named parameters (or optimizer moments) of a part of the model.
pub type StateDict = BTreeMap<String, Array>;

/// A dense f32 array, last dimension fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Length of each dimension; empty for a scalar.
    pub shape: Vec<usize>,
    /// The values, as many as the product of `shape`.
    pub data: Vec<f32>,
}

impl Array {
    /// An array of `shape` with the values `data`, last dimension fastest.
    ///
    /// # Panics
    /// If `data` does not have as many values as the product of `shape`.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "values for shape {shape:?}");
        Self { shape, data }
    }
}

/// Bytes converted at a time; a multiple of every element size.
const PIECE: usize = 1 << 16;

/// Longest header that the format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// Writes `tensors` as an F32 safetensors file, atomically.
///
/// # Errors
/// [`StoreError::Shape`] for an array whose shape and values disagree, [`StoreError::Io`] else.
pub fn write_safetensors(path: &Path, tensors: &StateDict) -> Result<()> {
    write_described(path, tensors, BTreeMap::new())
}

/// Like [`write_safetensors`], with a description: pairs of texts that the header keeps under `__metadata__`.
///
/// # Errors
/// As [`write_safetensors`].
pub fn write_described(
    path: &Path,
    tensors: &StateDict,
    description: BTreeMap<String, String>,
) -> Result<()> {
    check_shapes(path, tensors)?;
    atomic::write_with(path, |out| encode_described(tensors, description, out))
}

/// Reads the tensors of a safetensors file, converting F16, BF16 and F64 (rounded to nearest) to f32.
///
/// # Errors
/// A file that is truncated, or whose header does not match it, or with a tensor of another type, is named
/// together with what was expected. Memory stays bounded by the size of the file (twice that for 16-bit
/// tensors), whatever the header claims.
pub fn read_safetensors(path: &Path) -> Result<StateDict> {
    let (file, bytes) = open(path)?;
    decode(path, bytes, &mut BufReader::with_capacity(PIECE, file))
}

/// The description of a safetensors file (see [`write_described`]); empty where it has none.
///
/// # Errors
/// As [`read_safetensors`].
pub fn read_description(path: &Path) -> Result<BTreeMap<String, String>> {
    let (file, bytes) = open(path)?;
    let (metadata, _) = read_header(path, bytes, &mut BufReader::new(file))?;
    Ok(metadata.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// Opens `path`, giving the file and its length in bytes.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    let file = File::open(path).map_err(StoreError::io(path, "open"))?;
    let bytes = file.metadata().map_err(StoreError::io(path, "read the length"))?.len();
    Ok((file, bytes))
}

/// `path` is the file that `tensors` are meant for, for the error message.
pub(crate) fn check_shapes(path: &Path, tensors: &StateDict) -> Result<()> {
    match tensors.iter().find(|(_, array)| array.shape.iter().product::<usize>() != array.data.len()) {
        None => Ok(()),
        Some((name, array)) => Err(StoreError::Shape {
            path: path.to_path_buf(),
            tensor: name.clone(),
            shape: array.shape.clone(),
            found: array.data.len(),
        }),
    }
}

/// Writes the safetensors form of `tensors`, whose shapes must have been checked.
pub(crate) fn encode<W: Write + ?Sized>(tensors: &StateDict, out: &mut W) -> io::Result<()> {
    encode_described(tensors, BTreeMap::new(), out)
}

fn encode_described<W: Write + ?Sized>(
    tensors: &StateDict,
    description: BTreeMap<String, String>,
    out: &mut W,
) -> io::Result<()> {
    let mut header = serde_json::to_vec(&layout(tensors, description).map_err(io::Error::other)?)?;
    // The values then begin at a multiple of 8 bytes, which the format recommends.
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;

    let mut piece = Vec::with_capacity(PIECE);
    for values in tensors.values().flat_map(|array| array.data.chunks(PIECE / size_of::<f32>())) {
        piece.clear();
        piece.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        out.write_all(&piece)?;
    }
    Ok(())
}

fn layout(tensors: &StateDict, description: BTreeMap<String, String>) -> Result<Metadata, SafeTensorError> {
    let mut end = 0;
    let infos = tensors.iter().map(|(name, array)| {
        let start = end;
        end += array.data.len() * size_of::<f32>();
        (
            name.clone(),
            TensorInfo { dtype: Dtype::F32, shape: array.shape.clone(), data_offsets: (start, end) },
        )
    });
    let description = (!description.is_empty()).then(|| description.into_iter().collect());
    Metadata::new(description, infos.collect())
}

/// Reads a safetensors file of `bytes` bytes from front to back; `path` is for the error messages.
pub(crate) fn decode(path: &Path, bytes: u64, input: &mut impl Read) -> Result<StateDict> {
    let read_error = || StoreError::io(path, "read");
    let (metadata, _) = read_header(path, bytes, input)?;
    let mut infos: Vec<(String, &TensorInfo)> = metadata.tensors().into_iter().collect();
    infos.sort_by_key(|(_, info)| info.data_offsets);
    let mut tensors = StateDict::new();
    for (name, info) in infos {
        let Some(convert) = converter(info.dtype) else {
            return Err(StoreError::Dtype { path: path.into(), tensor: name, found: info.dtype });
        };
        let (from, to) = info.data_offsets;
        let elements = info.shape.iter().product();
        let data = read_values(input, to - from, elements, convert).map_err(read_error())?;
        tensors.insert(name, Array { shape: info.shape.clone(), data });
    }
    Ok(tensors)
}

/// Reads the header of a safetensors file of `bytes` bytes. Returns what it says about the tensors, all of which lie in
/// the file, and where the values begin.
pub(crate) fn read_header(path: &Path, bytes: u64, input: &mut impl Read) -> Result<(Metadata, u64)> {
    let read_error = || StoreError::io(path, "read");
    let mut length = [0; 8];
    if bytes < length.len() as u64 {
        return Err(StoreError::FileLength {
            path: path.into(),
            expected: length.len() as u64,
            found: bytes,
        });
    }
    input.read_exact(&mut length).map_err(read_error())?;
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > MAX_HEADER || header_bytes > bytes - 8 {
        return Err(StoreError::HeaderLength { path: path.into(), header: header_bytes, file: bytes });
    }
    let mut header = vec![0; header_bytes as usize];
    input.read_exact(&mut header).map_err(read_error())?;
    // Parsing checks that offsets follow each other without gaps and agree with shapes and types.
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|source| StoreError::Json {
        path: path.into(),
        expected: "a safetensors header",
        source,
    })?;
    let start = 8 + header_bytes;
    let expected = start + metadata.data_len() as u64;
    if expected != bytes {
        return Err(StoreError::FileLength { path: path.into(), expected, found: bytes });
    }
    Ok((metadata, start))
}

/// Appends little-endian values as f32.
pub(crate) type Convert = fn(&[u8], &mut Vec<f32>);

/// For the types that become f32.
pub(crate) fn converter(dtype: Dtype) -> Option<Convert> {
    /// Appends the `N`-byte values in `bytes`.
    fn append<const N: usize>(bytes: &[u8], values: &mut Vec<f32>, value: impl Fn([u8; N]) -> f32) {
        values.extend(bytes.as_chunks::<N>().0.iter().map(|&one| value(one)));
    }
    match dtype {
        Dtype::F32 => Some(|bytes, values| append(bytes, values, f32::from_le_bytes)),
        Dtype::F16 => Some(|bytes, values| append(bytes, values, |b| f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => Some(|bytes, values| append(bytes, values, |b| bf16::from_le_bytes(b).to_f32())),
        Dtype::F64 => Some(|bytes, values| append(bytes, values, |b| f64::from_le_bytes(b) as f32)),
        _ => None,
    }
}

/// Reads `bytes` bytes that hold `elements` values.
pub(crate) fn read_values(
    input: &mut impl Read,
    bytes: usize,
    elements: usize,
    convert: Convert,
) -> io::Result<Vec<f32>> {
    let mut values = Vec::with_capacity(elements);
    let mut left = bytes;
    let mut piece = vec![0; left.min(PIECE)];
    while left > 0 {
        let piece = &mut piece[..left.min(PIECE)];
        input.read_exact(piece)?;
        convert(piece, &mut values);
        left -= piece.len();
    }
    Ok(values)
}
