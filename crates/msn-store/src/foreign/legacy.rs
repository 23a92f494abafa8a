//! PyTorch files before version 1.6, and those that `_use_new_zipfile_serialization=False` still writes.
//!
//! Five pickles one after the other: a magic number, the version of the format, facts about the writer, the object,
//! and a list of the storages' keys. Then the storages in that order, each led by its number of elements in 8 bytes.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, SeekFrom};
use std::path::Path;

use super::pickle::{self, Heap, Storage, Value};
use super::pytorch::{MAX_PICKLE, checked, sections as in_sections, unusual};
use super::slot::Place;
use super::{Input, Slots};
use crate::error::{Result, StoreError};

/// 0x1950a86a20f9469cfc6c, the magic number, as the first pickle stores it.
pub(super) const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The version of the format that all files have.
const VERSION: i64 = 1001;

pub(super) fn sections(
    path: &Path,
    input: &mut Box<dyn Input>,
    bytes: u64,
) -> Result<BTreeMap<String, Slots>> {
    // The pickles' lengths are not said, but nothing after the bound can belong to them.
    let mut start = Vec::new();
    input.by_ref().take(MAX_PICKLE).read_to_end(&mut start).map_err(StoreError::io(path, "read"))?;
    let mut rest = start.as_slice();
    let mut next = || -> Result<(Value<'_>, Heap<'_>)> {
        let wrong = |source| StoreError::Pickle { path: path.into(), source };
        let (value, heap, length) = pickle::read(rest).map_err(wrong)?;
        rest = &rest[length..];
        Ok((value, heap))
    };
    next()?;
    let (version, heap) = next()?;
    if version != Value::Int(VERSION) {
        return Err(unusual(path, "version 1001 of PyTorch's old format", heap.describe(version)));
    }
    next()?;
    let (root, objects) = next()?;
    let (keys, heap) = next()?;
    let Some(keys) = heap.sequence(keys) else {
        return Err(unusual(path, "a list of the storages' keys", heap.describe(keys)));
    };
    let position = (start.len() - rest.len()) as u64;
    let used = objects.storages().map(|storage| (storage.key, storage)).collect();
    let places = places(path, input, bytes, position, keys, &used)?;
    in_sections(path, root, &objects, |storage| checked(path, storage, places.get(storage.key).copied()))
}

/// Where the storages are, by key. How long one is follows from the type that tensors give it.
fn places<'a>(
    path: &Path,
    input: &mut Box<dyn Input>,
    bytes: u64,
    mut position: u64,
    keys: &[Value<'a>],
    used: &HashMap<&'a str, Storage<'a>>,
) -> Result<HashMap<&'a str, Place>> {
    let mut places = HashMap::new();
    for &key in keys {
        let storage = match key {
            Value::Text(key) => used.get(key),
            _ => None,
        };
        let Some(storage) = storage else {
            return Err(unusual(path, "the key of a storage that a tensor uses", "another".to_owned()));
        };
        let mut count = [0; 8];
        input.seek(SeekFrom::Start(position)).map_err(StoreError::io(path, "read"))?;
        input.read_exact(&mut count).map_err(StoreError::io(path, "read the length of a storage"))?;
        let length = u128::from(u64::from_le_bytes(count)) * (storage.dtype.bitsize() / 8) as u128;
        let start = position + count.len() as u64;
        let left = u128::from(bytes.saturating_sub(start));
        if length > left {
            return Err(unusual(path, "the rest of the file to hold the next storage", {
                format!("{left} bytes of {length}: the file is truncated")
            }));
        }
        places.insert(storage.key, Place { start, bytes: length as u64, crc32: None });
        position = start + length as u64;
    }
    Ok(places)
}
