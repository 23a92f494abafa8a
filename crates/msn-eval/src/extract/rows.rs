//! Rows of features with the images that they belong to.

use msn_data::{Corruption, Dataset, EvalBatch, EvalConfig, Skipped, check_image, load_unknown};
use msn_model::{View, host};

use super::{ExtractError, Extractor, Kind};
use crate::Features;

/// Features of the images that could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureRows {
    /// The images by their index in the dataset, in the order asked for: [rows].
    pub images: Vec<usize>,
    /// Their features: [rows, dim].
    pub features: Features,
    /// The images that could not be read, which have no row.
    pub skipped: Vec<Skipped>,
    /// How many rows were known already ([`Extractor::keeping`]).
    pub recalled: usize,
}

/// What there is to say of images besides their rows.
pub(crate) struct BatchesDone {
    /// The images that could not be read.
    pub(crate) skipped: Vec<Skipped>,
    /// How many rows were known already.
    pub(crate) recalled: usize,
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
        let mut images = Vec::with_capacity(indices.len());
        let mut data = Vec::with_capacity(indices.len() * self.dim());
        let BatchesDone { skipped, recalled } =
            self.each_batch(dataset, indices, corruption, |read, rows| {
                images.extend_from_slice(read);
                data.extend_from_slice(rows);
                progress(images.len());
                Ok(())
            })?;
        let features = Features::new(images.len(), self.dim(), data)
            .unwrap_or_else(|error| unreachable!("{} finite features an image: {error}", self.dim()));
        Ok(FeatureRows { images, features, skipped, recalled })
    }

    /// As [`corrupted_rows`](Self::corrupted_rows), but gives the rows to `each` as they come, batch by batch: the images that
    /// could be read, in the order of `indices`, and their features, [images, dim].
    pub(crate) fn each_batch(
        &self,
        dataset: &dyn Dataset,
        indices: &[usize],
        corruption: Option<Corruption>,
        mut each: impl FnMut(&[usize], &[f32]) -> Result<(), ExtractError>,
    ) -> Result<BatchesDone, ExtractError> {
        assert!(!indices.is_empty(), "features of no image");
        let config = EvalConfig { corruption, ..self.config };
        let kept = self.kept.as_ref().filter(|_| corruption.is_none());
        let recall = |encoded: &[u8]| kept.map_or(Err(None), |kept| kept.recall(encoded).map_err(Some));
        let (mut done, mut rows_recalled) = (0, 0);
        let (mut images, mut data) = (Vec::new(), Vec::new());
        let loaded = load_unknown(dataset, indices, &config, recall, |batch| {
            let EvalBatch { images: new, pixels, keys, recalled, .. } = batch;
            let computed = if new.is_empty() { Vec::new() } else { self.of_pixels(pixels, new.len()) };
            if let Some(kept) = kept {
                kept.keep(keys.into_iter().flatten().zip(computed.chunks_exact(self.dim())));
            }
            rows_recalled += recalled.len();
            let mut new = new.into_iter().zip(computed.chunks_exact(self.dim()));
            let mut recalled = recalled.into_iter().peekable();
            images.clear();
            data.clear();
            for place in 0.. {
                if let Some(known) = recalled.next_if(|known| known.place == place) {
                    images.push(known.image);
                    data.extend(known.known);
                } else if let Some((image, row)) = new.next() {
                    images.push(image);
                    data.extend_from_slice(row);
                } else {
                    break;
                }
            }
            if let Some(at) = data.iter().position(|x| !x.is_finite()) {
                return Err(ExtractError::NotFinite {
                    data: dataset.path().to_owned(),
                    image: dataset.name(images[at / self.dim()]).to_owned(),
                    column: at % self.dim(),
                    found: data[at],
                });
            }
            done += images.len();
            each(&images, &data)
        });
        if let Some(kept) = kept {
            kept.flush();
        }
        // What comes next, neighbours or a regression, has no use for the memory of activations.
        msn_model::give_back(usize::MAX);
        let skipped = loaded?;
        if done == 0 {
            let first = skipped.into_iter().next().expect("an image without a row was skipped");
            let (data, images) = (dataset.path().to_owned(), indices.len());
            return Err(ExtractError::NothingReadable { data, images, first });
        }
        Ok(BatchesDone { skipped, recalled: rows_recalled })
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

    /// [count, 3, size, size] -> [count, dim], row-major.
    fn of_pixels(&self, pixels: Vec<f32>, count: usize) -> Vec<f32> {
        match &self.kind {
            Kind::RawPixels => pixels,
            Kind::Encoder { encoder, features, .. } => {
                let (size, patch) = (self.config.transform.crop, encoder.patch_size());
                let view = View::new(&pixels, count, size, patch, None, &encoder.device());
                host(encoder.features(&[view], *features))
            }
        }
    }
}
