//! A file for each command.

pub(crate) mod demo;
pub(crate) mod embed;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod knn;
pub(crate) mod lowshot;
pub(crate) mod predict;
pub(crate) mod pretrain;
pub(crate) mod synth;
