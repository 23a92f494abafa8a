//! A file for each command.

pub(crate) mod compare;
pub(crate) mod data;
pub(crate) mod demo;
pub(crate) mod embed;
pub(crate) mod export;
pub(crate) mod finetune;
pub(crate) mod import;
pub(crate) mod knn;
mod labelling;
pub(crate) mod linear;
pub(crate) mod lowshot;
pub(crate) mod predict;
pub(crate) mod pretrain;
pub(crate) mod report;
pub(crate) mod robust;
pub(crate) mod select;
pub(crate) mod selection;
pub(crate) mod settings;
pub(crate) mod synth;
