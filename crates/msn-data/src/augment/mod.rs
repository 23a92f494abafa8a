//! Augmentations of supervised training, as far as views have none of them: of single images ([`RandAugment`],
//! [`RandomErasing`]) and of batches ([`Mixing`]).
//!
//! They are those of BEiT's fine-tuning (Bao et al., "BEiT: BERT pre-training of image transformers", 2022), whose
//! settings are the defaults.

mod affine;
mod erasing;
mod levels;
mod mixing;
mod operation;
#[cfg(test)]
mod parity;
mod rand_augment;
mod sharpness;

pub use erasing::RandomErasing;
pub use mixing::{Mix, Mixing};
pub use rand_augment::RandAugment;
