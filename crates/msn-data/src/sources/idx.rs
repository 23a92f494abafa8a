//! IDX, the format of MNIST, Fashion-MNIST, EMNIST and their kin: a big-endian header (two zero bytes, the type of the
//! values, the number of dimensions, the dimensions) and the values.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::file::{SharedFile, check_length};
use super::names::{Labels, Names};
use super::{Dataset, file_name, raw};
use crate::Error;

const UNSIGNED_BYTE: u8 = 8;

/// The images of one file, `[count, height, width]` or `[count, height, width, 3]`, in its order.
pub(super) struct Idx {
    file: SharedFile,
    /// Bytes before the first pixel.
    start: u64,
    height: usize,
    width: usize,
    channels: usize,
    names: Names,
    labels: Option<Labels>,
}

/// True for `train-images-idx3-ubyte`, `train-images.idx3-ubyte` and the like.
pub(super) fn accepts(path: &Path) -> bool {
    let name = file_name(path);
    path.is_file()
        && (name.ends_with("-ubyte") || [".idx", ".idx3", ".idx4"].iter().any(|end| name.ends_with(end)))
}

impl Idx {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let file = SharedFile::open(path)?;
        let (dimensions, start) = header(&file)?;
        let (count, height, width, channels) = match dimensions[..] {
            [count, height, width] => (count, height, width, 1),
            [count, height, width, 3] => (count, height, width, 3),
            _ => {
                let expected = "images: the dimensions [count, height, width] or [count, height, width, 3]";
                return Err(Error::expected(path, expected, format!("{dimensions:?}")));
            }
        };
        check_values(&file, &dimensions, start)?;
        if dimensions.contains(&0) {
            return Err(Error::expected(
                path,
                "at least one image of at least one pixel",
                format!("{dimensions:?}"),
            ));
        }
        let stem = file_name(path);
        let mut names = Names::default();
        (0..count).for_each(|index| names.push(&format!("{stem}/{index:05}")));
        let labels = label_file(path).map(|labels| read_labels(&labels, count)).transpose()?;
        Ok(Self { file, start, height, width, channels, names, labels })
    }
}

/// The dimensions, and where the values begin.
fn header(file: &SharedFile) -> Result<(Vec<usize>, u64), Error> {
    let expected = "an IDX header (00 00 08, then 1 to 4 dimensions)";
    let unread = |e: io::Error| match e.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::expected(file.path(), expected, format!("{} bytes", file.length()))
        }
        _ => Error::io(file.path(), e),
    };
    let mut magic = [0; 4];
    file.read_exact_at(&mut magic, 0).map_err(unread)?;
    match magic {
        [0x1F, 0x8B, ..] => {
            let found = "gzip data: decompress it first (`gunzip`)";
            return Err(Error::expected(file.path(), expected, found));
        }
        [0, 0, UNSIGNED_BYTE, 1..=4] => {}
        _ => return Err(Error::expected(file.path(), expected, format!("{magic:02x?}"))),
    }
    let mut sizes = vec![0; 4 * usize::from(magic[3])];
    file.read_exact_at(&mut sizes, 4).map_err(unread)?;
    let dimensions = sizes.as_chunks().0.iter().map(|&size| u32::from_be_bytes(size) as usize).collect();
    Ok((dimensions, 4 + sizes.len() as u64))
}

/// Refuses a file that has not exactly the values that its header speaks of.
fn check_values(file: &SharedFile, dimensions: &[usize], start: u64) -> Result<(), Error> {
    let values = dimensions.iter().try_fold(1u64, |product, &size| product.checked_mul(size as u64));
    let needed = values.and_then(|values| values.checked_add(start));
    if needed == Some(file.length()) {
        return Ok(());
    }
    let needed = needed.map_or("more than any file has".to_owned(), |needed| needed.to_string());
    let expected = format!("{needed} bytes for the dimensions {dimensions:?}");
    Err(Error::expected(file.path(), expected, format!("{} bytes", file.length())))
}

/// The file of labels that belongs to a file of images, if there is one.
fn label_file(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    let labels = name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1");
    Some(images.with_file_name(&labels)).filter(|path| labels != name && path.is_file())
}

fn read_labels(path: &Path, count: usize) -> Result<Labels, Error> {
    let file = SharedFile::open(path)?;
    let (dimensions, start) = header(&file)?;
    if dimensions != [count] {
        return Err(Error::expected(
            path,
            format!("{count} labels, one an image"),
            format!("{dimensions:?}"),
        ));
    }
    check_values(&file, &dimensions, start)?;
    let io_error = |e| Error::io(path, e);
    let mut values = Vec::new();
    file.reader().read_to_end(&mut values).map_err(io_error)?;
    let texts: Vec<String> = (0..=255u8).map(|label| label.to_string()).collect();
    Ok(values.iter().skip(start as usize).map(|&label| Some(&*texts[usize::from(label)])).collect())
}

impl Dataset for Idx {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn len(&self) -> usize {
        self.names.len()
    }

    fn name(&self, index: usize) -> &str {
        self.names.get(index)
    }

    fn label(&self, index: usize) -> Option<&str> {
        self.labels.as_ref().and_then(|labels| labels.get(index))
    }

    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let length = self.height * self.width * self.channels;
        check_length(self.path(), length as u64, max_bytes)?;
        let mut pixels = vec![0; length];
        let offset = self.start + index as u64 * length as u64;
        self.file.read_exact_at(&mut pixels, offset).map_err(|e| Error::io(self.path(), e))?;
        raw::encode(self.width, self.height, self.channels, &pixels, bytes);
        Ok(())
    }
}
