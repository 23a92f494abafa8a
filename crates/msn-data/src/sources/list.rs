//! Files that list paths: a text file, or a CSV file that has their classes too.

use std::path::{Path, PathBuf};

use super::file::read_file;
use super::label_rows::LabelRows;
use super::names::{Labels, Names};
use super::{Dataset, Witnesses, parent_folder};
use crate::Error;

/// The images that a list names, in its order; their paths are absolute or relative to the folder of the list.
pub(super) struct List {
    path: PathBuf,
    folder: PathBuf,
    /// The paths of the images.
    names: Names,
    witnesses: Witnesses,
    /// `None`: the folders that the images lie in.
    labels: Option<Labels>,
}

impl List {
    /// One path a line; blank lines and lines that start with `#` are left out.
    pub(super) fn open_text(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::InvalidData => {
                Error::expected(path, "a list in UTF-8", "another encoding, or no text")
            }
            _ => Error::io(path, e),
        })?;
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let files = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        Self::new(path, files, None, "the path of an image in each line")
    }

    /// A single image, as if a list named it.
    pub(super) fn of_one(path: &Path) -> Result<Self, Error> {
        let file = super::file_name(path);
        Self::new(path, [file.as_str()].into_iter().collect(), None, "an image")
    }

    /// A header with a column `path` and perhaps a column `label`, which may be empty where it is not known.
    pub(super) fn open_csv(path: &Path) -> Result<Self, Error> {
        let mut rows = LabelRows::open(path)?;
        let has_labels = rows.has_labels();
        let (mut files, mut labels) = (Names::default(), Labels::default());
        while let Some(row) = rows.next()? {
            files.push(row.path);
            labels.push(row.label);
        }
        Self::new(path, files, has_labels.then_some(labels), "a row for each image below the header")
    }

    /// `expected` is what a list of this kind holds.
    fn new(path: &Path, files: Names, labels: Option<Labels>, expected: &str) -> Result<Self, Error> {
        if files.is_empty() {
            return Err(Error::no_images(path, expected));
        }
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut names = Names::default();
        for file in files.iter() {
            // A list from Windows separates folders by what elsewhere is a part of a name.
            let windows = file.contains('\\') && !folder.join(file).exists();
            names.push(&if windows { file.replace('\\', "/") } else { file.to_owned() });
        }
        let witnesses = Witnesses::of(names.len(), |image| folder.join(names.get(image)));
        Ok(Self { path: path.to_owned(), folder, names, labels, witnesses })
    }
}

impl Dataset for List {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> usize {
        self.names.len()
    }

    fn name(&self, index: usize) -> &str {
        self.names.get(index)
    }

    fn label(&self, index: usize) -> Option<&str> {
        match &self.labels {
            Some(labels) => labels.get(index),
            None => parent_folder(self.name(index)),
        }
    }

    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        read_file(&self.folder.join(self.names.get(index)), max_bytes, bytes)
    }

    fn is_reachable(&self) -> bool {
        self.witnesses.is_any_left()
    }
}
