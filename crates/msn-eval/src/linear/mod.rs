//! The linear probe: a linear classifier on frozen features, trained by gradient descent on crops and flips.

mod heads;
mod settings;

use msn_data::rng::Rng;
use msn_data::{Dataset, EvalBatch, Skipped, load_crops, load_eval};
use serde::{Deserialize, Serialize};

use crate::classes::members;
use crate::permutation::permuted;
use crate::{Classes, Error, ExtractError, Extractor};

pub use settings::LinearProbe;

use heads::{Heads, Step};

/// Batch size that learning rates are given for; they are multiplied by the batch size over this.
const REFERENCE_BATCH: f64 = 256.0;
/// In the place of a split's number in the key of a draw.
const HELD_OUT: u64 = u64::MAX - 2;

/// What the probe found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearReport {
    /// Number of classes.
    pub classes: usize,
    /// Columns of the features of all blocks together.
    pub columns: usize,
    /// Images trained on, in each epoch.
    pub train_images: usize,
    /// Images held out to choose the learning rate.
    pub held_out_images: usize,
    /// Test images.
    pub test_images: usize,
    /// The rate that is best on the held-out images; of equal ones the lowest.
    pub chosen_rate: f64,
    /// Top-1 accuracy on the test images with that rate, percent.
    pub top1: f64,
    /// One entry a learning rate.
    pub rates: Vec<RateScore>,
}

/// How one learning rate fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateScore {
    /// The learning rate, for batches of 256.
    pub rate: f64,
    /// Top-1 accuracy on the held-out images, percent.
    pub held_out_top1: f64,
    /// Top-1 accuracy on the test images, percent.
    pub test_top1: f64,
}

/// Images with their class numbers.
struct Part<'a> {
    dataset: &'a dyn Dataset,
    images: Vec<usize>,
    labels: Vec<usize>,
}

impl LinearProbe {
    /// Trains on `train`, chooses the learning rate on the part of it that is held out, scores on `test`. labels: the
    /// class name of every image of the dataset. `progress` is told how many images have gone through the encoder, of
    /// how many.
    ///
    /// Features: of each of the last blocks [CLS] and, if wanted, the mean of the patches, each with its own mean
    /// subtracted and of length 1 (a layer norm without weights, then the L2 norm); of raw pixels the pixels, alike.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::TooFewImages`] if no class has two images, as [`ExtractError::Evaluation`];
    /// [`ExtractError::UnseenClass`]; those of reading images.
    ///
    /// # Panics
    /// If there is not one label an image.
    pub fn run(
        &self,
        extractor: &Extractor,
        train: (&dyn Dataset, &[String]),
        test: (&dyn Dataset, &[String]),
        mut progress: impl FnMut(usize, usize),
    ) -> Result<(LinearReport, Vec<Skipped>), ExtractError> {
        self.check(extractor)?;
        assert!(train.0.len() == train.1.len() && test.0.len() == test.1.len(), "one label an image");
        let classes = Classes::of(train.1);
        let labels = classes.indices(train.1)?;
        let index = |(image, class): (usize, &String)| {
            classes.index(class).ok_or_else(|| ExtractError::unseen(test.0, image, class, &classes))
        };
        let test_labels = test.1.iter().enumerate().map(index).collect::<Result<Vec<_>, _>>()?;
        let test = Part { dataset: test.0, images: (0..test_labels.len()).collect(), labels: test_labels };
        let (kept, held_out) = self.split(&labels, &classes)?;
        let part = |images| Part { dataset: train.0, images, labels: labels.clone() };
        let (train, held_out) = (part(kept), part(held_out));

        let total = train.images.len() * self.epochs as usize + held_out.images.len() + test.images.len();
        let mut done = 0;
        let mut progress = |images: usize| {
            done += images;
            progress(done, total);
        };
        let dim = extractor.probe_dim(self.blocks, self.patch_mean);
        let mut heads = Heads::new(self.rates.len(), classes.len(), dim);
        let (train_images, mut skipped) = self.train(&mut heads, extractor, &train, &mut progress)?;
        let (held_out_top1, held_out_images, broken) =
            self.score(&heads, extractor, &held_out, &mut progress)?;
        skipped.extend(broken);
        let (test_top1, test_images, test_skipped) = self.score(&heads, extractor, &test, &mut progress)?;
        skipped.extend(test_skipped);

        let scores = self.rates.iter().zip(held_out_top1).zip(test_top1);
        let rates: Vec<RateScore> = scores
            .map(|((&rate, held_out_top1), test_top1)| RateScore { rate, held_out_top1, test_top1 })
            .collect();
        let better = |a: &RateScore, b: &RateScore| {
            (a.held_out_top1, -a.rate).partial_cmp(&(b.held_out_top1, -b.rate)).expect("finite numbers")
        };
        let best = rates.iter().max_by(|a, b| better(a, b)).expect("at least one rate");
        let report = LinearReport {
            classes: classes.len(),
            columns: dim,
            train_images,
            held_out_images,
            test_images,
            chosen_rate: best.rate,
            top1: best.test_top1,
            rates,
        };
        Ok((report, skipped))
    }

    /// Passes over the training images: how many there are in each, and those that cannot be read.
    fn train(
        &self,
        heads: &mut Heads,
        extractor: &Extractor,
        train: &Part<'_>,
        progress: &mut impl FnMut(usize),
    ) -> Result<(usize, Vec<Skipped>), ExtractError> {
        let (mut skipped, mut step, mut handled) = (Vec::new(), 0, 0);
        for epoch in 0..self.epochs {
            let mut images = train.images.clone();
            let count = images.len();
            Rng::for_order(self.seed, epoch).shuffle_front(&mut images, count);
            let crops = self.crops(epoch);
            let config = extractor.batches_of(self.batch_size);
            let broken = load_crops(train.dataset, &images, &config, &crops, |batch| {
                let labels: Vec<usize> = batch.images.iter().map(|&image| train.labels[image]).collect();
                let features = self.features(extractor, train.dataset, &batch)?;
                let rates = self.rates_after(step, train.images.len());
                let (momentum, weight_decay) = (self.momentum, self.weight_decay);
                heads.step(&features, &labels, &Step { rates: &rates, momentum, weight_decay });
                step += 1;
                handled += labels.len();
                progress(labels.len());
                Ok::<(), ExtractError>(())
            })?;
            // They are the same ones in every epoch.
            skipped = broken;
            if handled == 0 {
                return Err(nothing_readable(train, skipped));
            }
        }
        Ok((handled / self.epochs.max(1) as usize, skipped))
    }

    /// Learning rates of the step after so many others, of a training on so many images: half a cosine, from the full
    /// rate at the first step to zero after the last.
    fn rates_after(&self, done: u32, images: usize) -> Vec<f64> {
        let steps = images.div_ceil(self.batch_size) as f64 * self.epochs as f64;
        let scale = self.batch_size.min(images) as f64 / REFERENCE_BATCH;
        let fall = 0.5 * (1.0 + (std::f64::consts::PI * f64::from(done) / steps).cos());
        self.rates.iter().map(|rate| rate * scale * fall).collect()
    }

    /// Finite features of a batch, [B, dim].
    fn features(
        &self,
        extractor: &Extractor,
        dataset: &dyn Dataset,
        batch: &EvalBatch,
    ) -> Result<Vec<f32>, ExtractError> {
        let features = extractor.probe_features(batch, self.blocks, self.patch_mean);
        let dim = features.len() / batch.images.len();
        match features.iter().position(|x| !x.is_finite()) {
            None => Ok(features),
            Some(at) => Err(ExtractError::NotFinite {
                data: dataset.path().to_owned(),
                image: dataset.name(batch.images[at / dim]).to_owned(),
                column: at % dim,
                found: features[at],
            }),
        }
    }

    /// Accuracy of each head in percent, the images that could be read, and the others.
    fn score(
        &self,
        heads: &Heads,
        extractor: &Extractor,
        part: &Part<'_>,
        progress: &mut impl FnMut(usize),
    ) -> Result<(Vec<f64>, usize, Vec<Skipped>), ExtractError> {
        let (mut hits, mut images) = (vec![0; self.rates.len()], 0);
        let config = extractor.batches_of(self.batch_size);
        let skipped = load_eval(part.dataset, &part.images, &config, |batch| {
            let labels: Vec<usize> = batch.images.iter().map(|&image| part.labels[image]).collect();
            let features = self.features(extractor, part.dataset, &batch)?;
            hits.iter_mut().zip(heads.hits(&features, &labels)).for_each(|(sum, hits)| *sum += hits);
            images += labels.len();
            progress(labels.len());
            Ok::<(), ExtractError>(())
        })?;
        if images == 0 {
            return Err(nothing_readable(part, skipped));
        }
        let percent = |&hits: &usize| 100.0 * hits as f64 / images as f64;
        Ok((hits.iter().map(percent).collect(), images, skipped))
    }

    /// Images to train on and images held out: of each class that part, rounded, but at least one of each stays.
    fn split(&self, labels: &[usize], classes: &Classes) -> Result<(Vec<usize>, Vec<usize>), Error> {
        let (mut kept, mut held_out) = (Vec::new(), Vec::new());
        for (class, images) in members(labels, classes.len()).into_iter().enumerate() {
            let mut rng = Rng::for_labels(self.seed, HELD_OUT, class);
            let count = images.len();
            let out = ((count as f64 * self.held_out).round() as usize).max(1).min(count - 1);
            let mut order = permuted(images, &mut rng);
            held_out.extend(order.by_ref().take(out));
            kept.extend(order);
        }
        if held_out.is_empty() {
            let class = classes.names()[0].clone();
            return Err(Error::TooFewImages { class, shots: 2, count: 1, unusable: 0 });
        }
        kept.sort_unstable();
        held_out.sort_unstable();
        Ok((kept, held_out))
    }
}

fn nothing_readable(part: &Part<'_>, skipped: Vec<Skipped>) -> ExtractError {
    let first = skipped.into_iter().next().expect("an image without features was skipped");
    ExtractError::NothingReadable { data: part.dataset.path().to_owned(), images: part.images.len(), first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_for_batches_of_256_and_fall_along_half_a_cosine() {
        let rates = vec![2.0, 8.0];
        let probe = LinearProbe { epochs: 3, batch_size: 64, rates, ..LinearProbe::default() };
        // The cosines of 0, 60, 90 and 180 degrees; 65 images are two batches, and 32 less than one.
        for (done, images, expected) in [
            (0, 256, [0.5, 2.0]),
            (4, 256, [0.375, 1.5]),
            (6, 256, [0.25, 1.0]),
            (12, 256, [0.0, 0.0]),
            (3, 65, [0.25, 1.0]),
            (0, 32, [0.25, 1.0]),
            (3, 32, [0.0, 0.0]),
        ] {
            let found = probe.rates_after(done, images);
            // Rounding of a cosine.
            let close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-15);
            assert!(close && found.len() == 2, "{found:?} after {done} steps on {images} images");
        }
    }

    #[test]
    fn each_image_is_trained_on_or_held_out_in_the_proportion_of_its_class() {
        let labels = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2];
        let classes = Classes::of(&["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        let split = |seed| {
            let probe = LinearProbe { held_out: 0.2, seed, ..LinearProbe::default() };
            probe.split(&labels, &classes).expect("a class of two images or more")
        };
        let (kept, held_out) = split(0);
        let mut all = [&kept[..], &held_out].concat();
        all.sort_unstable();
        assert_eq!(all, (0..14).collect::<Vec<_>>());
        // A fifth of ten; of three at least one; the only one of its class stays.
        let of_classes =
            [0, 1, 2].map(|class| held_out.iter().filter(|&&image| labels[image] == class).count());
        assert_eq!(of_classes, [2, 1, 0]);
        assert_eq!(split(0), (kept, held_out.clone()));
        assert!((1..5).any(|seed| split(seed).1 != held_out), "{held_out:?} whatever the seed");
    }
}
