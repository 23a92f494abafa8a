//! Which column holds the images, which the classes, and what the classes are called.

use std::path::Path;

use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{FileMetaData, ParquetMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use super::super::names::Labels;
use super::chunks::Chunks;
use super::claims;
use crate::Error;

/// Preferred names where several columns hold bytes or labels.
const IMAGE_NAMES: [&str; 6] = ["image", "img", "jpg", "jpeg", "png", "webp"];
const LABEL_NAMES: [&str; 5] = ["label", "labels", "fine_label", "cls", "class"];

/// The columns that matter, by their position among the leaves of the schema.
pub(super) struct Columns {
    pub(super) image: usize,
    label: Option<Label>,
}

struct Label {
    column: usize,
    /// Names of the classes 0, 1, ..., where the file has them.
    classes: Vec<String>,
}

impl Columns {
    pub(super) fn find(path: &Path, metadata: &ParquetMetaData) -> std::result::Result<Self, Error> {
        let schema = metadata.file_metadata().schema_descr();
        let leaves = schema.columns();
        let images: Vec<usize> = (0..leaves.len()).filter(|&i| holds_images(&leaves[i])).collect();
        let named = |i: &&usize| IMAGE_NAMES.contains(&&*leaves[**i].path().parts()[0]);
        let Some(&image) = images.iter().find(named).or_else(|| images.first()) else {
            let found: Vec<String> = leaves
                .iter()
                .map(|leaf| format!("{} ({})", leaf.path().string(), leaf.physical_type()))
                .collect();
            let expected = "a column of image files: bytes, or a struct {bytes, path}";
            return Err(Error::expected(path, expected, found.join(", ")));
        };
        let label = LABEL_NAMES.iter().find_map(|name| {
            let column = leaves.iter().position(|leaf| {
                let flat = leaf.path().parts().len() == 1 && leaf.max_rep_level() == 0;
                flat && leaf.path().string() == *name && kind_of_label(leaf).is_some()
            })?;
            Some(Label { column, classes: class_names(metadata.file_metadata(), name) })
        });
        Ok(Self { image, label })
    }

    /// The class of each row; `None` without a column of labels.
    pub(super) fn labels(
        &self,
        reader: &SerializedFileReader<Chunks>,
        chunks: &Chunks,
    ) -> Result<Option<Labels>> {
        let Some(Label { column, classes }) = &self.label else { return Ok(None) };
        let mut labels = Labels::default();
        let present = reader.metadata().file_metadata().schema_descr().column(*column).max_def_level();
        for group in 0..reader.num_row_groups() {
            let row_group = reader.get_row_group(group)?;
            claims::check(chunks, row_group.metadata().column(*column))?;
            let rows = row_group.metadata().num_rows() as usize;
            let mut push = |label: Option<String>| labels.push(label.as_deref());
            let number = |value: i64| {
                let name = usize::try_from(value).ok().and_then(|class| classes.get(class));
                // -1 is how Hugging Face writes an unknown label.
                (value >= 0).then(|| name.cloned().unwrap_or_else(|| value.to_string()))
            };
            match row_group.get_column_reader(*column)? {
                ColumnReader::Int32ColumnReader(column) => {
                    each(column, rows, present, |value| push(value.and_then(|&v| number(v.into()))))
                }
                ColumnReader::Int64ColumnReader(column) => {
                    each(column, rows, present, |value| push(value.and_then(|&v| number(v))))
                }
                ColumnReader::ByteArrayColumnReader(column) => each(column, rows, present, |value| {
                    push(value.map(|v| String::from_utf8_lossy(v.data()).into_owned()))
                }),
                _ => Err(ParquetError::General("a label column of another type".to_owned())),
            }?;
        }
        Ok(Some(labels))
    }
}

/// Hands every row's value over, `None` for null: a definition level other than `present`.
fn each<T: DataType>(
    mut column: ColumnReaderImpl<T>,
    rows: usize,
    present: i16,
    mut take: impl FnMut(Option<&T::T>),
) -> Result<()> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let (read, ..) = column.read_records(rows, Some(&mut levels), None, &mut values)?;
    if read != rows {
        return Err(ParquetError::EOF(format!("expected {rows} labels, found {read}")));
    }
    let mut values = values.iter();
    if present == 0 {
        values.for_each(|value| take(Some(value)));
        return Ok(());
    }
    levels.iter().for_each(|&level| take(if level == present { values.next() } else { None }));
    Ok(())
}

fn holds_images(leaf: &ColumnDescriptor) -> bool {
    let parts = leaf.path().parts();
    let flat = parts.len() == 1;
    let field = parts.len() == 2 && parts[1] == "bytes";
    let text =
        matches!(leaf.logical_type_ref(), Some(LogicalType::String | LogicalType::Json | LogicalType::Enum))
            || leaf.converted_type() == ConvertedType::UTF8;
    leaf.physical_type() == Type::BYTE_ARRAY && leaf.max_rep_level() == 0 && (flat || field) && !text
}

fn kind_of_label(leaf: &ColumnDescriptor) -> Option<Type> {
    Some(leaf.physical_type()).filter(|kind| matches!(kind, Type::INT32 | Type::INT64 | Type::BYTE_ARRAY))
}

/// The names that Hugging Face's `ClassLabel` keeps in the file, or none.
fn class_names(metadata: &FileMetaData, column: &str) -> Vec<String> {
    let pairs = metadata.key_value_metadata().map(Vec::as_slice).unwrap_or_default();
    let text = pairs.iter().find(|pair| pair.key == "huggingface").and_then(|pair| pair.value.as_deref());
    let facts: serde_json::Value = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let names = &facts["info"]["features"][column]["names"];
    serde_json::from_value(names.clone()).unwrap_or_default()
}
