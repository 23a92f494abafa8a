//! Files to images to augmented views: datasets, decoding, augmentations, masks, the loader.
//!
//! ```text
//! open(PATH) -> Dataset --read--> encoded bytes --decode--> Image --Views--> normalised pixels
//!                                                                      \--> Loader: batches of views and masks
//!                                              Image --EvalTransform--> load_eval: pixels for features
//! ```
//!
//! Every random draw derives from (run seed, epoch, image, view), see [`rng`]; batches are the same bits for any
//! number of worker threads.

pub mod rng;

mod corrupt;
mod decode;
mod error;
mod eval;
mod image;
mod loader;
mod mask;
mod simd;
mod sources;
mod views;

pub use corrupt::{Corruption, CorruptionKind, SEVERITIES};
pub use decode::{Limits, decode, decode_into};
pub use error::{DecodeError, Error};
pub use eval::{EvalBatch, EvalConfig, EvalTransform, RandomCrops, check_image, load_crops, load_eval};
pub use image::Image;
pub use loader::{Batch, Cursor, Loader, LoaderConfig, Skipped, ViewBatch};
pub use mask::{MaskMode, Masking, kept_patches, random_mask};
pub use sources::{Access, Dataset, IMAGE_EXTENSIONS, Reading, open, open_with, read_file};
pub use views::color::{Adjustment, Jitter};
pub use views::crop::CropBox;
pub use views::normalize::Normalization;
pub use views::render::{Scratch, render};
pub use views::{ViewKind, ViewParams, Views};
