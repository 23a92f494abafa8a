//! The parts of the encoder, named as in the ViT and DeiT code so that weights keep their names.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::module::layer_norm;

use crate::init::Init;
use crate::{EncoderConfig, LAYER_NORM_EPS, Path, ops};

/// Deviation of the truncated normal that [CLS], positions and the projection head start from.
pub(crate) const INIT_STD: f64 = 0.02;

/// `y = x W^T + b`.
#[derive(Module, Debug)]
pub struct Linear {
    /// [out, in]
    pub weight: Param<Tensor<2>>,
    /// [out]
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// Weights from a truncated normal of deviation `std`, biases 0.
    pub(crate) fn new(inputs: usize, outputs: usize, std: f64, init: &mut Init<'_>) -> Self {
        let weight = init.truncated_normal([outputs, inputs], std);
        Self { weight, bias: init.constant([outputs], 0.0) }
    }

    /// x: [N, in] -> [N, out]
    pub fn forward(&self, x: Tensor<2>, path: Path) -> Tensor<2> {
        ops::linear(x, self.weight.val(), self.bias.val(), path)
    }

    /// The same with no gradient for the bias, for where batch norm cancels it.
    pub(crate) fn forward_with_frozen_bias(&self, x: Tensor<2>, path: Path) -> Tensor<2> {
        ops::linear(x, self.weight.val(), self.bias.val().detach(), path)
    }
}

/// Layer norm over the last dimension with epsilon [`LAYER_NORM_EPS`].
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// [D]
    pub weight: Param<Tensor<1>>,
    /// [D]
    pub bias: Param<Tensor<1>>,
}

impl LayerNorm {
    pub(crate) fn new(dim: usize, init: &Init<'_>) -> Self {
        Self { weight: init.constant([dim], 1.0), bias: init.constant([dim], 0.0) }
    }

    /// x: [N, D] -> [N, D]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        layer_norm(x, self.weight.val(), Some(self.bias.val()), LAYER_NORM_EPS)
    }

    /// The same with no gradient for the bias, for where batch norm cancels it.
    pub(crate) fn forward_with_frozen_bias(&self, x: Tensor<2>) -> Tensor<2> {
        layer_norm(x, self.weight.val(), Some(self.bias.val().detach()), LAYER_NORM_EPS)
    }
}

/// Weights of multi-head self-attention.
#[derive(Module, Debug)]
pub struct Attention {
    /// Queries, keys and values, stacked: [3 * D, D].
    pub qkv: Linear,
    /// [D, D]
    pub proj: Linear,
}

/// Weights of a block's MLP.
#[derive(Module, Debug)]
pub struct Mlp {
    /// [hidden, D]
    pub fc1: Linear,
    /// [D, hidden]
    pub fc2: Linear,
}

/// Weights of a pre-norm transformer block:
/// `x += proj(attention(qkv(norm1(x))))`, then `x += fc2(gelu(fc1(norm2(x))))`.
#[derive(Module, Debug)]
pub struct Block {
    /// Before the attention.
    pub norm1: LayerNorm,
    /// Multi-head self-attention.
    pub attn: Attention,
    /// Before the MLP.
    pub norm2: LayerNorm,
    /// The MLP with exact GELU.
    pub mlp: Mlp,
    /// Number of attention heads.
    #[module(skip)]
    pub heads: usize,
}

impl Block {
    pub(crate) fn new(config: &EncoderConfig, init: &mut Init<'_>) -> Self {
        let (dim, hidden) = (config.dim, config.dim * config.mlp_ratio);
        let mut linear = |inputs, outputs| Linear::new(inputs, outputs, config.init_std, init);
        let attn = Attention { qkv: linear(dim, 3 * dim), proj: linear(dim, dim) };
        let mlp = Mlp { fc1: linear(dim, hidden), fc2: linear(hidden, dim) };
        Self {
            norm1: LayerNorm::new(dim, init),
            attn,
            norm2: LayerNorm::new(dim, init),
            mlp,
            heads: config.heads,
        }
    }
}

/// The kernel that embeds patches, in the shape of a convolution with stride P.
#[derive(Module, Debug)]
pub struct Projection {
    /// [D, 3, P, P]
    pub weight: Param<Tensor<4>>,
    /// [D]
    pub bias: Param<Tensor<1>>,
}

/// Embeds patches.
#[derive(Module, Debug)]
pub struct PatchEmbed {
    /// The kernel.
    pub proj: Projection,
}

impl PatchEmbed {
    pub(crate) fn new(config: &EncoderConfig, init: &mut Init<'_>) -> Self {
        let side = config.patch_size;
        let weight = init.truncated_normal([config.dim, 3, side, side], config.patch_deviation());
        Self { proj: Projection { weight, bias: init.constant([config.dim], 0.0) } }
    }

    /// patches: [N, 3 * P * P] -> [N, D]
    pub fn forward(&self, patches: Tensor<2>, path: Path) -> Tensor<2> {
        ops::linear(patches, self.proj.weight.val().flatten(1, 3), self.proj.bias.val(), path)
    }
}

/// A [CLS] token or position embedding: [1, count, dim].
pub(crate) fn token(count: usize, dim: usize, init: &mut Init<'_>) -> Param<Tensor<3>> {
    init.truncated_normal([1, count, dim], INIT_STD)
}
