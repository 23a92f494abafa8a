use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::init::Init;
use crate::layers::token;
use crate::{
    Block, EncoderConfig, Error, HeadConfig, LayerNorm, PatchEmbed, Path, Precision, ProjectionHead,
    Segments, StochasticDepth, View, focal_positions, on_worker, ops,
};

/// Which output of the encoder stands for an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Features {
    /// [CLS] of the last block before the final norm, which the low-shot protocol of the paper reads.
    #[default]
    BeforeNorm,
    /// [CLS] after the final norm, which the projection head reads.
    AfterNorm,
}

/// A vision transformer that reads only the patches it is given and returns their sequence's [CLS].
#[derive(Module, Debug)]
pub struct Encoder {
    /// [1, 1, D]
    pub cls_token: Param<Tensor<3>>,
    /// [CLS] first, then the patches row by row: [1, 1 + N, D].
    pub pos_embed: Param<Tensor<3>>,
    /// Patches to tokens.
    pub patch_embed: PatchEmbed,
    /// Transformer blocks, first to last.
    pub blocks: Vec<Block>,
    /// The final norm.
    pub norm: LayerNorm,
    /// The projection head, which pre-training adds and evaluation drops.
    pub fc: Option<ProjectionHead>,
    /// How blocks and linear layers are computed.
    #[module(skip)]
    pub path: Path,
}

impl EncoderConfig {
    /// A new encoder with truncated-normal weights that depend on the seed alone.
    ///
    /// # Errors
    /// As [`EncoderConfig::validate`] and [`HeadConfig::validate`].
    pub fn init(&self, head: Option<&HeadConfig>, seed: u64, device: &Device) -> Result<Encoder, Error> {
        self.validate()?;
        if let Some(head) = head {
            head.validate()?;
        }
        let init = &mut Init::new(seed, device);
        let grid = self.grid(self.image_size);
        Ok(Encoder {
            cls_token: token(1, self.dim, init),
            pos_embed: token(1 + grid * grid, self.dim, init),
            patch_embed: PatchEmbed::new(self, init),
            blocks: (0..self.depth).map(|_| Block::new(self, init)).collect(),
            norm: LayerNorm::new(self.dim, init),
            fc: head.map(|head| ProjectionHead::new(self.dim, head, init)),
            path: Path::Kernels(Precision::F32),
        })
    }
}

impl Encoder {
    /// Embedding dimension D.
    pub fn dim(&self) -> usize {
        self.cls_token.dims()[2]
    }

    /// Side of a patch, pixels.
    pub fn patch_size(&self) -> usize {
        self.patch_embed.proj.weight.dims()[3]
    }

    /// Where the parameters are.
    pub fn device(&self) -> Device {
        self.cls_token.device()
    }

    /// The [CLS] of every image of every view, view by view, before the final norm: [S, D].
    ///
    /// `depth` says which residual branches this step drops; its factors are in the order of the result's rows.
    ///
    /// # Panics
    /// If there is no view.
    pub fn forward(&self, views: &[View], depth: Option<&StochasticDepth>) -> Tensor<2> {
        let (mut x, segments) = self.embed(views);
        let (last, others) = self.blocks.split_last().expect("an encoder has at least one block");
        for (index, block) in others.iter().enumerate() {
            x = ops::block(x, block, &segments, depth.map(|depth| depth.block(index)), self.path);
        }
        ops::cls_block(x, last, &segments, depth.map(|depth| depth.block(others.len())), self.path)
    }

    /// The features of every image of the views: [S, D].
    pub fn features(&self, views: &[View], features: Features) -> Tensor<2> {
        on_worker(&self.device(), || {
            let cls = self.forward(views, None);
            match features {
                Features::BeforeNorm => cls,
                Features::AfterNorm => self.norm.forward(cls),
            }
        })
    }

    /// The projection of [CLS] tokens from before the final norm: norm, then head. cls: [S, D] -> [S, output]
    ///
    /// `groups` are the numbers of consecutive rows that batch norm treats as separate batches. The final norm's
    /// bias shifts all rows alike, which batch norm cancels; so that it gets no rounding noise for a gradient, it
    /// gets none.
    ///
    /// # Panics
    /// If the encoder has no head, the groups do not add up to S, or one of them is empty.
    pub fn project(&mut self, cls: Tensor<2>, groups: &[usize]) -> Tensor<2> {
        let head = self.fc.as_mut().expect("Encoder::project: an encoder with a head");
        let normed = match head.bn1 {
            Some(_) => self.norm.forward_with_frozen_bias(cls),
            None => self.norm.forward(cls),
        };
        head.forward(normed, groups, self.path)
    }

    /// The result of [`Encoder::forward`] computed by whole blocks throughout: the plain twin of the
    /// [CLS]-only last block.
    pub fn forward_whole(&self, views: &[View], depth: Option<&StochasticDepth>) -> Tensor<2> {
        let (mut x, segments) = self.embed(views);
        for (index, block) in self.blocks.iter().enumerate() {
            x = ops::block(x, block, &segments, depth.map(|depth| depth.block(index)), self.path);
        }
        let dim = self.dim();
        let rows = segments.cls_rows().map(|row| x.clone().slice([row..row + 1, 0..dim]));
        Tensor::cat(rows.collect(), 0)
    }

    /// What each of the last `count` blocks gives: [CLS] beside the mean of the patches, [S, 2 D] a block, in the order
    /// of the blocks, before the final norm.
    ///
    /// # Panics
    /// If there is no view, the views differ in their number of patches, or there are fewer blocks than `count`.
    pub fn last_blocks(&self, views: &[View], count: usize) -> Vec<Tensor<2>> {
        assert!(count <= self.blocks.len(), "the last {count} of {} blocks", self.blocks.len());
        let (mut x, segments) = self.embed(views);
        let (sequences, dim) = (segments.sequences(), self.dim());
        let length = segments.tokens() / sequences;
        assert!(segments.lengths().all(|other| other == length), "views with as many patches each");
        let mut outputs = Vec::with_capacity(count);
        for (index, block) in self.blocks.iter().enumerate() {
            x = ops::block(x, block, &segments, None, self.path);
            if index + count >= self.blocks.len() {
                let tokens = x.clone().reshape([sequences, length, dim]);
                let cls = tokens.clone().slice([0..sequences, 0..1, 0..dim]);
                let patches = tokens.slice([0..sequences, 1..length, 0..dim]).mean_dim(1);
                outputs.push(Tensor::cat(vec![cls, patches], 2).reshape([sequences, 2 * dim]));
            }
        }
        outputs
    }

    /// Tokens of all views with their positions, each sequence led by its [CLS]: [N, D].
    fn embed(&self, views: &[View]) -> (Tensor<2>, Segments) {
        assert!(!views.is_empty(), "Encoder: no view");
        let dim = self.dim();
        let positions = self.pos_embed.val().squeeze_dim::<2>(0);
        let [places, _] = positions.dims();
        let cls = self.cls_token.val().squeeze_dim::<2>(0) + positions.clone().slice([0..1, 0..dim]);
        let patch_positions = positions.slice([1..places, 0..dim]);
        let patches = Tensor::cat(views.iter().map(|view| view.patches.clone()).collect(), 0);
        let embedded = self.patch_embed.forward(patches, self.path);

        let grids: BTreeSet<usize> = views.iter().map(|view| view.grid).collect();
        let resized = |grid| (grid, focal_positions(patch_positions.clone(), grid));
        let positions: BTreeMap<_, _> = grids.into_iter().map(resized).collect();
        let tokens = ops::tokens(embedded, cls, &positions, views, self.path);
        let groups: Vec<_> = views.iter().map(|view| (view.batch, 1 + view.patches_per_image())).collect();
        (tokens, Segments::new(groups))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_every_branch_dropped_the_embedded_cls_comes_out() {
        let device = Device::flex();
        let config = EncoderConfig {
            variant: String::new(),
            image_size: 12,
            patch_size: 4,
            dim: 32,
            depth: 3,
            heads: 2,
            ..Default::default()
        };
        let encoder = config.init(None, 5, &device).expect("valid");
        let pixels: Vec<f32> = (0..2 * 3 * 12 * 12).map(|i| (i * 7919 % 1013) as f32 / 506.5 - 1.0).collect();
        let views = [
            View::new(&pixels, 2, 12, 4, Some(&[vec![0, 4, 7]]), &device),
            View::new(&pixels[..2 * 3 * 8 * 8], 2, 8, 4, None, &device),
        ];
        let first = |tensor: &Param<Tensor<3>>| {
            let data = tensor.val().into_data().try_to_vec::<f32>().expect("f32");
            data[..32].to_vec()
        };
        let sum = first(&encoder.cls_token).into_iter().zip(first(&encoder.pos_embed)).map(|(a, b)| a + b);
        // Adding a branch times zero changes no bit.
        let expected: Vec<f32> = sum.collect::<Vec<_>>().repeat(4);
        let none_left = StochasticDepth::dropping_all(3, 4);
        for path in [Path::Plain, Path::Kernels(Precision::F32), Path::Kernels(Precision::Bf16)] {
            let encoder = Encoder { path, ..encoder.clone() };
            for found in
                [encoder.forward(&views, Some(&none_left)), encoder.forward_whole(&views, Some(&none_left))]
            {
                assert_eq!(found.into_data().try_to_vec::<f32>().expect("f32"), expected, "{path:?}");
            }
            let kept = encoder.forward(&views, None).into_data().try_to_vec::<f32>().expect("f32");
            assert!(kept.iter().zip(&expected).any(|(kept, cls)| kept != cls), "{path:?}");
        }
    }
}
