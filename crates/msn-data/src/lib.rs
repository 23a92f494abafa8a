//! Files to images to augmented views: datasets, decoding, augmentations, masks, the loader.
//!
//! ```text
//! open(PATH) -> Dataset --read--> encoded bytes --decode--> Image --Views--> normalised pixels
//!                                                                      \--> Loader: batches of views and masks
//!                                              Image --EvalTransform--> load_eval: pixels for features
//!                                              Image --RandomCrops--> load_crops: augmented pixels to train on
//! ```
//!
//! For people: [`inspect`] looks at all images of a source, [`contact_sheet`] and [`picture_of_views`] draw them, and [`pack`]
//! writes them into tar shards.
//!
//! Every random draw has a key of its own, such as (run seed, epoch, image, view), see [`rng`]; batches are the same bits for any
//! number of worker threads.

pub mod rng;

mod augment;
mod corrupt;
mod decode;
mod error;
mod eval;
mod image;
mod inspect;
mod loader;
mod mask;
mod pack;
mod picture;
mod simd;
mod sources;
mod views;

pub use augment::{Mix, Mixing, RandAugment, RandomErasing};
pub use corrupt::{Corruption, CorruptionKind, SEVERITIES};
pub use decode::{FULL_RANGE, Format, Limits, decode, decode_into};
pub use error::{DecodeError, Error};
pub use eval::{
    EvalBatch, EvalConfig, EvalTransform, RandomCrops, Recalled, check_image, load_crops, load_eval,
    load_unknown, look_at,
};
pub use image::Image;
pub use inspect::{InspectConfig, Inspection, Spread, inspect};
pub use loader::{Batch, BatchViews, Cursor, Loader, LoaderConfig, Reported, Skipped, ViewBatch, preview};
pub use mask::{MaskMode, Masking, kept_patches, random_mask};
pub use pack::{PackConfig, PackRecord, ShardRecord, ShardSize, pack};
pub use picture::{contact_sheet, encode_picture, is_picture, picture_of_views};
pub use sources::{
    Access, Dataset, IMAGE_EXTENSIONS, LabelRow, LabelRows, Reading, fingerprint, open, open_with, read_file,
};
pub use views::color::{Adjustment, Jitter};
pub use views::crop::CropBox;
pub use views::normalize::Normalization;
pub use views::orientation::Orientation;
pub use views::render::{Scratch, render};
pub use views::{ViewKind, ViewParams, Views};
