//! Which training images a low-shot evaluation labels: drawn, or named by split files.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use msn_data::Skipped;
use msn_eval::{Amount, Classes, Error, ExtractError, Extractor, Labelled, SplitFile, SplitSet};
use msn_store::export;

use crate::features::{LabelledImages, check_regression};
use crate::progress::{counted, say, warn};

/// Which training images are labelled.
pub(crate) struct Labelling {
    /// One entry for each amount of images; the splits by image numbers.
    pub(crate) sets: Vec<SplitSet>,
    /// Images that were drawn, cannot be read, and gave way to others.
    pub(crate) unreadable: usize,
}

/// How images are drawn.
#[derive(Clone, Copy)]
pub(crate) struct Drawing {
    pub(crate) splits: u64,
    pub(crate) seed: u64,
    /// Leaves out the amounts from the first one on that some class has too few images for, if there is one before it.
    pub(crate) stop_short: bool,
}

impl Labelling {
    /// Draws images for each amount. An image that one of the `extractors` cannot read gives way to the next of its class,
    /// with a message: every class has its number of images.
    pub(crate) fn draw(
        extractors: &[&Extractor],
        train: &LabelledImages,
        amounts: &[Amount],
        drawing: Drawing,
    ) -> anyhow::Result<Self> {
        let classes = Classes::of(&train.labels);
        let labels = classes.indices(&train.labels)?;
        let mut known = HashMap::new();
        let mut readable = |image: usize| -> Result<bool, ExtractError> {
            if let Some(&readable) = known.get(&image) {
                return Ok(readable);
            }
            let mut readable = true;
            for extractor in extractors {
                if let Some(skipped) = extractor.check(&*train.dataset, image)? {
                    not_labelled(&skipped);
                    readable = false;
                    break;
                }
            }
            known.insert(image, readable);
            Ok(readable)
        };
        let mut sets = Vec::new();
        for &amount in amounts {
            let split =
                |split| msn_eval::draw_usable(&labels, &classes, amount, drawing.seed, split, &mut readable);
            let splits = match (0..drawing.splits).map(split).collect() {
                Ok(splits) => splits,
                Err(ExtractError::Evaluation(error @ Error::TooFewImages { .. }))
                    if drawing.stop_short && !sets.is_empty() =>
                {
                    say(&format!("no more labels than that: {error}"));
                    break;
                }
                // It names the images already.
                Err(ExtractError::Data(error)) => return Err(error.into()),
                Err(error) => return Err(error).context(train.dataset.path().display().to_string()),
            };
            sets.push(SplitSet { amount: Some(amount), splits });
        }
        Ok(Self { sets, unreadable: known.values().filter(|&&readable| !readable).count() })
    }

    /// The images that split files name, all of which must be readable: other images would be another split.
    pub(crate) fn read(
        extractor: &Extractor,
        train: &LabelledImages,
        files: &[PathBuf],
    ) -> anyhow::Result<Self> {
        let names = names(train);
        let read = |path: &PathBuf| {
            let images = SplitFile::read(path)?.images(&names, &train.labels)?;
            for &image in &images {
                if let Some(skipped) = extractor.check(&*train.dataset, image)? {
                    bail!("{}: expected images that can be read, found {skipped}", path.display());
                }
            }
            Ok(images)
        };
        let splits = files.iter().map(read).collect::<anyhow::Result<_>>()?;
        Ok(Self { sets: vec![SplitSet { amount: None, splits }], unreadable: 0 })
    }

    /// All images that some split labels, ascending.
    pub(crate) fn images(&self) -> Vec<usize> {
        let all: BTreeSet<usize> = self.sets.iter().flat_map(|set| &set.splits).flatten().copied().collect();
        all.into_iter().collect()
    }

    /// Writes each split to a file of its own in `folder`, such as `5-shot-0.txt` and `1-percent-2.txt`. A file that
    /// holds another split already is not replaced.
    pub(crate) fn write(&self, train: &LabelledImages, folder: &Path) -> anyhow::Result<()> {
        let names = names(train);
        let mut files = Vec::new();
        for set in &self.sets {
            for (number, split) in set.splits.iter().enumerate() {
                let amount = match set.amount {
                    Some(Amount::Shots(shots)) => format!("{shots}-shot"),
                    Some(Amount::Percent(percent)) => format!("{percent}-percent"),
                    None => "split".to_owned(),
                };
                let path = folder.join(format!("{amount}-{number}.txt"));
                let text = SplitFile::of("", split, &names).to_text();
                if path.exists() {
                    let same = std::fs::read_to_string(&path).is_ok_and(|found| found == text);
                    ensure!(
                        same,
                        "{}: expected no file or this very split, found another file; choose another folder",
                        path.display()
                    );
                } else {
                    files.push((path, text));
                }
            }
        }
        export::create_folder(folder)?;
        for (path, text) in &files {
            msn_store::atomic::write(path, text.as_bytes())?;
        }
        say(&format!(
            "{} in {}",
            counted(self.sets.iter().map(|set| set.splits.len()).sum(), "split"),
            folder.display()
        ));
        Ok(())
    }
}

/// Says that an image was drawn that cannot be read.
pub(super) fn not_labelled(skipped: &Skipped) {
    warn(&format!("not labelled: {skipped}; another image of its class is, where there is one"));
}

/// Features of the labelled images and of the test images, with the splits by rows of the former.
pub(crate) struct LabelledSets {
    /// Those images that some split labels.
    pub(crate) train: Labelled,
    pub(crate) test: Labelled,
    /// The image of each test row.
    pub(crate) test_images: Vec<usize>,
    pub(crate) sets: Vec<SplitSet>,
    /// Images that could not be read.
    pub(crate) skipped: usize,
}

impl LabelledSets {
    /// Looks at the test images and at those training images that a split labels, and at no others.
    pub(crate) fn new(
        extractor: &Extractor,
        train: &LabelledImages,
        test: &LabelledImages,
        labelling: &Labelling,
    ) -> anyhow::Result<Self> {
        let labelled = labelling.images();
        let labels: Vec<String> = labelled.iter().map(|&image| train.labels[image].clone()).collect();
        let path = train.dataset.path();
        test.check_classes(&labels, path)?;
        let largest = labelling.sets.iter().flat_map(|set| &set.splits).map(Vec::len).max().unwrap_or(0);
        check_regression(path, largest, extractor.dim(), Classes::of(&labels).len())?;
        let train = train.features(extractor, &labelled, "features of the labelled images")?;
        let test = test.all_features(extractor, "features of the test images")?;
        let rows_of = |set: &SplitSet| {
            let splits: Option<Vec<_>> = set.splits.iter().map(|split| train.rows_of(split)).collect();
            splits.map(|splits| SplitSet { amount: set.amount, splits })
        };
        let sets: Option<Vec<SplitSet>> = labelling.sets.iter().map(rows_of).collect();
        let sets = sets.with_context(|| {
            format!("{}: a labelled image that could be read a moment ago no longer can", path.display())
        })?;
        let skipped = labelling.unreadable + test.skipped.len();
        Ok(Self { train: train.labelled, test: test.labelled, test_images: test.images, sets, skipped })
    }
}

fn names(images: &LabelledImages) -> Vec<String> {
    (0..images.labels.len()).map(|i| images.dataset.name(i).to_owned()).collect()
}
