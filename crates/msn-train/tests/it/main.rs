//! Training against reference values, whole small trainings, and the configurations that come with the program.

#![allow(clippy::disallowed_methods, reason = "tests write files to see what the program makes of them")]

mod common;
mod configs;
mod golden_train;
mod looping;
mod pretraining;
mod starting;
mod tiny;
mod trainer;
