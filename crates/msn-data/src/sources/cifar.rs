//! CIFAR-10 and CIFAR-100 in their binary versions (Krizhevsky, "Learning multiple layers of features from tiny
//! images", 2009): files of records, each a label (CIFAR-100: a coarse and a fine one) and 32 x 32 pixels, all red
//! values first, then green, then blue.

use std::fs;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::{SharedFile, check_length};
use super::names::{Labels, Names};
use super::shards::Shards;
use super::{Dataset, file_name, raw};
use crate::Error;

const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;

/// The two versions: bytes of labels before the pixels (the last is the finest), classes, the file with their names.
const VERSIONS: [(usize, usize, &str); 2] = [(1, 10, "batches.meta.txt"), (2, 100, "fine_label_names.txt")];

/// The images of one file, in its order.
struct Cifar {
    file: SharedFile,
    label_bytes: usize,
    names: Names,
    labels: Labels,
}

/// True for a `.bin` file, and for a folder that holds the training files under their names.
pub(super) fn accepts(path: &Path) -> bool {
    super::has_extension(path, "bin") || !training_files(path).is_empty()
}

/// Opens one file, or the training files of a folder.
pub(super) fn open(path: &Path) -> Result<Arc<dyn Dataset>, Error> {
    let files = training_files(path);
    if files.is_empty() {
        return Ok(Arc::new(Cifar::open(path)?));
    }
    let parts = files.iter().map(|file| Ok(Arc::new(Cifar::open(file)?) as Arc<dyn Dataset>));
    Ok(Arc::new(Shards::new(path, parts.collect::<Result<_, Error>>()?)))
}

fn training_files(folder: &Path) -> Vec<PathBuf> {
    let batches = (1..=5).map(|i| format!("data_batch_{i}.bin"));
    let files = batches.map(|name| folder.join(name)).filter(|path| path.is_file());
    let cifar_100 = folder.join("train.bin");
    let labelled = folder.join(VERSIONS[1].2).is_file() && cifar_100.is_file();
    files.chain(labelled.then_some(cifar_100)).collect()
}

impl Cifar {
    fn open(path: &Path) -> Result<Self, Error> {
        let file = SharedFile::open(path)?;
        let fits = |label_bytes: usize| file.length() % (label_bytes + 3 * PIXELS) as u64 == 0;
        let named_100 = path.with_file_name(VERSIONS[1].2).is_file();
        // Lengths that are multiples of both are those of more than 3,000 images; the class names decide then.
        let mut versions = VERSIONS.into_iter().filter(|version| fits(version.0)).collect::<Vec<_>>();
        if named_100 {
            versions.reverse();
        }
        let Some(&(label_bytes, classes, class_file)) = versions.first().filter(|_| file.length() > 0) else {
            return Err(Error::expected(
                path,
                "a whole number of CIFAR records of 3,073 bytes (CIFAR-10) or 3,074 bytes (CIFAR-100)",
                format!("{} bytes", file.length()),
            ));
        };
        let count = (file.length() / (label_bytes + 3 * PIXELS) as u64) as usize;
        let class_names = class_names(&path.with_file_name(class_file), classes)?;
        let stem = file_name(path);
        let (mut names, mut labels) = (Names::default(), Labels::default());
        let mut record = vec![0; label_bytes + 3 * PIXELS];
        let mut reader = BufReader::with_capacity(1 << 20, file.reader());
        for index in 0..count {
            reader.read_exact(&mut record).map_err(|e| Error::io(path, e))?;
            let label = usize::from(record[label_bytes - 1]);
            let Some(class) = class_names.get(label) else {
                let place = format!("labels below {classes}");
                return Err(Error::expected(path, place, format!("{label} in record {index}")));
            };
            names.push(&format!("{stem}/{index:05}"));
            labels.push(Some(class));
        }
        Ok(Self { file, label_bytes, names, labels })
    }
}

/// The names of the classes, one a line; their numbers where the file is missing or of another length.
fn class_names(path: &Path, classes: usize) -> Result<Vec<String>, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
        Err(e) if e.kind() == ErrorKind::InvalidData => {
            return Err(Error::expected(path, "names of classes in UTF-8", "another encoding, or no text"));
        }
        Err(e) => return Err(Error::io(path, e)),
    };
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(ToOwned::to_owned).collect();
    let numbers = || (0..classes).map(|class| class.to_string()).collect();
    Ok(if names.len() == classes { names } else { numbers() })
}

impl Dataset for Cifar {
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
        self.labels.get(index)
    }

    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        check_length(self.path(), 3 * PIXELS as u64, max_bytes)?;
        let mut planes = [0; 3 * PIXELS];
        let offset = index * (self.label_bytes + planes.len()) + self.label_bytes;
        self.file.read_exact_at(&mut planes, offset as u64).map_err(|e| Error::io(self.path(), e))?;
        let mut pixels = [0; 3 * PIXELS];
        for (i, pixel) in pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            *pixel = [planes[i], planes[PIXELS + i], planes[2 * PIXELS + i]];
        }
        raw::encode(SIDE, SIDE, 3, &pixels, bytes);
        Ok(())
    }
}
