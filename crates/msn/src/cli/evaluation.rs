//! Commands that turn images into features.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use msn_data::CorruptionKind;
use msn_eval::{Amount, Lambda};

use super::{OnDevice, at_least_one, positive};

/// Measure how good the features of an encoder are.
#[derive(Subcommand)]
pub(crate) enum Evaluation {
    Lowshot(Lowshot),
    Knn(Knn),
    Linear(Linear),
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
Labels are the names of the folders that the images lie in: PATH/CLASS/NAME.jpg.

Examples:
  msn eval lowshot --checkpoint runs/photos --train labelled/train --test labelled/test
  msn eval lowshot --checkpoint raw-pixels --train cifar10-train.tar --test cifar10-test.tar --json pixels.json
  msn eval lowshot --checkpoint runs/photos --train labelled/train --test labelled/test --shots 1%,10% --lambda auto
  msn eval lowshot --checkpoint runs/photos --train a --test b --split-file 1shot-a.txt --split-file 1shot-b.txt")]
pub(crate) struct Lowshot {
    #[command(flatten)]
    pub(crate) encoder: EncoderChoice,

    /// Labelled images to draw the shots from.
    #[arg(long, value_name = "PATH")]
    pub(crate) train: PathBuf,

    /// Labelled images to classify.
    #[arg(long, value_name = "PATH")]
    pub(crate) test: PathBuf,

    /// Labelled images a class, or a percentage of them such as 1%; several separated by commas.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,2,5")]
    pub(crate) shots: Vec<Amount>,

    /// How often the shots are drawn.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) splits: u64,

    /// Seed of the draws.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Labelled images to use, one file name a line, instead of drawing them; each file is one split.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shots", "splits", "seed"])]
    pub(crate) split_file: Vec<PathBuf>,

    /// Folder to write the splits to, each as a file for --split-file: DIR/5-shot-0.txt, DIR/1-percent-2.txt.
    #[arg(long, value_name = "DIR")]
    pub(crate) write_splits: Option<PathBuf>,

    /// Weight of the L2 penalty, or auto: chosen by cross-validation on the labelled images [default: 0.0025 for up to
    /// 5 images a class, 0.075 above].
    #[arg(long, value_name = "X")]
    pub(crate) lambda: Option<Lambda>,

    /// Where to write the results as JSON [default: RUN/eval/lowshot.json]; - for standard output, without the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Weighted nearest neighbours by cosine similarity.
#[derive(Args)]
#[command(after_help = "\
Labels are the names of the folders that the images lie in: PATH/CLASS/NAME.jpg.

Example:
  msn eval knn --checkpoint runs/photos --train labelled/train --test labelled/test --k 20")]
pub(crate) struct Knn {
    #[command(flatten)]
    pub(crate) encoder: EncoderChoice,

    /// Labelled images among which neighbours are sought.
    #[arg(long, value_name = "PATH")]
    pub(crate) train: PathBuf,

    /// Labelled images to classify.
    #[arg(long, value_name = "PATH")]
    pub(crate) test: PathBuf,

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

/// Linear probe: a linear classifier on frozen features, trained by gradient descent on random crops and flips.
///
/// Features are the outputs of the last blocks, each centred and scaled to length 1. All learning rates are trained in
/// one pass; a tenth of the training images is held out to choose among them.
#[derive(Args)]
#[command(after_help = "\
Labels are the names of the folders that the images lie in: PATH/CLASS/NAME.jpg.

Examples:
  msn eval linear --checkpoint runs/photos --train labelled/train --test labelled/test
  msn eval linear --checkpoint runs/photos --train a --test b --blocks 4 --patch-mean --epochs 100")]
pub(crate) struct Linear {
    /// A run folder (its newest checkpoint), one checkpoint RUN/checkpoints/step-N, untrained:RUN, or raw-pixels.
    #[arg(long, value_name = "RUN")]
    pub(crate) checkpoint: String,

    #[command(flatten)]
    pub(crate) device: OnDevice,

    /// Labelled images to learn from.
    #[arg(long, value_name = "PATH")]
    pub(crate) train: PathBuf,

    /// Labelled images to classify.
    #[arg(long, value_name = "PATH")]
    pub(crate) test: PathBuf,

    /// Blocks whose outputs are the features, counted from the last.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub(crate) blocks: usize,

    /// Add the mean of the patches to [CLS].
    #[arg(long)]
    pub(crate) patch_mean: bool,

    /// Passes over the training images.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) epochs: u64,

    /// Images in a step.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one)]
    pub(crate) batch_size: usize,

    /// Learning rates to try, for batches of 256; several separated by commas.
    #[arg(
        long, value_name = "X,...", value_delimiter = ',', default_value = "0.1,0.3,1,3,10,30,100,300",
        value_parser = positive
    )]
    pub(crate) rates: Vec<f64>,

    /// Seed of order, crops and of what is held out.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Where to write the results as JSON [default: RUN/eval/linear.json]; - for standard output, without the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// A closer look at the classifier: classes, confusions, calibration, and accuracy over the number of labels.
///
/// A logistic regression as in `lowshot` is fitted for each number of labelled images a class; what the one with the most
/// labels does with the test images is reported in detail, and the accuracies of all are drawn as a curve.
#[derive(Args)]
#[command(after_help = "\
Labels are the names of the folders that the images lie in: PATH/CLASS/NAME.jpg.

Examples:
  msn eval report --checkpoint runs/photos --train labelled/train --test labelled/test
  msn eval report --checkpoint raw-pixels --train a --test b --shots 1,10,100% --picture curve.svg --json report.json")]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) encoder: EncoderChoice,

    /// Labelled images to draw from.
    #[arg(long, value_name = "PATH")]
    pub(crate) train: PathBuf,

    /// Labelled images to classify.
    #[arg(long, value_name = "PATH")]
    pub(crate) test: PathBuf,

    /// Labelled images a class, or a percentage of them such as 10%; several separated by commas [default: 1,2,5,10,20,..
    /// up to the smallest class].
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub(crate) shots: Vec<Amount>,

    /// How often the labelled images are drawn for a point of the curve.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) splits: u64,

    /// Seed of the draws.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Weight of the L2 penalty, or auto: chosen by cross-validation on the labelled images [default: 0.0025 for up to
    /// 5 images a class, 0.075 above].
    #[arg(long, value_name = "X")]
    pub(crate) lambda: Option<Lambda>,

    /// Where to draw the curve, in SVG [default: RUN/eval/report.svg].
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) picture: Option<PathBuf>,

    /// Where to write the results as JSON [default: RUN/eval/report.json]; - for standard output, without the tables.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Accuracy on corrupted copies of the test images: noise, blur, contrast, brightness, pixelate, jpeg, at 5 severities.
///
/// A logistic regression as in `lowshot` is fitted on clean images; the test images are corrupted as the encoder gets
/// them, after they are resized. The mean corruption error is the plain mean of errors over all kinds and severities.
#[derive(Args)]
#[command(after_help = "\
Example:
  msn eval robust --checkpoint runs/photos --train labelled/train --test labelled/test")]
pub(crate) struct Robust {
    #[command(flatten)]
    pub(crate) encoder: EncoderChoice,

    /// Labelled images to learn from.
    #[arg(long, value_name = "PATH")]
    pub(crate) train: PathBuf,

    /// Labelled images to corrupt and classify.
    #[arg(long, value_name = "PATH")]
    pub(crate) test: PathBuf,

    /// Labelled images a class, or a percentage of them such as 10%.
    #[arg(long, value_name = "N", default_value = "100%")]
    pub(crate) shots: Amount,

    /// Seed of the draw of the labelled images.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Kinds of corruption; several separated by commas.
    #[arg(
        long,
        value_name = "KIND,...",
        value_delimiter = ',',
        default_value = "noise,blur,contrast,brightness,pixelate,jpeg"
    )]
    pub(crate) corruptions: Vec<CorruptionKind>,

    /// Weight of the L2 penalty, or auto: chosen by cross-validation on the labelled images [default: 0.0025 for up to
    /// 5 images a class, 0.075 above].
    #[arg(long, value_name = "X")]
    pub(crate) lambda: Option<Lambda>,

    /// Where to write the results as JSON [default: RUN/eval/robust.json]; - for standard output, without the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// What labels are worth if `msn select` picks the images, beside as many picked at random.
///
/// For each number of labelled images and each seed both pick among the training images, whose labels are looked at only
/// then. A logistic regression on the picked images classifies the test images; those of a class that has no labelled
/// image count as wrong.
#[derive(Args)]
#[command(after_help = "\
Example:
  msn eval select --checkpoint runs/photos --train labelled/train --test labelled/test --budgets 10,50")]
pub(crate) struct Selection {
    #[command(flatten)]
    pub(crate) encoder: EncoderChoice,

    /// Labelled images to pick from.
    #[arg(long, value_name = "PATH")]
    pub(crate) train: PathBuf,

    /// Labelled images to classify.
    #[arg(long, value_name = "PATH")]
    pub(crate) test: PathBuf,

    /// Labelled images in all; several separated by commas.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "10,50", value_parser = at_least_one)]
    pub(crate) budgets: Vec<usize>,

    /// How often images are picked, from seed 0 on.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,

    /// Weight of the L2 penalty, or auto: chosen by cross-validation on the labelled images [default: 0.0025 for up to
    /// 5 images a class, 0.075 above].
    #[arg(long, value_name = "X")]
    pub(crate) lambda: Option<Lambda>,

    /// Where to write the results as JSON [default: RUN/eval/select.json]; - for standard output, without the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Several encoders in one table: low-shot accuracy on the same labelled images.
///
/// Two baselines are added unless they are named: raw pixels, and the first run's encoder without its training.
#[derive(Args)]
#[command(after_help = "\
Examples:
  msn compare runs/photos --train labelled/train --test labelled/test
  msn compare runs/short runs/long --train a --test b --shots 1,2,5,10,1% --picture curves.svg
  msn compare runs/photos/checkpoints/step-1000 runs/photos --train a --test b --only")]
pub(crate) struct Compare {
    /// Run folders, checkpoints RUN/checkpoints/step-N, untrained:RUN, raw-pixels: all that --checkpoint takes elsewhere.
    #[arg(value_name = "CHECKPOINT", required = true)]
    pub(crate) checkpoints: Vec<String>,

    /// Labelled images to draw the shots from.
    #[arg(long, value_name = "PATH")]
    pub(crate) train: PathBuf,

    /// Labelled images to classify.
    #[arg(long, value_name = "PATH")]
    pub(crate) test: PathBuf,

    /// Labelled images a class, or a percentage of them such as 1%; several separated by commas.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,2,5")]
    pub(crate) shots: Vec<Amount>,

    /// How often the shots are drawn.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) splits: u64,

    /// Seed of the draws.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Weight of the L2 penalty, or auto: chosen by cross-validation on the labelled images [default: 0.0025 for up to
    /// 5 images a class, 0.075 above].
    #[arg(long, value_name = "X")]
    pub(crate) lambda: Option<Lambda>,

    /// Compare the named encoders alone, without baselines.
    #[arg(long)]
    pub(crate) only: bool,

    /// Where the features are read: before or after the encoder's final norm.
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = FeatureChoice::BeforeNorm)]
    pub(crate) features: FeatureChoice,

    #[command(flatten)]
    pub(crate) device: OnDevice,

    /// Draw accuracy over labelled images a class, in SVG.
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) picture: Option<PathBuf>,

    /// Where to write the results as JSON [default: RUN/eval/compare.json of the first checkpoint]; - for standard output,
    /// without the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Choose which images to label first.
///
/// The features are split into as many clusters as there are labels to give, and of each cluster the most typical image
/// is chosen: labels on these go further than on images picked at random.
#[derive(Args)]
#[command(after_help = "\
Example:
  msn select --checkpoint runs/photos --data photos --budget 50 --out few.csv
  # fill in the column `label` of few.csv, then:
  msn predict --checkpoint runs/photos --labels few.csv --images photos --out predicted.csv")]
pub(crate) struct Select {
    #[command(flatten)]
    pub(crate) encoder: EncoderChoice,

    /// Images: a folder (any depth), .tar or Parquet files (one, a folder of them, or a pattern such as
    /// 'shards-{000..099}.tar'), CIFAR .bin or IDX files, a .csv of path,label, or a .txt list of paths.
    #[arg(long, value_name = "PATH")]
    pub(crate) data: PathBuf,

    /// Images to choose.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) budget: usize,

    /// File to write, which must be new: a CSV with the columns `path` and `label`, the latter empty.
    #[arg(long, value_name = "FILE.csv")]
    pub(crate) out: PathBuf,

    /// Seed of the clusters.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
}

/// Write the features of images to a file.
#[derive(Args)]
#[command(after_help = "\
The paths of the images are written beside it, one a line in the order of the rows: features.npy, features.txt.

Example:
  msn embed --checkpoint runs/photos --data photos --out features.npy")]
pub(crate) struct Embed {
    #[command(flatten)]
    pub(crate) encoder: EncoderChoice,

    /// Images: a folder (any depth), .tar or Parquet files (one, a folder of them, or a pattern such as
    /// 'shards-{000..099}.tar'), CIFAR .bin or IDX files, a .csv of path,label, or a .txt list of paths.
    #[arg(long, value_name = "PATH")]
    pub(crate) data: PathBuf,

    /// File to write: one row an image, 32-bit floats. In a .safetensors file the tensor's name is `features`.
    #[arg(long, value_name = "FILE.{npy,safetensors}")]
    pub(crate) out: PathBuf,
}

/// Classify images, given the labels of a few.
#[derive(Args)]
#[command(after_help = "\
FILE.csv starts with the line `path,label`. A path is absolute, or relative to --images or to the folder of FILE.csv.

Example:
  msn predict --checkpoint runs/photos --labels few.csv --images photos --out predicted.csv")]
pub(crate) struct Predict {
    #[command(flatten)]
    pub(crate) encoder: EncoderChoice,

    /// The labels: a CSV file with the columns `path` and `label`.
    #[arg(long, value_name = "FILE.csv")]
    pub(crate) labels: PathBuf,

    /// Images to classify: a folder (any depth), .tar or Parquet files (one, a folder of them, or a pattern such as
    /// 'shards-{000..099}.tar'), CIFAR .bin or IDX files, a .csv of path,label, or a .txt list of paths.
    #[arg(long, value_name = "PATH")]
    pub(crate) images: PathBuf,

    /// File to write: a CSV with the columns `path`, `label` and `probability`.
    #[arg(long, value_name = "FILE.csv")]
    pub(crate) out: PathBuf,

    /// Weight of the L2 penalty, or auto: chosen by cross-validation on the labelled images [default: 0.0025 for up to
    /// 5 images a class, 0.075 above].
    #[arg(long, value_name = "X")]
    pub(crate) lambda: Option<Lambda>,
}

/// What turns an image into features.
#[derive(Args)]
pub(crate) struct EncoderChoice {
    /// A run folder (its newest checkpoint) or one checkpoint, RUN/checkpoints/step-N.
    ///
    /// Two baselines to compare with: `raw-pixels` takes the image itself, at most 64 x 64 pixels of it: the median
    /// of the images' shorter sides if that is less; `untrained:RUN` takes the encoder of a run with random weights
    /// instead of the learned ones.
    #[arg(long, value_name = "RUN")]
    pub(crate) checkpoint: String,

    /// Where the features are read: before or after the encoder's final norm.
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = FeatureChoice::BeforeNorm)]
    pub(crate) features: FeatureChoice,

    #[command(flatten)]
    pub(crate) device: OnDevice,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum FeatureChoice {
    /// [CLS] of the last block, as the paper's low-shot evaluation
    BeforeNorm,
    /// [CLS] after the final norm, as the projection head
    AfterNorm,
}
