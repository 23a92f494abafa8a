//! `--labels`, and `--train` or `--test` with `--images`: a CSV file with the labels of some of many images.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use msn_data::{Dataset, LabelRow, LabelRows};
use msn_eval::{Extractor, FeatureRows, Labelled};

use crate::features;
use crate::progress::warn;

/// The images that a CSV file labels.
pub(crate) struct LabelFile {
    path: PathBuf,
    images: Arc<dyn Dataset>,
    rows: Vec<Row>,
}

struct Row {
    place: Place,
    /// Its number among the images that the file labels, if it is one of them.
    image: Option<usize>,
    name: String,
    label: String,
}

/// Where a labelled image is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// Within the images that the file labels: a tar archive, for example.
    Image(usize),
    File(PathBuf),
}

impl LabelFile {
    /// Reads the CSV file `path`. A relative path in it is sought beside the CSV file, then in `images`, which were
    /// opened from `images_path`.
    pub(crate) fn open(path: &Path, images_path: &Path, images: Arc<dyn Dataset>) -> anyhow::Result<Self> {
        let file = path.display();
        let mut labelled = LabelRows::open_labelled(path)?;

        // `None`: several images have the name.
        let mut names: HashMap<&str, Option<usize>> = HashMap::new();
        for index in 0..images.len() {
            names.entry(images.name(index)).and_modify(|image| *image = None).or_insert(Some(index));
        }
        let folders = [path.parent().unwrap_or(Path::new("")), images_path];
        let images_folder = images_path.canonicalize().ok();
        let mut rows = Vec::new();
        let mut lines = HashMap::new();
        while let Some(LabelRow { line, path: name, label }) = labelled.next()? {
            let label = label.expect("rows without one are refused");
            let file_path = folders.map(|folder| folder.join(name)).into_iter().find(|path| path.is_file());
            let place = match (file_path, names.get(name)) {
                (Some(path), _) => Place::File(path),
                (None, Some(&Some(index))) => Place::Image(index),
                (None, Some(None)) => bail!(
                    "{file}, line {line}: expected the name of one image in {}, but several are called `{name}`",
                    images_path.display()
                ),
                (None, None) => bail!(
                    "{file}, line {line}: expected the path of an image beside this file or in {}, found `{name}`",
                    images_path.display()
                ),
            };
            if let Some(first) = lines.insert(place.clone(), line) {
                bail!(
                    "{file}, line {line}: expected each image once, found `{name}` in line {first} as well"
                );
            }
            let image = match &place {
                Place::Image(index) => Some(*index),
                Place::File(path) => {
                    let name = images_folder.as_deref().and_then(|folder| name_below(path, folder));
                    name.and_then(|name| *names.get(&*name)?)
                }
            };
            rows.push(Row { place, image, name: name.to_owned(), label: label.to_owned() });
        }
        drop(names);
        ensure!(!rows.is_empty(), "{file}: expected labels, found none");
        Ok(Self { path: path.to_owned(), images, rows })
    }

    /// Name and label of each labelled image, and its number among the images that the file labels, if it is one of them.
    pub(crate) fn labelled(&self) -> impl Iterator<Item = (&str, &str, Option<usize>)> {
        self.rows.iter().map(|row| (&*row.name, &*row.label, row.image))
    }

    /// Features of the labelled images that can be read, which must have at least two different labels, to fit a regression
    /// on.
    pub(crate) fn features(&self, extractor: &Extractor) -> anyhow::Result<Labelled> {
        let classes: BTreeSet<&String> = self.rows.iter().map(|row| &row.label).collect();
        features::check_regression(&self.path, self.rows.len(), extractor.dim(), classes.len())?;
        let indices: Vec<usize> = (0..self.len()).collect();
        let found = features::rows(extractor, self, &indices, "features of the labelled images")?;
        self.warn_of_lost_classes(&found);
        let labels = found.images.iter().map(|&image| self.rows[image].label.clone()).collect();
        let labelled = Labelled::new(found.features, labels)?;
        self.check_several(labelled.labels(), " of images that can be read")?;
        Ok(labelled)
    }

    /// Fails where all images have one label, which nothing can be learned from.
    pub(crate) fn check_labels(&self) -> anyhow::Result<()> {
        self.check_several(self.rows.iter().map(|row| &row.label), "")
    }

    fn check_several<'a>(
        &self,
        labels: impl IntoIterator<Item = &'a String>,
        of_which: &str,
    ) -> anyhow::Result<()> {
        let mut labels = labels.into_iter();
        let first = labels.next().context("labels of no image")?;
        ensure!(
            labels.any(|label| label != first),
            "{}: expected at least two different labels{of_which}, found only `{first}`",
            self.path.display()
        );
        Ok(())
    }

    /// Warns of classes of whose labelled images not one can be read.
    fn warn_of_lost_classes(&self, found: &FeatureRows) {
        let class = |image: usize| &*self.rows[image].label;
        let known: BTreeSet<&str> = found.images.iter().map(|&image| class(image)).collect();
        let mut lost: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for skipped in found.skipped.iter().filter(|skipped| !known.contains(class(skipped.image))) {
            lost.entry(class(skipped.image)).or_default().push(skipped.to_string());
        }
        for (class, images) in lost {
            warn(&format!(
                "no image is predicted to be `{class}`, since none of its labelled images can be read: {}",
                images.join("; ")
            ));
        }
    }
}

/// What a file is called among the images of a folder, given by its canonical path.
fn name_below(file: &Path, folder: &Path) -> Option<String> {
    file.canonicalize().ok()?.strip_prefix(folder).ok()?.to_str().map(ToOwned::to_owned)
}

impl Dataset for LabelFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn name(&self, index: usize) -> &str {
        &self.rows[index].name
    }

    fn label(&self, index: usize) -> Option<&str> {
        Some(&self.rows[index].label)
    }

    fn is_reachable(&self) -> bool {
        self.rows.iter().any(|row| match &row.place {
            Place::Image(_) => self.images.is_reachable(),
            Place::File(path) => path.exists(),
        })
    }

    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), msn_data::Error> {
        match &self.rows[index].place {
            Place::Image(index) => self.images.read_into(*index, max_bytes, bytes),
            Place::File(path) => msn_data::read_file(path, max_bytes, bytes),
        }
    }
}
