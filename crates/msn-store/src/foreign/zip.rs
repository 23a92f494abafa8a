//! PyTorch files since version 1.6: a zip archive of a pickle, `NAME/data.pkl`, and storages, `NAME/data/KEY`, all of
//! them stored without compression.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, SeekFrom};
use std::path::Path;

use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};

use super::pytorch::{MAX_PICKLE, checked, sections as in_sections, unusual};
use super::slot::Place;
use super::{Input, Slots, pickle};
use crate::checksum::Summed;
use crate::error::{Result, StoreError};

const PICKLE: &str = "data.pkl";

pub(super) fn sections(
    path: &Path,
    input: &mut Box<dyn Input>,
    bytes: u64,
) -> Result<BTreeMap<String, Slots>> {
    let entries = entries(path, input, bytes)?;
    let is_pickle = |name: &str| name == PICKLE || name.ends_with("/data.pkl");
    let Some(name) = entries.keys().filter(|name| is_pickle(name)).min() else {
        return Err(unusual(path, "a PyTorch archive with a file data.pkl", "none".to_owned()));
    };
    let folder = name.strip_suffix(PICKLE).expect("the name ends with it");
    if let Some(&order) = entries.get(&format!("{folder}byteorder")) {
        let order = whole(path, input, order)?;
        if order != b"little" {
            let found = String::from_utf8_lossy(&order).escape_debug().to_string();
            return Err(unusual(path, "numbers in little-endian order", found));
        }
    }
    let pickle = whole(path, input, entries[name])?;
    let wrong = |source| StoreError::Pickle { path: path.into(), source };
    let (root, heap, _) = pickle::read(&pickle).map_err(wrong)?;
    in_sections(path, root, &heap, |storage| {
        checked(path, storage, entries.get(&format!("{folder}data/{}", storage.key)).copied())
    })
}

/// Where the archive's files are. Names that are not UTF-8 are left out.
fn entries(path: &Path, input: &mut Box<dyn Input>, bytes: u64) -> Result<HashMap<String, Place>> {
    let wrong = |source| StoreError::Zip { path: path.into(), source };
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_seekable(input, &mut buffer).map_err(wrong)?;
    let mut places = HashMap::new();
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(wrong)? {
        let raw = entry.file_path();
        let Ok(name) = std::str::from_utf8(raw.as_ref()) else { continue };
        if entry.compression_method() != CompressionMethod::STORE {
            let found = format!("{} of `{}`", entry.compression_method(), pickle::shown(name));
            return Err(unusual(path, "a PyTorch archive, whose files are stored as they are", found));
        }
        let name = name.to_owned();
        let crc32 = Some(entry.crc32());
        let (start, end) = archive.get_entry(entry.wayfinder()).map_err(wrong)?.compressed_data_range();
        if start > end || end > bytes {
            let found = format!("`{}` in the bytes {start} to {end}", pickle::shown(&name));
            return Err(unusual(path, "files inside the archive", found));
        }
        places.insert(name, Place { start, bytes: end - start, crc32 });
    }
    Ok(places)
}

/// A small file of the archive.
fn whole(path: &Path, input: &mut Box<dyn Input>, place: Place) -> Result<Vec<u8>> {
    if place.bytes > MAX_PICKLE {
        return Err(unusual(path, "a pickle of at most 64 MiB", format!("{} bytes", place.bytes)));
    }
    let mut content = vec![0; place.bytes as usize];
    input.seek(SeekFrom::Start(place.start)).map_err(StoreError::io(path, "read"))?;
    let mut summed = Summed::new(input);
    summed.read_exact(&mut content).map_err(StoreError::io(path, "read"))?;
    let (_, found) = summed.finish();
    match place.crc32 {
        Some(expected) if expected != found => {
            Err(StoreError::Checksum { path: path.into(), expected, found })
        }
        _ => Ok(content),
    }
}
