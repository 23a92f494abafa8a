//! Protocols of `msn eval` besides low-shot and nearest neighbours.

use std::path::PathBuf;

use clap::Args;
use msn_data::CorruptionKind;
use msn_eval::Amount;
use msn_train::config::PrecisionSetting;

use super::{
    Draws, EncoderChoice, LabelledData, OnDevice, PRECISION, Penalty, SampleRange, at_least_one, positive,
    share,
};

/// Linear probe: a linear classifier on frozen features, trained by gradient descent on random crops and flips.
///
/// Features are the outputs of the last blocks, each centred and scaled to length 1. All learning rates are trained in
/// one pass; a tenth of the training images is held out to choose among them.
#[derive(Args)]
#[command(after_help = "\
Examples:
  msn eval linear --checkpoint runs/photos --train labelled/train --test labelled/test
  msn eval linear --checkpoint runs/photos --train a --test b --blocks 4 --patch-mean --epochs 100")]
pub(crate) struct Linear {
    /// A run folder (its newest checkpoint), one checkpoint RUN/checkpoints/step-N, a file or folder of another program,
    /// untrained:RUN, or raw-pixels.
    #[arg(long, value_name = "RUN")]
    pub(crate) checkpoint: String,

    /// Attention heads of another program's encoder, where neither its size nor the file tells.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) heads: Option<usize>,

    #[arg(long, value_name = "auto|bf16|f32", default_value = "auto", help = PRECISION)]
    pub(crate) precision: PrecisionSetting,

    #[command(flatten)]
    pub(crate) range: SampleRange,

    #[command(flatten)]
    pub(crate) device: OnDevice,

    #[command(flatten)]
    pub(crate) labelled: LabelledData,

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

    /// Probability that a crop is flipped, [0, 1]; 0 where left and right tell classes apart.
    #[arg(long, value_name = "P", default_value_t = 0.5, value_parser = share)]
    pub(crate) flip: f64,

    /// Probability that a crop is rotated by 90, 180 or 270 degrees, each equally likely, [0, 1]; 0.75 where images have no
    /// up, as from a microscope or a satellite.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = share)]
    pub(crate) rotation: f64,

    /// Seed of order, crops and of what is held out.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Where to write the results as JSON [default: RUN/eval/linear.json]; - for standard output, without the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// A closer look at the classifier: classes, confusions, calibration, and accuracy over the number of labels.
///
/// A logistic regression as in `lowshot` is fitted for each number of labelled images a class; what the one with the
/// most labels does with the test images is reported in detail, and the accuracies of all are drawn as a curve.
#[derive(Args)]
#[command(after_help = "\
Examples:
  msn eval report --checkpoint runs/photos --train labelled/train --test labelled/test
  msn eval report --checkpoint raw-pixels --train a --test b --shots 1,10,100% --picture curve.svg")]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) encoder: EncoderChoice,

    #[command(flatten)]
    pub(crate) labelled: LabelledData,

    /// Labelled images a class, or a percentage of them such as 10%; several separated by commas [default:
    /// 1,2,5,10,20,.. up to the smallest class].
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub(crate) shots: Vec<Amount>,

    #[command(flatten)]
    pub(crate) draws: Draws,

    #[command(flatten)]
    pub(crate) penalty: Penalty,

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

    #[command(flatten)]
    pub(crate) labelled: LabelledData,

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

    #[command(flatten)]
    pub(crate) penalty: Penalty,

    /// Where to write the results as JSON [default: RUN/eval/robust.json]; - for standard output, without the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}
