//! The crate as its users see it: sources, decoding, batches, images for features.

mod common;
mod decoding;
mod features;
mod loading;
mod real_data;
mod sources;
