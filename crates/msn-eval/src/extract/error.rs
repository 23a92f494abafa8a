//! Why there are no features of images, and no result of a training on images.

use std::path::PathBuf;

use msn_data::Dataset;

use crate::Classes;

/// Why images cannot be turned into features.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The state of a checkpoint does not describe an encoder.
    #[error("{}: state.json: expected what `msn` writes there: {source}", checkpoint.display())]
    State {
        /// Folder of the checkpoint.
        checkpoint: PathBuf,
        /// What the parser found.
        source: serde_json::Error,
    },
    /// A checkpoint without the momentum encoder.
    #[error("{}: expected a part {part}.safetensors, found none", checkpoint.display())]
    MissingPart {
        /// Folder of the checkpoint.
        checkpoint: PathBuf,
        /// Name of the part.
        part: &'static str,
    },
    /// The weights of a checkpoint are not those of the encoder that it describes.
    #[error("{}: a checkpoint of another architecture: {source}", checkpoint.display())]
    Architecture {
        /// Folder of the checkpoint.
        checkpoint: PathBuf,
        /// What does not fit.
        source: msn_model::Error,
    },
    /// Another number of attention heads than a checkpoint of ours was trained with.
    #[error("{}: expected its own {expected} attention heads, or none said, found {found}", checkpoint.display())]
    Heads {
        /// Folder of the checkpoint.
        checkpoint: PathBuf,
        /// Heads that it was trained with.
        expected: usize,
        /// Heads that were given.
        found: usize,
    },
    /// A checkpoint of another program without an encoder such as ours.
    #[error("{}: {source}", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// What was expected and what was found.
        source: msn_model::Error,
    },
    /// A model of another program whose description does not say what is needed, or describes another model.
    #[error("{}: expected {expected}, found {found}", path.display())]
    ModelFolder {
        /// The file or folder.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// No image could be read.
    #[error("{}: none of {images} images can be read; the first: {first}", data.display())]
    NothingReadable {
        /// The images.
        data: PathBuf,
        /// Images tried.
        images: usize,
        /// Path and reason of the first.
        first: msn_data::Skipped,
    },
    /// A feature is NaN or infinite.
    #[error(
        "{}: {image}: expected finite features, found {found} in column {column}: the weights of the encoder may have diverged",
        data.display()
    )]
    NotFinite {
        /// The images.
        data: PathBuf,
        /// Name of the first image with such a feature.
        image: String,
        /// The feature, from 0.
        column: usize,
        /// Its value.
        found: f32,
    },
    /// A logit of a fine-tuned classifier is NaN or infinite.
    #[error(
        "{}: {image}: expected finite logits, found {found} for class `{class}`: the fine-tuned weights have diverged; a lower \
         --lr, a longer --warmup or --clip-grad 1 usually helps",
        data.display()
    )]
    NotFiniteLogit {
        /// The images.
        data: PathBuf,
        /// Name of the first test image with such a logit.
        image: String,
        /// Its class.
        class: String,
        /// Its value.
        found: f32,
    },
    /// A test image of a class that no training image has.
    #[error(
        "{}: {image}: expected one of the {known} classes of the training images, found class `{class}`",
        data.display()
    )]
    UnseenClass {
        /// The test images.
        data: PathBuf,
        /// Name of the first such image.
        image: String,
        /// Its class.
        class: String,
        /// Number of training classes.
        known: usize,
    },
    /// The evaluation that asked for the features.
    #[error(transparent)]
    Evaluation(#[from] crate::Error),
    /// The images.
    #[error(transparent)]
    Data(#[from] msn_data::Error),
    /// The run or checkpoint folder.
    #[error(transparent)]
    Store(#[from] msn_store::StoreError),
}

impl ExtractError {
    /// Of an image whose `class` is none of `known`.
    pub(crate) fn unseen(dataset: &dyn Dataset, image: usize, class: &str, known: &Classes) -> Self {
        Self::UnseenClass {
            data: dataset.path().to_owned(),
            image: dataset.name(image).to_owned(),
            class: class.to_owned(),
            known: known.len(),
        }
    }
}
