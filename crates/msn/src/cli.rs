//! The arguments of every command.

mod choosing;
mod data;
mod evaluation;
mod exchange;
mod finetune;
mod labelled;
mod limits;
mod protocols;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use choosing::{Compare, Select, Selection};
pub(crate) use data::{DataCommand, DataViews, Inspect, Pack};
pub(crate) use evaluation::{
    Embed, EncoderChoice, Evaluation, FeatureChoice, Knn, Lowshot, Penalty, Predict,
};
pub(crate) use exchange::{Export, ExportFormat, Import};
pub(crate) use finetune::FineTune;
use labelled::Draws;
pub(crate) use labelled::LabelledData;
pub(crate) use limits::SampleRange;
pub(crate) use protocols::{Linear, Report, Robust};

const EXAMPLES: &str = "\
Examples:
  msn demo                                       everything once, on images that it draws itself
  msn pretrain --data photos --out runs/photos   learn from a folder of images without labels
  msn data inspect photos                        what is in them, and what is broken
  msn eval lowshot --checkpoint runs/photos --train labelled/train --test labelled/test
  msn predict --checkpoint runs/photos --labels few.csv --images photos --out predicted.csv

Exit codes: 0 done; 1 a failure that is explained; 2 wrong arguments; 130 stopped by Ctrl-C, \
143 by SIGTERM and 129 by a terminal that was closed, where pretrain, demo and eval finetune --out save a checkpoint first, unless a second Ctrl-C or SIGTERM comes.";

/// Columns of the help at most.
const HELP_WIDTH: usize = 100;

/// Help of every argument that takes images: the sources of `msn_data::open`.
const IMAGES: &str = "Images: a folder (any depth) or one image, .tar or Parquet files (one, a folder of them, or a pattern such as \
    'shards-{000..099}.tar'; also at http(s)://, s3:// and gs:// addresses), CIFAR .bin or IDX files, a .csv of \
    path,label, or a .txt list of paths";

/// Help of `--precision`.
const PRECISION: &str = "How the encoder's products are multiplied on a CPU: bf16 (features differ by its rounding), f32, \
    or auto: bf16 where the CPU has instructions for it. Other devices compute in f32 in any case";

/// Help of `--fresh-features`.
const FRESH_FEATURES: &str = "Compute all features anew, and keep none. Without it, those of images that an earlier command \
    has seen with the same encoder come from the cache (MSN_CACHE, else msn in XDG_CACHE_HOME, else ~/.cache/msn; at most 20 GiB of features, or \
    MSN_CACHE_GIB); an image is known by its content";

const CPU: &str = "cpu";

/// Pre-trains a vision transformer on unlabelled images, and turns a few labels into a classifier.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = HELP_WIDTH)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Demo(Demo),
    Pretrain(Pretrain),
    #[command(subcommand)]
    Data(DataCommand),
    #[command(subcommand)]
    Eval(Evaluation),
    Compare(Compare),
    Embed(Embed),
    Predict(Predict),
    Import(Import),
    Export(Export),
    Select(Select),
    Settings(Settings),
    Synth(Synth),
}

/// Draw images, pre-train on them, evaluate: the whole job in a few minutes.
#[derive(Args)]
#[command(after_help = "\
Ctrl-C saves a checkpoint and ends; a second one ends at once. Go on with --resume.

Examples:
  msn demo
  msn demo --out runs/demo optim.epochs=5
  msn demo --out runs/demo --resume")]
pub(crate) struct Demo {
    /// Run folder to make: images, checkpoints, demo.json with the table. Must be new or empty.
    #[arg(long, value_name = "RUN", default_value = "msn-demo")]
    pub(crate) out: PathBuf,

    /// Images of each of the 20 classes to pre-train on, and a sixth as many to test on.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = enough_for_the_shots)]
    pub(crate) images_per_class: usize,

    /// Go on with the demo in --out that was stopped, and evaluate it.
    #[arg(long)]
    pub(crate) resume: bool,

    #[command(flatten)]
    pub(crate) device: OnDevice,

    /// Change a setting of the built-in configuration, such as optim.epochs=2.
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
}

/// Pre-train an encoder on images without labels.
#[derive(Args)]
#[command(after_help = "\
Without --config, settings are picked from the number and the size of the images, and explained.
Ctrl-C saves a checkpoint and ends; a second one ends at once. Go on with --resume.

Examples:
  msn pretrain --data photos --out runs/photos
  msn pretrain --data photos --out runs/tonight --hours 10
  msn pretrain --data photos --out runs/longer optim.epochs=200 encoder.variant=vit-s16
  msn pretrain --data train.tar --out runs/cifar --config configs/pretrain/cifar10-tiny.toml
  msn pretrain --data photos --out runs/photos --resume
  msn pretrain --data photos --out runs/again --init runs/photos optim.lr=3e-4")]
pub(crate) struct Pretrain {
    #[arg(long, value_name = "PATH", help = IMAGES)]
    pub(crate) data: PathBuf,

    /// Run folder: config.toml, metrics.jsonl, skipped.jsonl, checkpoints/step-N/ and latest.
    #[arg(long, value_name = "RUN")]
    pub(crate) out: PathBuf,

    /// Settings in TOML, or in YAML as the original implementation's; what it leaves out has its default.
    #[arg(long, value_name = "FILE.{toml,yaml}")]
    pub(crate) config: Option<PathBuf>,

    /// Start from the weights of a checkpoint rather than from drawn ones: a run folder, RUN/checkpoints/step-N, or a file or
    /// folder of another program. The optimizer and the schedules start anew; settings may differ but for the encoder's.
    #[arg(long, value_name = "CHECKPOINT", conflicts_with = "resume")]
    pub(crate) init: Option<PathBuf>,

    /// Attention heads of another program's encoder in --init, where neither its size nor the file tells.
    #[arg(long, value_name = "N", value_parser = at_least_one, requires = "init")]
    pub(crate) heads: Option<usize>,

    /// Pick as many epochs as take about so many hours on this machine's CPU, which is measured for a moment. Fewer hours than
    /// an epoch takes are refused. With --config, give optim.epochs instead.
    #[arg(long, value_name = "H", value_parser = positive, conflicts_with_all = ["config", "resume"])]
    pub(crate) hours: Option<f64>,

    /// Go on with the run in --out from its newest whole checkpoint.
    #[arg(long)]
    pub(crate) resume: bool,

    #[command(flatten)]
    pub(crate) device: OnDevice,

    /// Change a setting, such as optim.lr=3e-4; `msn settings` explains them.
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
}

/// Draw an image set: each class a kind of shape and texture, everything else a nuisance.
#[derive(Args)]
#[command(after_help = "\
Example:
  msn synth --out shapes --classes 20 --images-per-class 300 --size 64 --seed 0")]
pub(crate) struct Synth {
    /// Folder to make, with PNG files DIR/CLASS/0001.png; must be new or empty.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,

    /// Number of classes.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) classes: usize,

    /// Images of each class.
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub(crate) images_per_class: usize,

    /// Width and height, pixels.
    #[arg(long, value_name = "PX", default_value_t = 64)]
    pub(crate) size: usize,

    /// Seed of every draw; another one gives other images of the same classes.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
}

/// Explain the settings of pretrain: meaning, default, unit and range.
#[derive(Args)]
#[command(after_help = "\
Examples:
  msn settings                  all of them
  msn settings optim            those of a section
  msn settings jitter           those that have it in their name")]
pub(crate) struct Settings {
    /// Names of settings or sections, or parts of names; all settings without one.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

#[derive(Clone, Args)]
pub(crate) struct OnDevice {
    /// Where to compute: cpu, or a device that the program was built with (cuda, metal, rocm, vulkan, wgpu).
    #[arg(long = "device", value_name = "NAME", default_value = CPU)]
    pub(crate) name: String,
}

impl OnDevice {
    /// Whether it computes in the machine's memory.
    pub(crate) fn is_cpu(&self) -> bool {
        self.name == CPU
    }

    /// The argument as it has to be repeated in another command, led by a space.
    pub(crate) fn repeated(&self) -> String {
        if self.name == CPU { String::new() } else { format!(" --device {}", self.name) }
    }
}

fn enough_for_the_shots(text: &str) -> Result<usize, String> {
    let number = at_least_one(text).ok().filter(|&number| number >= 5);
    number.ok_or_else(|| "expected a whole number of at least 5, which the evaluation labels".to_owned())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(number) if number >= 1 => Ok(number),
        _ => Err("expected a whole number of at least 1".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("expected a number above 0".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("expected a number in [0, 1]".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_table_of_arguments_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Of the commands that a person would look up, not of `msn data` and `msn eval`, which are groups of them.
    #[test]
    fn every_command_shows_an_example_of_itself() {
        fn check(command: &clap::Command, name: &str) {
            if !command.has_subcommands() {
                let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                let examples = text.split_once("Example").map(|(_, examples)| examples).unwrap_or_default();
                assert!(examples.contains(&format!("\n  {name}")), "{name}: {text}");
            }
            for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
                check(inner, &format!("{name} {}", inner.get_name()));
            }
        }
        check(&Cli::command(), "msn");
    }

    #[test]
    fn examples_and_notes_fit_the_width_of_the_help() {
        fn check(command: &clap::Command) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            // A paragraph in one line is wrapped; lines that are meant to stand as they are would be broken.
            let meant = text.lines().filter(|line| line.starts_with("  "));
            for line in meant {
                assert!(line.len() <= HELP_WIDTH, "{}: {line}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
