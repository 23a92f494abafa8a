//! The crate as its users see it: sources, decoding, batches, images for features.

#![allow(clippy::disallowed_methods, reason = "tests write the files that are read")]

mod augment;
mod binary;
mod common;
mod corruptions;
mod decoding;
mod features;
mod hostile;
mod inspect;
mod large_folders;
#[cfg(feature = "remote")]
mod link;
mod loading;
mod pack;
mod real_data;
#[cfg(feature = "remote")]
mod remote;
mod shards;
mod sources;
mod streams;
mod tables;
mod views;
