//! Splits as text: one image name a line.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::Error;

/// The image names of a split file.
///
/// A name is a path relative to the training images (`n01440764/n01440764_10026.JPEG`), as [`SplitFile::of`] makes
/// them, or a bare file name (`n01440764_10026.JPEG`) whose class is the text before its first `_`, as in the
/// published ImageNet splits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitFile {
    /// Where the text comes from, for messages.
    origin: String,
    /// Line number from 1 and name.
    lines: Vec<(usize, String)>,
}

impl SplitFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::ReadSplit`] if it cannot be read as text, [`Error::EmptySplit`] if it names nothing.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::ReadSplit { path: path.to_owned(), source };
        Self::parse(&path.display().to_string(), &std::fs::read_to_string(path).map_err(failed)?)
    }

    /// Takes the text apart. Empty lines and a byte-order mark are skipped; `\` and a leading `./` are read as in a
    /// relative path.
    ///
    /// # Errors
    /// [`Error::EmptySplit`] if it names nothing.
    pub fn parse(origin: &str, text: &str) -> Result<Self, Error> {
        let numbered = text
            .trim_start_matches('\u{feff}')
            .lines()
            .enumerate()
            .map(|(i, line)| (i + 1, plain(line.trim())));
        let lines: Vec<_> = numbered.filter(|(_, name)| !name.is_empty()).collect();
        if lines.is_empty() {
            return Err(Error::EmptySplit { origin: origin.to_owned() });
        }
        Ok(Self { origin: origin.to_owned(), lines })
    }

    /// The split of the given images. names: relative path of every training image.
    ///
    /// # Panics
    /// If an image has no name.
    pub fn of(origin: &str, images: &[usize], names: &[String]) -> Self {
        let line = |(i, &image): (usize, &usize)| (i + 1, plain(&names[image]));
        Self { origin: origin.to_owned(), lines: images.iter().enumerate().map(line).collect() }
    }

    /// Numbers of the named images in the order of the lines.
    ///
    /// names, labels: relative path and class name of every training image. A line stands for the image of that
    /// path, or else for the image whose path ends as the line does, or that the line ends with, as where one of the two
    /// begins at another folder; where several do, for the one of the class that the line itself names.
    ///
    /// # Errors
    /// [`Error::UnknownImage`], [`Error::OtherFolder`], [`Error::AmbiguousImage`] and [`Error::RepeatedImage`] with the
    /// line.
    ///
    /// # Panics
    /// If there is not one label a name.
    pub fn images(&self, names: &[String], labels: &[String]) -> Result<Vec<usize>, Error> {
        assert_eq!(names.len(), labels.len(), "one label per name");
        let names: Vec<String> = names.iter().map(|name| plain(name)).collect();
        let paths: HashMap<&str, usize> =
            names.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let mut files: HashMap<&str, Vec<usize>> = HashMap::new();
        for (image, name) in names.iter().enumerate() {
            files.entry(file_name(name)).or_default().push(image);
        }
        let mut seen = HashSet::new();
        let find = |(line, name): &(usize, String)| {
            let found = match paths.get(name.as_str()) {
                Some(&image) => image,
                None => {
                    let candidates = files.get(file_name(name)).map_or(&[][..], Vec::as_slice);
                    self.choose(*line, name, candidates, &names, labels)?
                }
            };
            if !seen.insert(found) {
                let (origin, name) = (self.origin.clone(), name.clone());
                return Err(Error::RepeatedImage { origin, line: *line, name });
            }
            Ok(found)
        };
        self.lines.iter().map(find).collect()
    }

    fn choose(
        &self,
        line: usize,
        name: &str,
        candidates: &[usize],
        names: &[String],
        labels: &[String],
    ) -> Result<usize, Error> {
        let of_path: Vec<usize> =
            candidates.iter().copied().filter(|&image| share_an_end(&names[image], name)).collect();
        let of_class: Vec<usize> =
            of_path.iter().copied().filter(|&image| Some(labels[image].as_str()) == class_of(name)).collect();
        let fitting = if of_class.is_empty() { &of_path } else { &of_class };
        match (&fitting[..], candidates) {
            ([image], _) => Ok(*image),
            ([], [other, ..]) => Err(Error::OtherFolder {
                origin: self.origin.clone(),
                line,
                name: name.to_owned(),
                found: names[*other].clone(),
            }),
            ([], []) => Err(Error::UnknownImage {
                origin: self.origin.clone(),
                line,
                name: name.to_owned(),
                images: names.len(),
            }),
            ([first, second, ..], _) => Err(Error::AmbiguousImage {
                origin: self.origin.clone(),
                line,
                name: name.to_owned(),
                first: names[*first].clone(),
                second: names[*second].clone(),
            }),
        }
    }

    /// Class that each line names by itself: the folder of a path, the text before the first `_` of a file name;
    /// `None` where there is neither. For training images without labels of their own.
    pub fn classes(&self) -> impl Iterator<Item = Option<&str>> {
        self.lines.iter().map(|(_, name)| class_of(name))
    }

    /// The text, one name a line, as [`parse`](Self::parse) reads it.
    pub fn to_text(&self) -> String {
        self.lines.iter().map(|(_, name)| format!("{name}\n")).collect()
    }
}

fn plain(name: &str) -> String {
    let name = name.replace('\\', "/");
    name.strip_prefix("./").unwrap_or(&name).to_owned()
}

fn file_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Whether one of two paths, of which a bare file name is one, is the end of the other, by whole components. An image of
/// the same file name in another folder is another image.
fn share_an_end(a: &str, b: &str) -> bool {
    a.rsplit('/').zip(b.rsplit('/')).all(|(a, b)| a == b)
}

fn class_of(name: &str) -> Option<&str> {
    match name.rsplit_once('/') {
        Some((folders, _)) => folders.rsplit('/').next(),
        None => name.split_once('_').map(|(class, _)| class),
    }
}
