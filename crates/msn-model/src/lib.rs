//! The vision transformer of Masked Siamese Networks, its projection head and its prototypes.
//!
//! All views of a step go through the encoder together: their tokens are packed as the rows of one matrix,
//! sequence after sequence, without padding ([`Segments`]). Patches that a mask drops are never embedded.

#![warn(missing_docs)]

mod config;
mod device;
mod encoder;
mod error;
mod export;
mod foreign;
mod head;
mod init;
mod layers;
mod ops;
mod positions;
mod prototypes;
mod seeds;
mod segments;
mod state;
mod stochastic_depth;
mod variants;
mod view;

pub use config::{EncoderConfig, HeadConfig};
pub use device::{device_named, is_cpu, join, on_worker};
pub use encoder::{Encoder, Features};
pub use error::Error;
pub use export::{LinearHead, named, onnx};
pub use foreign::{ForeignEncoder, Naming, encoder_tensors, find_encoder};
pub use head::{BatchNorm, HEAD_PREFIX, ProjectionHead};
pub use layers::{Attention, Block, LayerNorm, Linear, Mlp, PatchEmbed, Projection};
pub use msn_kernels::{
    IsaError, LineAligned, Precision, bf16_is_fast, give_back, keep_freed_memory, selected_isa,
};
/// Parameters and running statistics by name, such as `blocks.0.attn.qkv.weight`.
pub use msn_store::{Array, StateDict};
pub use ops::Path;
pub use positions::{bicubic_matrix, focal_positions};
pub use prototypes::Prototypes;
pub use seeds::{encoder_seed, prototypes_seed};
pub use segments::Segments;
pub use state::{for_each_tensor, host, host_array, load_state, state_dict, take_tensor};
pub use stochastic_depth::StochasticDepth;
pub use variants::{VARIANTS, Variant};
pub use view::View;

/// Epsilon of every layer norm of the encoder, as ViT and DeiT use.
pub const LAYER_NORM_EPS: f64 = 1e-6;
