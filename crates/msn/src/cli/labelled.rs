//! Arguments that all commands on labelled images share.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

/// Labelled images to learn from, and others to test on.
#[derive(Args, Serialize)]
pub(crate) struct LabelledData {
    /// Labelled images to learn from: in folders named after their classes, PATH/CLASS/NAME.jpg, or a .csv of path,label. The
    /// class of an image is the folder that holds it, however deep that lies.
    #[arg(long, value_name = "PATH")]
    pub(crate) train: PathBuf,

    /// Labelled images to classify.
    #[arg(long, value_name = "PATH")]
    pub(crate) test: PathBuf,

    /// Images that a .csv of --train or --test labels, where its paths are not relative to its own folder: the --data of
    /// `msn select`.
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) images: Option<PathBuf>,
}

impl LabelledData {
    /// What a command reads of it.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        [Some(&*self.train), Some(&*self.test), self.images.as_deref()].into_iter().flatten().collect()
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
