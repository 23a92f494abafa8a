//! Arguments that all commands on labelled images share.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

/// Labelled images to learn from, and others to test on.
#[derive(Args, Serialize)]
pub(crate) struct LabelledData {
    /// Labelled images to learn from.
    #[arg(long, value_name = "PATH")]
    pub(crate) train: PathBuf,

    /// Labelled images to classify.
    #[arg(long, value_name = "PATH")]
    pub(crate) test: PathBuf,
}

impl LabelledData {
    /// What a command reads of it.
    pub(crate) fn paths(&self) -> [&Path; 2] {
        [&self.train, &self.test]
    }
}

/// How labelled images are drawn.
#[derive(Args)]
pub(crate) struct Draws {
    /// How often the labelled images are drawn.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) splits: u64,

    /// Seed of the draws.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
}
