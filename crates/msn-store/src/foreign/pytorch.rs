//! What the formats of PyTorch have in common: a pickle that describes tensors, and storages outside it.

use std::collections::BTreeMap;
use std::path::Path;

use super::Slots;
use super::pickle::{self, Heap, Storage, Value, shown};
use super::slot::{Place, Slot};
use crate::error::{Result, StoreError};

/// Longest pickle, in bytes: a checkpoint of ViT-H with its optimizer has a hundredth.
pub(super) const MAX_PICKLE: u64 = 1 << 26;

/// Longest name of a tensor or a storage, in bytes. Names are copied, and a pickle can use one long text for all.
const MAX_NAME: usize = 256;

/// Tensors of a file, each counted as often as it is named.
const MAX_TENSORS: usize = 1 << 18;

/// The tensors in the outermost dictionary, under "", and those in the dictionaries in it. `place` finds a storage.
pub(super) fn sections(
    path: &Path,
    root: Value<'_>,
    heap: &Heap<'_>,
    mut place: impl FnMut(Storage<'_>) -> Result<Place>,
) -> Result<BTreeMap<String, Slots>> {
    let Some(entries) = heap.dict(root) else {
        return Err(unusual(
            path,
            "a dictionary of tensors, or of dictionaries of tensors",
            heap.describe(root),
        ));
    };
    let mut sections = BTreeMap::new();
    let mut count = 0;
    let inner = entries.iter().filter_map(|&(key, value)| Some((text(key)?, heap.dict(value)?)));
    for (section, entries) in [("", entries)].into_iter().chain(inner) {
        let mut slots = Slots::new();
        for &(key, value) in entries {
            let (Some(name), Some(tensor)) = (text(key), heap.tensor(value)) else { continue };
            count += 1;
            if count > MAX_TENSORS {
                return Err(unusual(path, "at most 262,144 tensors", "more".to_owned()));
            }
            for name in [section, name, tensor.storage.key] {
                if name.len() > MAX_NAME {
                    let found = format!("`{}...` of {} bytes", shown(name), name.len());
                    return Err(unusual(path, "names of at most 256 bytes", found));
                }
            }
            let pickle::Tensor { storage, offset, shape, strides } = tensor.clone();
            slots.insert(name.to_owned(), Slot::view(storage.dtype, place(storage)?, offset, shape, strides));
        }
        // A key may be there twice; the last one counts, as in Python.
        if !slots.is_empty() {
            sections.insert(section.to_owned(), slots);
        }
    }
    Ok(sections)
}

/// The place of a storage that must be as long as the pickle says.
pub(super) fn checked(path: &Path, storage: Storage<'_>, place: Option<Place>) -> Result<Place> {
    let bytes = storage.elements as u128 * (storage.dtype.bitsize() / 8) as u128;
    match place {
        Some(place) if u128::from(place.bytes) == bytes => Ok(place),
        found => {
            let found = match found {
                None => format!("none of the name `{}`", shown(storage.key)),
                Some(place) => format!("{} bytes of {bytes} in `{}`", place.bytes, shown(storage.key)),
            };
            Err(unusual(path, "storages as long as their tensors need", found))
        }
    }
}

pub(super) fn unusual(path: &Path, expected: &'static str, found: String) -> StoreError {
    StoreError::Unusual { path: path.into(), expected, found }
}

fn text<'a>(value: Value<'a>) -> Option<&'a str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}
