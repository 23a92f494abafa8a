//! Evaluation against reference values, naive twins and what can be worked out by hand.

#![allow(clippy::disallowed_methods, reason = "tests write the files that are read")]

mod common;
mod crossval;
mod extract;
mod features;
mod finetune;
mod golden_interop;
mod kept;
mod knn;
mod linear;
mod logistic;
mod lowshot;
mod report;
mod robust;
mod select;
mod splits;
