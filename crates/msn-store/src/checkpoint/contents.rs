//! The files inside one checkpoint folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::manifest::{self, FileSum, Manifest};
use super::{Checkpoint, Part, catalog};
use crate::checksum::Summed;
use crate::error::{Result, StoreError};
use crate::{atomic, tensors};

const STATE: &str = "state.json";
const PART_SUFFIX: &str = ".safetensors";

/// Writes all files of a checkpoint into the empty `folder` and syncs them and the folder. One part at a time is asked for,
/// and let go before the next.
pub(super) fn write<'a, E: From<StoreError>>(
    folder: &Path,
    step: u64,
    parts: impl IntoIterator<Item = Result<Part<'a>, E>>,
    state: &serde_json::Value,
) -> Result<(), E> {
    let mut files = BTreeMap::new();
    for part in parts {
        let (part, state_dict) = part?;
        let name = part_file(part)?;
        let path = folder.join(&name);
        tensors::check_shapes(&path, &state_dict)?;
        files.insert(name, write_file(&path, |out| tensors::encode(&state_dict, out))?);
    }
    files.insert(STATE.to_owned(), write_json(&folder.join(STATE), state)?);
    write_json(&folder.join(manifest::FILE_NAME), &Manifest::new(step, files))?;
    Ok(atomic::sync_folder(folder)?)
}

/// Reads the checkpoint in `folder` with the parts that `wanted` picks. Everything read is checked against the
/// manifest to the last byte; a part not picked is checked for its length alone.
pub(super) fn read(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Checkpoint> {
    let manifest_path = folder.join(manifest::FILE_NAME);
    let Manifest { step, mut files, .. } = Manifest::read(&manifest_path)?;
    if let Some(expected) = catalog::step_of(folder).filter(|&expected| expected != step) {
        return Err(StoreError::Step { path: manifest_path, expected, found: step });
    }
    let names: Vec<String> = files.keys().cloned().collect();
    let unexpected = || StoreError::ManifestFiles { path: manifest_path.clone(), found: names.clone() };

    let state = files.remove(STATE).ok_or_else(unexpected)?;
    let state = read_file(&folder.join(STATE), state, |path, _, input| {
        let mut json = Vec::new();
        input.read_to_end(&mut json).map_err(StoreError::io(path, "read"))?;
        serde_json::from_slice(&json).map_err(|source| StoreError::Json {
            path: path.into(),
            expected: "the state of a run",
            source,
        })
    })?;
    let mut parts = BTreeMap::new();
    for (name, sum) in files {
        let part = name.strip_suffix(PART_SUFFIX).filter(|part| is_part_name(part)).ok_or_else(unexpected)?;
        let path = folder.join(&name);
        if wanted(part) {
            parts.insert(part.to_owned(), read_file(&path, sum, tensors::decode)?);
        } else {
            open_checked(&path, sum)?;
        }
    }
    Ok(Checkpoint { step, parts, state })
}

fn part_file(part: &str) -> Result<String> {
    if is_part_name(part) {
        Ok(format!("{part}{PART_SUFFIX}"))
    } else {
        Err(StoreError::PartName { name: part.to_owned() })
    }
}

/// Also keeps a manifest from naming files outside its folder.
fn is_part_name(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<FileSum> {
    write_file(path, |out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        out.write_all(b"\n")
    })
}

/// Creates a file in a folder that nobody sees yet, so without a rename, and syncs it.
fn write_file(
    path: &Path,
    fill: impl FnOnce(&mut Summed<BufWriter<&File>>) -> io::Result<()>,
) -> Result<FileSum> {
    let file = File::create_new(path).map_err(StoreError::io(path, "create"))?;
    let mut out = Summed::new(BufWriter::new(&file));
    fill(&mut out).and_then(|()| out.flush()).map_err(StoreError::io(path, "write"))?;
    let (bytes, crc32) = out.finish();
    atomic::where_possible(file.sync_all()).map_err(StoreError::io(path, "sync to disk"))?;
    Ok(FileSum { bytes, crc32 })
}

/// Parses a file in one pass while summing it up. A file that does not parse is an error as good as a wrong sum.
fn read_file<T>(
    path: &Path,
    expected: FileSum,
    parse: impl FnOnce(&Path, u64, &mut Summed<BufReader<File>>) -> Result<T>,
) -> Result<T> {
    let mut input = Summed::new(BufReader::new(open_checked(path, expected)?));
    let value = parse(path, expected.bytes, &mut input)?;
    // What the parser left unread counts as well.
    io::copy(&mut input.by_ref(), &mut io::sink()).map_err(StoreError::io(path, "read"))?;
    let (bytes, crc32) = input.finish();
    if bytes != expected.bytes {
        return Err(StoreError::FileLength { path: path.into(), expected: expected.bytes, found: bytes });
    }
    if crc32 != expected.crc32 {
        return Err(StoreError::Checksum { path: path.into(), expected: expected.crc32, found: crc32 });
    }
    Ok(value)
}

fn open_checked(path: &Path, expected: FileSum) -> Result<File> {
    let (file, bytes) = tensors::open(path)?;
    if bytes != expected.bytes {
        return Err(StoreError::FileLength { path: path.into(), expected: expected.bytes, found: bytes });
    }
    Ok(file)
}
