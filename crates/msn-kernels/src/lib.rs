//! CPU kernels for masked vision transformers: slices in, slices out.
//!
//! Each operation takes the best path that the processor has; [`Isa`] lists them, the environment
//! variable `MSN_ISA` forces one. Work runs on the current rayon pool, and the bits of every result are
//! the same with any number of threads.
//!
//! Lengths are checked on entry: a slice that does not fit its shape is a panic that names it.
//!
//! A function that takes either type of element hands over to one without type parameters at once. Otherwise every crate
//! that calls it would compile the kernels of all instruction sets again, for minutes.
#![allow(unsafe_code, reason = "the one crate that may; every block states its proof")]
#![cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "only its processors multiply words of two bf16, or of two 16-bit integers")
)]

pub mod gemm;
pub mod resize;

mod adamw;
mod attention;
mod batch_norm;
mod bf16;
mod element;
mod gelu;
mod isa;
mod layer_norm;
mod memory;
mod parallel;
mod scratch;
mod shape;
mod simd;
mod softmax;

pub use adamw::{AdamW, Ema, sum_of_squares};
pub use attention::Attention;
pub use batch_norm::BatchNorm;
pub use bf16::Bf16;
pub use element::{Output, Source};
pub use gelu::{gelu, gelu_backward};
pub use gemm::{Dims, Precision};
pub use isa::{Isa, IsaError, bf16_is_fast, selected_isa, with_isa};
pub use layer_norm::{layer_norm, layer_norm_backward};
pub use memory::{LineAligned, Number, Recycled, give_back, keep_freed_memory, zeros};
pub use parallel::{join, join_all, on_worker};
pub use softmax::softmax_rows;
