//! Commands that turn images into features.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use msn_eval::{Amount, Lambda};
use msn_train::config::PrecisionSetting;

use super::{
    Draws, FRESH_FEATURES, FineTune, IMAGES, LabelledData, Linear, OnDevice, PRECISION, Report, Robust,
    SampleRange, Selection, at_least_one, positive,
};

/// Measure how good the features of an encoder are.
#[derive(Subcommand)]
pub(crate) enum Evaluation {
    Lowshot(Lowshot),
    Knn(Knn),
    Linear(Linear),
    #[command(name = "finetune")]
    FineTune(FineTune),
    Report(Report),
    Robust(Robust),
    Select(Selection),
}

/// Logistic regression on a few labelled images a class, as in the paper.
///
/// Features are centred and scaled to length 1; the regression has an L2 penalty and no intercept. Shots are drawn
/// anew for every split; the table shows the mean and the standard deviation over the splits.
#[derive(Args)]
#[command(after_help = "\
Examples:
  msn eval lowshot --checkpoint runs/photos --train labelled/train --test labelled/test
  msn eval lowshot --checkpoint raw-pixels --train train.tar --test test.tar --json pixels.json
  msn eval lowshot --checkpoint runs/photos --train a --test b --shots 1%,10% --lambda auto
  msn eval lowshot --checkpoint runs/photos --train a --test b --split-file 1shot.txt")]
pub(crate) struct Lowshot {
    #[command(flatten)]
    pub(crate) encoder: EncoderChoice,

    #[command(flatten)]
    pub(crate) labelled: LabelledData,

    /// Labelled images a class, or a percentage of them such as 1%; several separated by commas.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,2,5")]
    pub(crate) shots: Vec<Amount>,

    #[command(flatten)]
    pub(crate) draws: Draws,

    /// Labelled images to use, one file name a line, instead of drawing them; each file is one split.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shots", "splits", "seed"])]
    pub(crate) split_file: Vec<PathBuf>,

    /// Folder to write the splits to, each as a file for --split-file: DIR/5-shot-0.txt, DIR/1-percent-2.txt.
    #[arg(long, value_name = "DIR")]
    pub(crate) write_splits: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) penalty: Penalty,

    /// Where to write the results as JSON [default: RUN/eval/lowshot.json]; - for standard output, without the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Weighted nearest neighbours by cosine similarity.
#[derive(Args)]
#[command(after_help = "\
Example:
  msn eval knn --checkpoint runs/photos --train labelled/train --test labelled/test --k 20")]
pub(crate) struct Knn {
    #[command(flatten)]
    pub(crate) encoder: EncoderChoice,

    #[command(flatten)]
    pub(crate) labelled: LabelledData,

    /// Number of neighbours; several separated by commas.
    #[arg(long, value_name = "K,...", value_delimiter = ',', default_value = "10,20,100,200", value_parser = at_least_one)]
    pub(crate) k: Vec<usize>,

    /// A neighbour of cosine similarity s votes with weight exp(s / temperature).
    #[arg(long, value_name = "T", default_value_t = 0.07, value_parser = positive)]
    pub(crate) temperature: f64,

    /// Where to write the results as JSON [default: RUN/eval/knn.json]; - for standard output, without the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Write the features of images to a file.
#[derive(Args)]
#[command(after_help = "\
The paths of the images are written beside it, one a line in the order of the rows: features.npy, \
features.txt.

Example:
  msn embed --checkpoint runs/photos --data photos --out features.npy")]
pub(crate) struct Embed {
    #[command(flatten)]
    pub(crate) encoder: EncoderChoice,

    #[arg(long, value_name = "PATH", help = IMAGES)]
    pub(crate) data: PathBuf,

    /// File to write: one row an image, 32-bit floats. In a .safetensors file the tensor's name is `features`.
    #[arg(long, value_name = "FILE.{npy,safetensors}")]
    pub(crate) out: PathBuf,
}

/// Classify images, given the labels of a few, or by the classifier of a fine-tuned encoder.
#[derive(Args)]
#[command(after_help = "\
FILE.csv starts with the line `path,label`. A path is absolute, or relative to --images or to the \
folder of FILE.csv.

Examples:
  msn predict --checkpoint runs/photos --labels few.csv --images photos --out predicted.csv
  msn predict --checkpoint runs/tuned --images photos --out predicted.csv   # a fine-tuned encoder")]
pub(crate) struct Predict {
    #[command(flatten)]
    pub(crate) encoder: EncoderChoice,

    /// The labels: a CSV file with the columns `path` and `label`; not needed for a fine-tuned encoder, which has its
    /// classifier.
    #[arg(long, value_name = "FILE.csv")]
    pub(crate) labels: Option<PathBuf>,

    /// Images to classify, of any kind that `msn pretrain --data` takes.
    #[arg(long, value_name = "PATH")]
    pub(crate) images: PathBuf,

    /// File to write, which must be new: a CSV with the columns `path`, `label` and `probability`.
    #[arg(long, value_name = "FILE.csv")]
    pub(crate) out: PathBuf,

    /// Write the probabilities of all classes as well, a column p(CLASS) each.
    #[arg(long)]
    pub(crate) probabilities: bool,

    #[command(flatten)]
    pub(crate) penalty: Penalty,
}

/// The penalty of a logistic regression.
#[derive(Args)]
pub(crate) struct Penalty {
    /// Weight of the L2 penalty, or auto: chosen by cross-validation on the labelled images [default: 0.0025 for up to
    /// 5 images a class, 0.075 above].
    #[arg(long, value_name = "X")]
    pub(crate) lambda: Option<Lambda>,
}

impl Penalty {
    pub(crate) fn lambda(&self) -> Lambda {
        self.lambda.unwrap_or_default()
    }
}

/// What turns an image into features.
#[derive(Args)]
pub(crate) struct EncoderChoice {
    /// A run folder (its newest checkpoint), one checkpoint, RUN/checkpoints/step-N, or another program's checkpoint.
    ///
    /// Those of MSN, DINO, iBOT, MAE and timm are read (.pth, .pth.tar, .safetensors), and folders of Hugging Face's
    /// ViTMSN and ViT.
    ///
    /// Two baselines to compare with: `raw-pixels` takes the image itself, at most 64 x 64 pixels of it: the median
    /// of the images' shorter sides if that is less; `untrained:RUN` takes the encoder of a run with random weights
    /// instead of the learned ones.
    #[arg(long, value_name = "RUN")]
    pub(crate) checkpoint: String,

    /// Attention heads of another program's encoder, where neither its size nor the file tells.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) heads: Option<usize>,

    /// Where the features are read: before or after the encoder's final norm [default: before-norm].
    #[arg(long, value_name = "WHERE", value_enum)]
    pub(crate) features: Option<FeatureChoice>,

    #[arg(long, value_name = "auto|bf16|f32", default_value = "auto", help = PRECISION)]
    pub(crate) precision: PrecisionSetting,

    #[arg(long, help = FRESH_FEATURES)]
    pub(crate) fresh_features: bool,

    #[command(flatten)]
    pub(crate) range: SampleRange,

    #[command(flatten)]
    pub(crate) device: OnDevice,
}

impl EncoderChoice {
    pub(crate) fn features(&self) -> FeatureChoice {
        self.features.unwrap_or(FeatureChoice::BeforeNorm)
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum FeatureChoice {
    /// [CLS] of the last block, as the paper's low-shot evaluation
    BeforeNorm,
    /// [CLS] after the final norm, as the projection head
    AfterNorm,
}
