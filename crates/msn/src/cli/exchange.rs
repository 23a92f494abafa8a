//! Commands that exchange encoders with other programs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use msn_eval::Lambda;

use super::{OnDevice, SampleRange, at_least_one};

/// Turn another program's checkpoint into a run folder.
#[derive(Args)]
#[command(after_help = "\
Every --checkpoint takes FILE directly as well; a run folder opens faster and says how many heads \
there are. Nothing in FILE is executed. The number of heads is known for ViT-Ti, -S, -B, -L and -H, \
and from config.json.

Examples:
  msn import vits16_800ep.pth.tar --out runs/msn-vits16
  msn import dino_deitsmall16_pretrain.pth --out runs/dino
  msn import small-vit.safetensors --heads 3 --out runs/small")]
pub(crate) struct Import {
    /// A checkpoint of MSN, DINO, iBOT, MAE or timm (.pth, .pth.tar, .safetensors), or a folder of Hugging Face's ViTMSN
    /// or ViT.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Run folder to make; must be new or empty.
    #[arg(long, value_name = "RUN")]
    pub(crate) out: PathBuf,

    /// Attention heads, where neither the encoder's size nor the file tells.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) heads: Option<usize>,

    #[command(flatten)]
    pub(crate) range: SampleRange,
}

/// Write an encoder in the form of another program, with a classifier if there are labels.
#[derive(Args)]
#[command(after_help = "\
With --labels and --images, the classifier is the one that `msn predict --precision f32` uses, as a \
linear layer after the final norm. Without them, a fine-tuned encoder (`msn eval finetune --out`) is exported with its own.

Examples:
  msn export --checkpoint runs/photos --format hf --out photos-vit
  msn export --checkpoint runs/photos --format hf --out vit --labels few.csv --images photos
  msn export --checkpoint runs/photos --format onnx --out photos.onnx")]
pub(crate) struct Export {
    /// What to export: whatever the other commands take, the baselines aside.
    #[arg(long, value_name = "RUN")]
    pub(crate) checkpoint: String,

    /// The form to write.
    #[arg(long, value_name = "FORM", value_enum)]
    pub(crate) format: ExportFormat,

    /// The file to write; for hf the folder, which must be new or empty.
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,

    /// Labels to fit a classifier on: a CSV file with the columns `path` and `label`.
    #[arg(long, value_name = "FILE.csv", requires = "images")]
    pub(crate) labels: Option<PathBuf>,

    /// The images that the labels name.
    #[arg(long, value_name = "PATH", requires = "labels")]
    pub(crate) images: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) range: SampleRange,

    /// Weight of the classifier's L2 penalty, or auto: chosen by cross-validation [default: 0.0025 for up to 5 images a
    /// class, 0.075 above].
    #[arg(long, value_name = "X", requires = "labels")]
    pub(crate) lambda: Option<Lambda>,

    /// Attention heads of another program's encoder, where neither its size nor the file tells.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) heads: Option<usize>,

    #[command(flatten)]
    pub(crate) device: OnDevice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A folder for transformers' ViTMSNModel or ViTMSNForImageClassification
    Hf,
    /// A .safetensors file for timm's VisionTransformer
    Timm,
    /// A .onnx file with a dynamic batch: pixel_values to last_hidden_state, features and logits
    Onnx,
    /// A .safetensors file with msn's own names, the projection head included
    Safetensors,
}
