//! The crate as its users see it: sources, decoding, batches, images for features.

#![allow(clippy::disallowed_methods, reason = "tests write the files that are read")]

mod common;
mod decoding;
mod features;
mod loading;
mod real_data;
mod sources;
