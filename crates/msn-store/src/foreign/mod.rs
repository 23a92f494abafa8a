//! Checkpoints of other programs: PyTorch files (zip, and the format before version 1.6) and safetensors.
//!
//! Opening a file reads what it says about its tensors, not the tensors: an optimizer's state, often twice the size of
//! the model, never gets into memory. Nothing of a file is executed. Memory is bounded by the file's size, whatever
//! it claims: a few hundred MiB for the description of a PyTorch file, and four bytes a byte of the file for the
//! tensors that are asked for.

mod legacy;
mod pickle;
mod pytorch;
mod slot;
mod zip;

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub use pickle::PickleError;

use crate::error::{Result, StoreError};
use crate::tensors::{self, StateDict};
use slot::{Place, Slot};

/// What a file is read from.
trait Input: Read + Seek + Send {}
impl<T: Read + Seek + Send> Input for T {}

/// Shapes of tensors by name.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// Slots of tensors by name; those of a section of the file.
type Slots = BTreeMap<String, Slot>;

/// A file with named tensors that another program wrote.
///
/// Tensors of PyTorch files are in sections: `""` for those in the outermost dictionary, and one for each dictionary
/// in it, such as `teacher` or `state_dict`. A safetensors file has only `""`.
pub struct ForeignFile {
    path: PathBuf,
    input: Box<dyn Input>,
    bytes: u64,
    sections: BTreeMap<String, Slots>,
    metadata: BTreeMap<String, String>,
}

impl std::fmt::Debug for ForeignFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sections: Vec<_> = self.sections.iter().map(|(name, slots)| (name, slots.len())).collect();
        f.debug_struct("ForeignFile").field("path", &self.path).field("sections", &sections).finish()
    }
}

impl ForeignFile {
    /// Opens a file; its format is seen from its first bytes, not from its name.
    ///
    /// # Errors
    /// A file of another format, or one that is truncated or contradicts itself, with what was expected and what was
    /// found.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, bytes) = tensors::open(path)?;
        Self::read_from(path, BufReader::new(file), bytes)
    }

    /// Like [`open`](Self::open), for a file of `bytes` bytes that is read from `input`; `path` is for the messages.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn read_from(path: &Path, input: impl Read + Seek + Send + 'static, bytes: u64) -> Result<Self> {
        let mut input: Box<dyn Input> = Box::new(input);
        let mut start = [0; 16];
        let length = bytes.min(start.len() as u64) as usize;
        input.read_exact(&mut start[..length]).map_err(StoreError::io(path, "read"))?;
        input.seek(SeekFrom::Start(0)).map_err(StoreError::io(path, "read"))?;
        let mut metadata = BTreeMap::new();
        let sections = match &start[..length] {
            [b'P', b'K', 3, 4, ..] => zip::sections(path, &mut input, bytes)?,
            [0x80, 2, 0x8a, 10, rest @ ..] if rest.starts_with(&legacy::MAGIC) => {
                legacy::sections(path, &mut input, bytes)?
            }
            [_, _, _, _, _, _, _, _, b'{', ..] => {
                let (slots, found) = safetensors(path, &mut input, bytes)?;
                metadata = found;
                BTreeMap::from([(String::new(), slots)])
            }
            found => {
                let found =
                    if found.is_empty() { "an empty file".to_owned() } else { format!("{found:02x?}") };
                return Err(StoreError::NotACheckpoint { path: path.into(), found });
            }
        };
        Ok(Self { path: path.into(), input, bytes, sections, metadata })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Shapes of the tensors, by section and name.
    pub fn shapes(&self) -> BTreeMap<String, Shapes> {
        let shapes = |slots: &Slots| -> Shapes {
            slots.iter().map(|(name, slot)| (name.clone(), slot.shape.clone())).collect()
        };
        self.sections.iter().map(|(section, slots)| (section.clone(), shapes(slots))).collect()
    }

    /// What a safetensors file says about itself.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Reads tensors of a section, converting F16, BF16 and F64 (rounded to nearest) to f32.
    ///
    /// # Errors
    /// [`StoreError::Dtype`] for a tensor that is not of floating-point numbers; [`StoreError::Checksum`] for one whose
    /// bytes are not what was written; [`StoreError::Repeated`] for tensors that together are larger than the file.
    ///
    /// # Panics
    /// If there is no such section or no such tensor.
    pub fn read<'a>(&mut self, section: &str, names: impl IntoIterator<Item = &'a str>) -> Result<StateDict> {
        let slots = &self.sections[section];
        let wanted: Vec<(&str, &Slot)> = names.into_iter().map(|name| (name, &slots[name])).collect();
        let elements = |slot: &Slot| slot.shape.iter().product::<usize>() as u64;
        let total = wanted.iter().fold(0u64, |sum, (_, slot)| sum.saturating_add(elements(slot)));
        if total > self.bytes {
            return Err(StoreError::Repeated { path: self.path.clone(), elements: total, bytes: self.bytes });
        }
        let read = |(name, slot): (&str, &Slot)| {
            let array = slot.read(&self.path, name, &mut self.input)?;
            Ok((name.to_owned(), array))
        };
        wanted.into_iter().map(read).collect()
    }
}

/// The tensors of a safetensors file and its metadata.
fn safetensors(
    path: &Path,
    input: &mut Box<dyn Input>,
    bytes: u64,
) -> Result<(Slots, BTreeMap<String, String>)> {
    let (metadata, start) = tensors::read_header(path, bytes, input)?;
    let slot = |info: &safetensors::tensor::TensorInfo| {
        let (from, to) = info.data_offsets;
        let place = Place { start: start + from as u64, bytes: (to - from) as u64, crc32: None };
        Slot::contiguous(info.dtype, info.shape.clone(), place)
    };
    let slots = metadata.tensors().into_iter().map(|(name, info)| (name, slot(info))).collect();
    let said = metadata.metadata().iter().flatten();
    Ok((slots, said.map(|(key, value)| (key.clone(), value.clone())).collect()))
}
