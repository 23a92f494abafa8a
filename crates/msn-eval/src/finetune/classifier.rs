//! An encoder with a linear classifier on it.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use msn_model::{Encoder, Linear, LinearHead, StochasticDepth, View, host_array};

use crate::Classes;

/// What is trained: the encoder and a linear layer on its [CLS] after the final norm.
#[derive(Module, Debug)]
pub(super) struct Classifier {
    pub(super) encoder: Encoder,
    /// [C, D]
    pub(super) head: Linear,
}

impl Classifier {
    /// The encoder with a head of zeros, to which all classes are equally likely.
    pub(super) fn new(encoder: Encoder, classes: usize) -> Self {
        let (dim, device) = (encoder.dim(), encoder.device());
        let weight = Param::from_tensor(Tensor::zeros([classes, dim], &device));
        Self { encoder, head: Linear { weight, bias: Param::from_tensor(Tensor::zeros([classes], &device)) } }
    }

    /// The classifier of which the last `blocks` blocks, the final norm and the head are trained, and with 0 blocks the
    /// head alone. What is frozen is outside the graph: nothing of it is kept for the backward pass, which stops above
    /// it.
    ///
    /// # Panics
    /// If the encoder has fewer blocks.
    pub(super) fn frozen_below(self, blocks: usize) -> Self {
        let Self { encoder, head } = self;
        let frozen = encoder.blocks.len().checked_sub(blocks).expect("as many blocks as are trained");
        let freeze = |(index, block): (usize, msn_model::Block)| {
            if index < frozen { block.no_grad() } else { block }
        };
        let encoder = Encoder {
            cls_token: encoder.cls_token.set_require_grad(false),
            pos_embed: encoder.pos_embed.set_require_grad(false),
            patch_embed: encoder.patch_embed.no_grad(),
            blocks: encoder.blocks.into_iter().enumerate().map(freeze).collect(),
            norm: if blocks == 0 { encoder.norm.no_grad() } else { encoder.norm },
            ..encoder
        };
        Self { encoder, head }
    }

    /// Logits of every image of the view: [B, C].
    pub(super) fn logits(&self, view: View, depth: Option<&StochasticDepth>) -> Tensor<2> {
        let cls = self.encoder.norm.forward(self.encoder.forward(&[view], depth));
        self.head.forward(cls, self.encoder.path)
    }

    /// The head by itself.
    pub(super) fn linear_head(&self, classes: &Classes) -> LinearHead {
        LinearHead {
            classes: classes.names().to_vec(),
            weight: host_array(self.head.weight.val()),
            bias: host_array(self.head.bias.val()),
        }
    }
}
