//! Rows of features with the images that they belong to.

use msn_data::{Corruption, Dataset, EvalBatch, EvalConfig, Skipped, check_image, load_eval};
use msn_model::{View, host};

use super::{ExtractError, Extractor, Kind};
use crate::{Error, Features};

/// Features of the images that could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureRows {
    /// The images by their index in the dataset, in the order asked for: [rows].
    pub images: Vec<usize>,
    /// Their features: [rows, dim].
    pub features: Features,
    /// The images that could not be read, which have no row.
    pub skipped: Vec<Skipped>,
}

impl Extractor {
    /// Features of the images of `indices`, in that order; `progress` is told how many images are done.
    ///
    /// # Errors
    /// [`ExtractError::NothingReadable`] if not one image can be read, [`ExtractError::NotFinite`] if a feature is no
    /// number, [`ExtractError::Data`] if a disk or a server fails.
    ///
    /// # Panics
    /// If `indices` is empty or an index is not below the length of the dataset.
    pub fn rows(
        &self,
        dataset: &dyn Dataset,
        indices: &[usize],
        progress: impl FnMut(usize),
    ) -> Result<FeatureRows, ExtractError> {
        self.corrupted_rows(dataset, indices, None, progress)
    }

    /// As [`rows`](Self::rows), of images that are corrupted, if so, as the encoder would get them.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    ///
    /// # Panics
    /// As [`rows`](Self::rows), and if the severity is out of range.
    pub fn corrupted_rows(
        &self,
        dataset: &dyn Dataset,
        indices: &[usize],
        corruption: Option<Corruption>,
        mut progress: impl FnMut(usize),
    ) -> Result<FeatureRows, ExtractError> {
        assert!(!indices.is_empty(), "features of no image");
        let mut images = Vec::with_capacity(indices.len());
        let mut data = Vec::with_capacity(indices.len() * self.dim());
        let config = EvalConfig { corruption, ..self.config };
        let skipped = load_eval(dataset, indices, &config, |batch: EvalBatch| {
            images.extend_from_slice(&batch.images);
            data.extend(self.of_batch(batch));
            progress(images.len());
            Ok::<(), ExtractError>(())
        })?;
        if images.is_empty() {
            let first = skipped.into_iter().next().expect("an image without a row was skipped");
            let (data, images) = (dataset.path().to_owned(), indices.len());
            return Err(ExtractError::NothingReadable { data, images, first });
        }
        match Features::new(images.len(), self.dim(), data) {
            Ok(features) => Ok(FeatureRows { images, features, skipped }),
            Err(Error::NotFinite { row, column, found }) => Err(ExtractError::NotFinite {
                data: dataset.path().to_owned(),
                image: dataset.name(images[row]).to_owned(),
                column,
                found,
            }),
            Err(error) => unreachable!("a row of {} features an image: {error}", self.dim()),
        }
    }

    /// Why an image cannot be used, if so: then [`rows`](Self::rows) has no row for it.
    ///
    /// # Errors
    /// If a disk or a server fails, so that it cannot be told.
    ///
    /// # Panics
    /// If `index` is not below the length of the dataset.
    pub fn check(&self, dataset: &dyn Dataset, index: usize) -> Result<Option<Skipped>, msn_data::Error> {
        check_image(dataset, index, &self.config.limits)
    }

    /// [B, 3, size, size] -> [B, dim], row-major.
    fn of_batch(&self, batch: EvalBatch) -> Vec<f32> {
        match &self.kind {
            Kind::RawPixels => batch.pixels,
            Kind::Encoder { encoder, features, .. } => {
                let size = self.config.transform.crop;
                let (count, patch) = (batch.images.len(), encoder.patch_size());
                let view = View::new(&batch.pixels, count, size, patch, None, &encoder.device());
                host(encoder.features(&[view], *features))
            }
        }
    }
}
