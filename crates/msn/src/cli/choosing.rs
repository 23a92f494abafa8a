//! Commands that choose: among encoders, and among images to label.

use std::path::PathBuf;

use clap::Args;
use msn_eval::Amount;
use msn_train::config::PrecisionSetting;

use super::{
    Draws, EncoderChoice, FRESH_FEATURES, FeatureChoice, IMAGES, LabelledData, OnDevice, PRECISION, Penalty,
    SampleRange, at_least_one,
};

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
    /// Run folders, checkpoints RUN/checkpoints/step-N, untrained:RUN, raw-pixels: all that --checkpoint takes
    /// elsewhere.
    #[arg(value_name = "CHECKPOINT", required = true)]
    pub(crate) checkpoints: Vec<String>,

    /// Attention heads of those encoders of other programs of which neither the size nor the file tells.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) heads: Option<usize>,

    #[command(flatten)]
    pub(crate) labelled: LabelledData,

    /// Labelled images a class, or a percentage of them such as 1%; several separated by commas.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,2,5")]
    pub(crate) shots: Vec<Amount>,

    #[command(flatten)]
    pub(crate) draws: Draws,

    #[command(flatten)]
    pub(crate) penalty: Penalty,

    /// Compare the named encoders alone, without baselines.
    #[arg(long)]
    pub(crate) only: bool,

    /// Where the features are read: before or after the encoder's final norm.
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = FeatureChoice::BeforeNorm)]
    pub(crate) features: FeatureChoice,

    #[arg(long, value_name = "auto|bf16|f32", default_value = "auto", help = PRECISION)]
    pub(crate) precision: PrecisionSetting,

    #[arg(long, help = FRESH_FEATURES)]
    pub(crate) fresh_features: bool,

    #[command(flatten)]
    pub(crate) range: SampleRange,

    #[command(flatten)]
    pub(crate) device: OnDevice,

    /// Draw accuracy over labelled images a class, in SVG.
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) picture: Option<PathBuf>,

    /// Where to write the results as JSON [default: RUN/eval/compare.json of the first checkpoint]; - for standard
    /// output, without the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Choose which images to label first.
///
/// The features are split into as many clusters as there are labels to give, and of each cluster the most typical image
/// is chosen: labels on these go further than on images picked at random. With --labels, more images are chosen, unlike those
/// that have labels already.
#[derive(Args)]
#[command(after_help = "\
Examples:
  msn select --checkpoint runs/photos --data photos --budget 50 --out few.csv
  # fill in the column `label` of few.csv, then:
  msn predict --checkpoint runs/photos --labels few.csv --images photos --out predicted.csv
  # and for the next round:
  msn select --checkpoint runs/photos --data photos --labels few.csv --budget 50 --out more.csv")]
pub(crate) struct Select {
    #[command(flatten)]
    pub(crate) encoder: EncoderChoice,

    #[arg(long, value_name = "PATH", help = IMAGES)]
    pub(crate) data: PathBuf,

    /// Images to choose.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) budget: usize,

    /// Labels that there are already: a CSV file with the columns `path` and `label`.
    #[arg(long, value_name = "FILE.csv")]
    pub(crate) labels: Option<PathBuf>,

    /// File to write, which must be new: a CSV with the columns `path` and `label`, the latter empty; those of --labels come
    /// first.
    #[arg(long, value_name = "FILE.csv")]
    pub(crate) out: PathBuf,

    /// Seed of the clusters.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
}

/// What labels are worth if `msn select` picks the images, beside as many picked at random.
///
/// For each number of labelled images and each seed both pick among the training images, whose labels are looked at
/// only then. A logistic regression on the picked images classifies the test images; those of a class that has no
/// labelled image count as wrong.
#[derive(Args)]
#[command(after_help = "\
Example:
  msn eval select --checkpoint runs/photos --train train --test test --budgets 10,50")]
pub(crate) struct Selection {
    #[command(flatten)]
    pub(crate) encoder: EncoderChoice,

    #[command(flatten)]
    pub(crate) labelled: LabelledData,

    /// Labelled images in all; several separated by commas.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "10,50", value_parser = at_least_one)]
    pub(crate) budgets: Vec<usize>,

    /// How often images are picked, from seed 0 on.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,

    #[command(flatten)]
    pub(crate) penalty: Penalty,

    /// Where to write the results as JSON [default: RUN/eval/select.json]; - for standard output, without the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}
