//! The arguments of `msn eval finetune`.

use std::path::PathBuf;

use clap::Args;
use msn_eval::{Amount, FineTune as Settings};

use super::{LabelledData, OnDevice, SampleRange, at_least_one, positive};

/// Fine-tuning: the encoder and a linear classifier are trained together, end to end or the last blocks alone.
///
/// The recipe is the one of BEiT with the values of MAE for ViT-B on ImageNet; epochs and batches are picked from the
/// number of images. The classifier is tested once, after the last epoch; nothing is chosen on the test images.
#[derive(Args)]
#[command(after_help = "\
Images are cut to the size that the encoder was trained with, or to --image-size, for which its \
positions are resized (bicubic). --out makes a run folder that --checkpoint of every command takes; \
`msn export` and `msn predict` find the classifier in it. With --out, Ctrl-C saves a checkpoint and ends; go on with --resume.

Examples:
  msn eval finetune --checkpoint runs/photos --train train --test test --out runs/tuned
  msn eval finetune --checkpoint runs/photos --train few.csv --images photos --test test --partial 1
  msn eval finetune --checkpoint vit-b.pth --train a --test b --epochs 100 --batch-size 1024")]
pub(crate) struct FineTune {
    /// A run folder (its newest checkpoint), one checkpoint RUN/checkpoints/step-N, another program's checkpoint, or
    /// untrained:RUN.
    #[arg(long, value_name = "RUN")]
    pub(crate) checkpoint: String,

    /// Attention heads of another program's encoder, where neither its size nor the file tells.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) heads: Option<usize>,

    #[command(flatten)]
    pub(crate) range: SampleRange,

    #[command(flatten)]
    pub(crate) device: OnDevice,

    #[command(flatten)]
    pub(crate) labelled: LabelledData,

    /// Labelled images a class that are drawn from --train, or a percentage of them such as 10%.
    #[arg(long, value_name = "N", default_value = "100%")]
    pub(crate) shots: Amount,

    /// Train the last K blocks, the final norm and the classifier alone; 0 for the classifier alone [default: all].
    #[arg(long, value_name = "K")]
    pub(crate) partial: Option<usize>,

    /// Side of the images, pixels, a multiple of the patch size [default: the encoder's].
    #[arg(long, value_name = "PX", value_parser = at_least_one)]
    pub(crate) image_size: Option<usize>,

    /// Passes over the training images [default: 30 to 100, fewer for more images].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) epochs: Option<u64>,

    /// Images in a step [default: 16 to 256, more for more images].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) batch_size: Option<usize>,

    /// Learning rate of the classifier after the warm-up, for batches of 256: multiplied by the batch size over that
    /// [default: 0.001, and for smaller batches so much more that it is 0.001 in the end].
    #[arg(long, value_name = "X", value_parser = positive)]
    pub(crate) lr: Option<f64>,

    /// Part of the epochs over which the learning rate rises linearly from 0, [0, 1]; half a cosine follows.
    #[arg(long, value_name = "P", default_value_t = Settings::RECIPE.warmup)]
    pub(crate) warmup: f64,

    /// Factor of the learning rate from a block to the one before it, (0, 1].
    #[arg(long, value_name = "X", default_value_t = Settings::RECIPE.layer_decay)]
    pub(crate) layer_decay: f64,

    /// Weight decay of matrices, at least 0.
    #[arg(long, value_name = "X", default_value_t = Settings::RECIPE.weight_decay)]
    pub(crate) weight_decay: f64,

    /// Largest norm of the gradient; 0 to not clip.
    #[arg(long, value_name = "X", default_value_t = Settings::RECIPE.clip_grad)]
    pub(crate) clip_grad: f64,

    /// Stochastic depth: probability that the last block is skipped for an image, rising from 0 at the first, [0, 1).
    #[arg(long, value_name = "P", default_value_t = Settings::RECIPE.drop_path)]
    pub(crate) drop_path: f64,

    /// Label smoothing: share of a label that is spread over all classes, [0, 1).
    #[arg(long, value_name = "P", default_value_t = Settings::RECIPE.smoothing)]
    pub(crate) smoothing: f64,

    /// Least area of the random crops as a fraction of the image, (0, 1] [default: 0.08; for images of up to 96 px,
    /// 0.35].
    #[arg(long, value_name = "P")]
    pub(crate) least_area: Option<f64>,

    /// Probability that a crop is flipped, [0, 1]; 0 where left and right tell classes apart.
    #[arg(long, value_name = "P", default_value_t = Settings::RECIPE.flip)]
    pub(crate) flip: f64,

    /// Probability that a crop is rotated by 90, 180 or 270 degrees, each equally likely, [0, 1]; 0.75 where images have no
    /// up, as from a microscope or a satellite.
    #[arg(long, value_name = "P", default_value_t = Settings::RECIPE.rotation)]
    pub(crate) rotation: f64,

    /// RandAugment: magnitude of two random operations an image (colours, contrast, shear, ..), [0, 10]; 0 for none.
    #[arg(long, value_name = "M", default_value_t = Settings::RECIPE.rand_augment)]
    pub(crate) rand_augment: f64,

    /// Random erasing: probability that a part of an image becomes noise, [0, 1].
    #[arg(long, value_name = "P", default_value_t = Settings::RECIPE.erasing)]
    pub(crate) erasing: f64,

    /// Mixup: parameter of the Beta distribution of what is kept of an image, at least 0; 0 for none.
    #[arg(long, value_name = "A", default_value_t = Settings::RECIPE.mixup)]
    pub(crate) mixup: f64,

    /// CutMix: the same; with both, each batch gets one of them.
    #[arg(long, value_name = "A", default_value_t = Settings::RECIPE.cutmix)]
    pub(crate) cutmix: f64,

    /// Share of itself that the moving average of the weights, which is tested, keeps at a step, [0, 1); less in the
    /// first steps. 0 for the weights themselves.
    #[arg(long, value_name = "P", default_value_t = Settings::RECIPE.ema)]
    pub(crate) ema: f64,

    /// Compute activations anew in the backward pass: less memory for about a third more time.
    #[arg(long)]
    pub(crate) grad_checkpointing: bool,

    /// Seed of the draw of the images, of order, crops and all else.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Run folder to make of the fine-tuned encoder and its classifier; must be new or empty.
    #[arg(long, value_name = "RUN")]
    pub(crate) out: Option<PathBuf>,

    /// Go on with the fine-tuning in --out that was stopped, given the same arguments.
    #[arg(long, requires = "out")]
    pub(crate) resume: bool,

    /// Where to write the results as JSON [default: eval/finetune.json in --out, or without it in the run folder of
    /// --checkpoint]; - for standard output, without the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl FineTune {
    /// The settings for so many images and an encoder of images of this size.
    pub(crate) fn settings(&self, images: usize, image_size: usize) -> Settings {
        let picked = Settings::recipe(images, image_size);
        let batch_size = self.batch_size.unwrap_or(picked.batch_size);
        Settings {
            partial: self.partial,
            epochs: self.epochs.unwrap_or(picked.epochs),
            batch_size,
            lr: self.lr.unwrap_or_else(|| Settings::lr_for(batch_size.min(images))),
            warmup: self.warmup,
            layer_decay: self.layer_decay,
            weight_decay: self.weight_decay,
            clip_grad: self.clip_grad,
            drop_path: self.drop_path,
            smoothing: self.smoothing,
            least_area: self.least_area.unwrap_or(picked.least_area),
            flip: self.flip,
            rotation: self.rotation,
            rand_augment: self.rand_augment,
            erasing: self.erasing,
            mixup: self.mixup,
            cutmix: self.cutmix,
            ema: self.ema,
            grad_checkpointing: self.grad_checkpointing,
            seed: self.seed,
            ..picked
        }
    }
}
