//! Fine-tuning: the encoder and a linear classifier trained together on labelled images.

mod classifier;
mod epochs;
mod folder;
mod groups;
mod loss;
mod score;
mod settings;
mod tuner;

use std::path::Path;
use std::time::Duration;

use burn::module::Module;
use burn::tensor::Device;
use msn_data::{Dataset, EvalConfig, Normalization, Skipped};
use msn_model::{Encoder, EncoderConfig, LinearHead, StateDict, state_dict};
use msn_store::StoreError;
use msn_train::Images;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::extract::digest;
use crate::{Classes, ClassificationReport, ExtractError, Origin, SavedEncoder, Weights};

pub use folder::FineTuneRun;
pub(crate) use folder::has_epochs_left;
pub use settings::FineTune;

use classifier::Classifier;
use epochs::{Ending, Training};
use folder::TrainingFolder;
use tuner::Tuner;

/// Time after which a checkpoint is due, unless the observer says otherwise.
const SAVE_EVERY: Duration = Duration::from_secs(600);

/// Labelled images: some of a dataset, and the class name of every image of it.
#[derive(Clone, Copy)]
pub struct ImageSet<'a> {
    /// Where the images are.
    pub dataset: &'a dyn Dataset,
    /// Class names, one an image of the dataset.
    pub labels: &'a [String],
    /// The images, by their index in the dataset.
    pub images: &'a [usize],
}

/// What a person watches while an encoder is fine-tuned. All calls come from the thread that trains.
pub trait FineTuneObserver {
    /// Training starts.
    fn start(&mut self, start: &FineTuneStart);
    /// A step is done.
    fn step(&mut self, step: &FineTuneStep);
    /// Something that a person should know although the training goes on.
    fn warn(&mut self, message: &str);
    /// Whether a checkpoint is due, so long after the one before or the start; asked after every step of a training that is
    /// kept. Every ten minutes, if this is left as it is.
    fn wants_to_save(&mut self, since: Duration) -> bool {
        since >= SAVE_EVERY
    }
    /// The last checkpoint, of step `step`, cannot be written: whether to try again, once this returns. All steps since the
    /// checkpoint before are lost otherwise.
    fn waits_to_save(&mut self, _step: u64, _error: &StoreError) -> bool {
        false
    }
    /// Whether to save a checkpoint and end now; asked after every step of a training that is kept.
    fn wants_to_stop(&mut self) -> bool;
    /// The result is safe on disk.
    fn saved(&mut self, folder: &Path);
    /// So many of the test images are classified.
    fn tested(&mut self, done: usize, images: usize);
}

/// What is known before the first step.
#[derive(Clone, Debug)]
pub struct FineTuneStart {
    /// Classes of the training images.
    pub classes: usize,
    /// Training images, among which some may turn out not to be readable.
    pub images: usize,
    /// Images in a step.
    pub batch_size: usize,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Epochs.
    pub epochs: u64,
    /// Steps done by earlier sessions.
    pub done: u64,
    /// Parameters of encoder and head.
    pub parameters: usize,
    /// Those that are trained.
    pub trained_parameters: usize,
}

/// How far the training is.
#[derive(Clone, Copy, Debug)]
pub struct FineTuneStep {
    /// Steps done.
    pub step: u64,
    /// Epoch of this step, from 0.
    pub epoch: u64,
    /// Images of this step.
    pub images: usize,
    /// Mean cross-entropy over the steps of this epoch so far, nats.
    pub loss: f64,
    /// Learning rate of the head in this step.
    pub lr: f64,
}

/// What a fine-tuning came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FineTuneReport {
    /// Number of classes.
    pub classes: usize,
    /// Images trained on.
    pub train_images: usize,
    /// Test images.
    pub test_images: usize,
    /// Top-1 accuracy on the test images after the last epoch, percent.
    pub top1: f64,
    /// Top-5 accuracy, percent.
    pub top5: f64,
    /// Images in a step.
    pub batch_size: usize,
    /// Steps done.
    pub steps: u64,
    /// Parameters of encoder and head.
    pub parameters: usize,
    /// Those that were trained.
    pub trained_parameters: usize,
    /// Mean cross-entropy of each epoch, nats.
    pub losses: Vec<f64>,
    /// The test images in detail.
    pub test: ClassificationReport,
}

/// A fine-tuned encoder with its classifier.
#[derive(Clone, Debug)]
pub struct FineTuned {
    /// Its architecture.
    pub config: EncoderConfig,
    /// Its weights.
    pub weights: StateDict,
    /// The classifier.
    pub head: LinearHead,
    /// How good it is.
    pub report: FineTuneReport,
    /// Images that could not be read, each once.
    pub skipped: Vec<Skipped>,
}

impl FineTune {
    /// Trains the encoder in `saved`, with the `weights` that are wanted, on the images of `train`, and classifies
    /// those of `test` after the last epoch. Nothing is chosen on the test images.
    ///
    /// With `run`, a folder gets the result, and whenever the observer says so ([`FineTuneObserver::wants_to_save`]) what
    /// training needs to go on; a folder that holds that already goes on with the same bits as if it had never stopped.
    /// `None`: the observer asked to stop.
    ///
    /// # Errors
    /// As [`ExtractError::Evaluation`], [`Setting`](crate::Error::Setting), [`Diverged`](crate::Error::Diverged) if the loss
    /// stops being a number, [`OtherTraining`](crate::Error::OtherTraining) if the folder holds one of another encoder, other
    /// settings or images; [`ExtractError::UnseenClass`], [`ExtractError::NotFiniteLogit`]; those of the encoder, of reading
    /// images and of writing.
    ///
    /// # Panics
    /// If there is not one label an image of a dataset, or a set has no image.
    pub fn run(
        &self,
        (saved, weights): (SavedEncoder, Weights),
        train: ImageSet<'_>,
        test: ImageSet<'_>,
        device: &Device,
        run: Option<FineTuneRun<'_>>,
        observer: &mut dyn FineTuneObserver,
    ) -> Result<Option<FineTuned>, ExtractError> {
        self.check(&saved.config)?;
        let (classes, train, test) = numbered(train, test)?;
        let (config, loading) = (saved.config.clone(), saved.loading());
        let place = place(&saved.origin, weights);
        let graph = device.clone().autodiff();
        let graph = if self.grad_checkpointing { graph.gradient_checkpointing() } else { graph };
        let encoder = saved.into_encoder(weights, &graph)?;
        let kept = run.map(|run| {
            TrainingFolder::new(
                run,
                self.identity(&encoder, &loading, &train, &classes),
                place,
                classes.names(),
            )
        });
        let classifier = Classifier::new(encoder, classes.len());
        let parameters = classifier.num_params();
        let mut tuner = Tuner::new(self, classifier);
        let trained_parameters = tuner.trained_parameters();
        let mut training = Training::new(self, &mut tuner, &train, classes.len(), loading);
        let batch_size = training.batch_size();
        let done = kept.as_ref().map_or(Ok(0), |kept| training.resume(kept, observer))?;
        observer.start(&FineTuneStart {
            classes: classes.len(),
            images: train.images.len(),
            batch_size,
            steps_per_epoch: training.steps_per_epoch(),
            epochs: self.epochs,
            done,
            parameters,
            trained_parameters,
        });
        let (ending, trained) = training.run(kept.as_ref(), observer)?;
        if ending == Ending::Stopped {
            return Ok(None);
        }
        let result = tuner.result();
        let head = result.linear_head(&classes);
        let (scored, broken) = score::score(&result, &loading, &test, &classes, observer)?;
        let report = FineTuneReport {
            classes: classes.len(),
            train_images: train.images.len() - trained.skipped.len(),
            test_images: scored.images,
            top1: scored.top1,
            top5: scored.top5,
            batch_size,
            steps: trained.steps,
            parameters,
            trained_parameters,
            losses: trained.losses,
            test: scored,
        };
        let skipped = trained.skipped.into_iter().chain(broken).collect();
        Ok(Some(FineTuned { config, weights: state_dict(&result.encoder), head, report, skipped }))
    }

    /// All that decides on the weights, but for the rounding: where activations come from and how products are computed
    /// may change when a training goes on, as on a machine with less memory or without bf16. The encoder is told by its
    /// weights, so that it may have been moved, and by what they do not say.
    fn identity(
        &self,
        encoder: &Encoder,
        loading: &EvalConfig,
        train: &Numbered<'_>,
        classes: &Classes,
    ) -> Value {
        let mut settings = json!(self);
        let fields = settings.as_object_mut().expect("a struct is an object");
        fields.retain(|field, _| !["precision", "grad_checkpointing"].contains(&field.as_str()));
        let Normalization { mean, std } = loading.transform.normalization;
        json!({
            "weights": format!("digest {:032x}", digest(encoder)),
            "heads": encoder.blocks.first().map(|block| block.heads),
            "normalization": format!("mean {mean:?}, std {std:?}"),
            "levels": loading.limits.levels,
            "image_size": loading.transform.crop,
            "data": Images::of(train.dataset),
            "images": train.images.len(),
            "classes": classes.names(),
            "labels": format!("fingerprint {:016x}", train.fingerprint()),
            "settings": settings,
        })
    }
}

/// What told the encoder before its weights did. No training then had a path that is no text.
fn place(origin: &Origin, weights: Weights) -> Value {
    json!({
        "encoder": origin.folder.to_str(),
        "step": origin.step,
        "untrained": weights == Weights::Untrained,
    })
}

/// Images with the class number of every image of their dataset.
struct Numbered<'a> {
    dataset: &'a dyn Dataset,
    images: &'a [usize],
    labels: Vec<usize>,
}

impl Numbered<'_> {
    /// Class numbers of these images: [B].
    fn labels_of(&self, images: &[usize]) -> Vec<usize> {
        images.iter().map(|&image| self.labels[image]).collect()
    }

    /// Tells which images these are, and of which classes.
    fn fingerprint(&self) -> u64 {
        let numbers = self.images.iter().flat_map(|&image| [image, self.labels[image]]);
        msn_data::fingerprint(numbers.flat_map(|number| (number as u64).to_le_bytes()))
    }

    fn nothing_readable(&self, first: Skipped) -> ExtractError {
        let (data, images) = (self.dataset.path().to_owned(), self.images.len());
        ExtractError::NothingReadable { data, images, first }
    }
}

/// The classes of the training images, and both sets with their numbers.
fn numbered<'a>(
    train: ImageSet<'a>,
    test: ImageSet<'a>,
) -> Result<(Classes, Numbered<'a>, Numbered<'a>), ExtractError> {
    let names: Vec<String> = train.images.iter().map(|&image| train.labels[image].clone()).collect();
    let classes = Classes::of(&names);
    let number = |set: ImageSet<'a>| {
        assert!(set.dataset.len() == set.labels.len() && !set.images.is_empty(), "labelled images");
        let mut labels = vec![usize::MAX; set.labels.len()];
        for &image in set.images {
            let class = &set.labels[image];
            let unseen = || ExtractError::unseen(set.dataset, image, class, &classes);
            labels[image] = classes.index(class).ok_or_else(unseen)?;
        }
        Ok::<_, ExtractError>(Numbered { dataset: set.dataset, images: set.images, labels })
    };
    let (train, test) = (number(train)?, number(test)?);
    Ok((classes, train, test))
}
