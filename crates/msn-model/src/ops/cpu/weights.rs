//! A block's parameters as slices, and their gradients.

use crate::Block;
use burn::tensor::Tensor;
use msn_kernels::{give_back, zeros};

/// Number of parameters of a block.
pub(super) const COUNT: usize = 12;

/// The parameters in the order in which this module hands them around.
pub(super) fn parameters(block: &Block) -> ([Tensor<1>; 8], [Tensor<2>; 4]) {
    let Block { norm1, attn, norm2, mlp, .. } = block;
    let vectors = [&norm1.weight, &norm1.bias, &attn.qkv.bias, &attn.proj.bias, &norm2.weight, &norm2.bias];
    let [a, b, c, d, e, f] = vectors.map(|vector| vector.val());
    let matrices = [&attn.qkv.weight, &attn.proj.weight, &mlp.fc1.weight, &mlp.fc2.weight];
    ([a, b, c, d, e, f, mlp.fc1.bias.val(), mlp.fc2.bias.val()], matrices.map(|matrix| matrix.val()))
}

/// The parameters' values, each row-major: vectors first, then matrices.
pub(super) struct Weights<'a> {
    pub(super) norm1: (&'a [f32], &'a [f32]),
    pub(super) qkv_bias: &'a [f32],
    pub(super) proj_bias: &'a [f32],
    pub(super) norm2: (&'a [f32], &'a [f32]),
    pub(super) fc1_bias: &'a [f32],
    pub(super) fc2_bias: &'a [f32],
    pub(super) qkv: &'a [f32],
    pub(super) proj: &'a [f32],
    pub(super) fc1: &'a [f32],
    pub(super) fc2: &'a [f32],
}

impl<'a> Weights<'a> {
    pub(super) fn new(slices: [&'a [f32]; COUNT]) -> Self {
        let [norm1w, norm1b, qkv_bias, proj_bias, norm2w, norm2b, fc1_bias, fc2_bias, qkv, proj, fc1, fc2] =
            slices;
        Self {
            norm1: (norm1w, norm1b),
            qkv_bias,
            proj_bias,
            norm2: (norm2w, norm2b),
            fc1_bias,
            fc2_bias,
            qkv,
            proj,
            fc1,
            fc2,
        }
    }

    /// The weights of queries, keys and values: [D, D] each.
    pub(super) fn qkv_parts(&self, dim: usize) -> [&'a [f32]; 3] {
        std::array::from_fn(|part| &self.qkv[part * dim * dim..][..dim * dim])
    }
}

/// Gradients of the parameters in the same order, zero at first.
pub(super) struct WeightGradients(pub(super) [Vec<f32>; COUNT]);

impl WeightGradients {
    pub(super) fn zeros(dim: usize, hidden: usize) -> Self {
        let lengths = [
            dim,
            dim,
            3 * dim,
            dim,
            dim,
            dim,
            hidden,
            dim,
            3 * dim * dim,
            dim * dim,
            hidden * dim,
            dim * hidden,
        ];
        // They take the place of activations that the backward pass has done with, so that both are never there in full.
        give_back(lengths.iter().sum::<usize>() * size_of::<f32>());
        Self(lengths.map(zeros))
    }
}
