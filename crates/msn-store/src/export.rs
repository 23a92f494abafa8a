//! Results in the formats that other programs read. Every file is written [atomically](crate::atomic).

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::atomic;
use crate::error::{Result, StoreError};
use crate::new_folder::NewFolder;
use crate::tensors::{StateDict, write_described};

/// Magic and version of NumPy's format, and how the header of a matrix begins.
const NPY_PREAMBLE: &[u8] = b"\x93NUMPY\x01\x00";
const NPY_HEADER: &[u8] = b"{'descr': '<f4', 'fortran_order': False, 'shape': (";

/// Writes `data: [rows, columns]`, row by row, as an f32 array in NumPy's format (version 1.0).
///
/// # Errors
/// [`StoreError::Io`].
///
/// # Panics
/// If `data` does not have `rows * columns` values.
pub fn write_npy(path: &Path, [rows, columns]: [usize; 2], data: &[f32]) -> Result<()> {
    assert_eq!(rows * columns, data.len(), "values of a [{rows}, {columns}] matrix");
    // The format: magic, version, length of the header (u16), header; the values begin at a multiple of 64
    // bytes, and the header ends with a line feed.
    let shape = format!("{rows}, {columns}), }}");
    let preamble = NPY_PREAMBLE.len() + size_of::<u16>();
    let before_values = (preamble + NPY_HEADER.len() + shape.len() + 1).next_multiple_of(64);
    let header_length = before_values - preamble;
    let width = header_length - NPY_HEADER.len() - 1;
    atomic::write_with(path, |out| {
        out.write_all(NPY_PREAMBLE)?;
        out.write_all(&(header_length as u16).to_le_bytes())?;
        out.write_all(NPY_HEADER)?;
        writeln!(out, "{shape:<width$}")?;
        data.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))
    })
}

/// Rows of a file that starts like this (128 bytes will do), if it is one of [`write_npy`]'s, as far as can be told.
pub fn npy_rows(start: &[u8]) -> Option<usize> {
    let header = start.strip_prefix(NPY_PREAMBLE)?.get(size_of::<u16>()..)?.strip_prefix(NPY_HEADER)?;
    let digits = header.split(|byte| *byte == b',').next()?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Writes the folder of a model as Hugging Face's libraries read it: descriptions as JSON files, `(name, content)`, and
/// `model.safetensors`. The folder, which must not exist or be empty, appears when all is in it.
///
/// # Errors
/// [`StoreError::NotEmpty`], [`StoreError::Io`].
pub fn write_model_folder(
    path: &Path,
    descriptions: &[(&str, serde_json::Value)],
    tensors: &StateDict,
    description: BTreeMap<String, String>,
) -> Result<()> {
    let folder = NewFolder::create(path)?;
    for (name, content) in descriptions {
        write_json(&folder.staging().join(name), content)?;
    }
    write_described(&folder.staging().join("model.safetensors"), tensors, description)?;
    folder.finish()?;
    Ok(())
}

/// Writes a CSV file (RFC 4180, `\n` line ends): the names of the columns, then the rows.
///
/// # Errors
/// [`StoreError::Io`], also for a row with another number of fields than the header.
pub fn write_csv<Row, Field>(
    path: &Path,
    header: &[impl AsRef<str>],
    rows: impl IntoIterator<Item = Row>,
) -> Result<()>
where
    Row: IntoIterator<Item = Field>,
    Field: AsRef<str>,
{
    atomic::write_with(path, |out| {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(header.iter().map(|name| name.as_ref().as_bytes()))?;
        for row in rows {
            // Field by field, because `write_record` wants `AsRef<[u8]>`.
            row.into_iter().try_for_each(|field| csv.write_field(field.as_ref()))?;
            csv.write_record(None::<&[u8]>)?;
        }
        csv.flush()
    })
}

/// Writes `value` as indented JSON.
///
/// # Errors
/// [`StoreError::Io`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    atomic::write_with(path, |out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        out.write_all(b"\n")
    })
}

/// Writes `lines`, each ended by a line feed: the paths that belong to the rows of a matrix, for example.
///
/// # Errors
/// [`StoreError::Io`]; a line that contains a line feed is an error too, since lines and
/// rows would no longer match.
pub fn write_lines(path: &Path, lines: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
    atomic::write_with(path, |out| {
        lines.into_iter().try_for_each(|line| match line.as_ref() {
            line if line.contains('\n') => {
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line feed inside {line:?}")))
            }
            line => writeln!(out, "{line}"),
        })
    })
}

/// Makes `folder`, with those above it, unless it is there.
///
/// # Errors
/// [`StoreError::Io`], also if a file goes by that name.
pub fn create_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(StoreError::io(folder, "create the folder"))
}
