//! `--checkpoint`: from images to rows of features.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use msn_data::Dataset;
use msn_eval::{Extractor, FeatureRows, Labelled};

use crate::cli::{EncoderChoice, FeatureChoice};
use crate::device;
use crate::progress::{ImageProgress, warn};

const RAW_PIXELS: &str = "raw-pixels";
const UNTRAINED: &str = "untrained:";

/// The encoder that the arguments name; says which checkpoints had to be passed over.
pub(crate) fn extractor(choice: &EncoderChoice) -> anyhow::Result<Extractor> {
    let device = device::open(&choice.device.name)?;
    let features = match choice.features {
        FeatureChoice::BeforeNorm => msn_model::Features::BeforeNorm,
        FeatureChoice::AfterNorm => msn_model::Features::AfterNorm,
    };
    let extractor = match (choice.checkpoint.as_str(), choice.checkpoint.strip_prefix(UNTRAINED)) {
        (RAW_PIXELS, _) => Extractor::raw_pixels(),
        (_, Some(run)) => Extractor::untrained(Path::new(run), features, &device)?,
        (run, None) => Extractor::pretrained(Path::new(run), features, &device)?,
    };
    for rejected in extractor.passed_over() {
        warn(&rejected.to_string());
    }
    Ok(extractor)
}

/// Features of the images of `indices`; those that cannot be read are left out and named on stderr.
pub(crate) fn rows(
    extractor: &Extractor,
    dataset: &dyn Dataset,
    indices: &[usize],
    what: &'static str,
) -> anyhow::Result<FeatureRows> {
    let mut progress = ImageProgress::new(what, indices.len());
    let rows = extractor.rows(dataset, indices, |done| progress.set(done))?;
    drop(progress);
    for skipped in &rows.skipped {
        warn(&format!("left out {skipped}"));
    }
    Ok(rows)
}

/// Labelled images: a dataset whose images lie in folders named after their classes.
pub(crate) struct LabelledImages {
    pub(crate) dataset: Arc<dyn Dataset>,
    /// Class of each image.
    pub(crate) labels: Vec<String>,
}

impl LabelledImages {
    /// Opens `path` and reads the class of every image off its folder.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let dataset = msn_data::open(path)?;
        let label = |index: usize| {
            dataset.label(index).map(ToOwned::to_owned).with_context(|| {
                let name = dataset.name(index);
                format!(
                    "{}: {name}: expected an image in a folder named after its class, found it at the root",
                    path.display()
                )
            })
        };
        let labels = (0..dataset.len()).map(label).collect::<anyhow::Result<_>>()?;
        Ok(Self { dataset, labels })
    }

    /// Features of the images of `indices`, ascending, without those that cannot be read.
    pub(crate) fn features(
        &self,
        extractor: &Extractor,
        indices: &[usize],
        what: &'static str,
    ) -> anyhow::Result<LabelledRows> {
        let FeatureRows { images, features, skipped } = rows(extractor, &*self.dataset, indices, what)?;
        let labels = images.iter().map(|&image| self.labels[image].clone()).collect();
        Ok(LabelledRows { labelled: Labelled::new(features, labels)?, images, skipped: skipped.len() })
    }

    /// Features of all images that can be read.
    pub(crate) fn all_features(
        &self,
        extractor: &Extractor,
        what: &'static str,
    ) -> anyhow::Result<LabelledRows> {
        let all: Vec<usize> = (0..self.labels.len()).collect();
        self.features(extractor, &all, what)
    }
}

/// Features and labels of the images that can be read.
pub(crate) struct LabelledRows {
    pub(crate) labelled: Labelled,
    /// Number of images that cannot be read.
    pub(crate) skipped: usize,
    /// The image of each row, ascending.
    images: Vec<usize>,
}

impl LabelledRows {
    /// Rows of these images, without those that have none.
    pub(crate) fn rows_of(&self, images: &[usize]) -> Vec<usize> {
        images.iter().filter_map(|image| self.images.binary_search(image).ok()).collect()
    }
}
