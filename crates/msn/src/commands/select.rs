//! `msn select`

use std::path::Path;

use anyhow::ensure;
use msn_data::Dataset;
use msn_store::export::write_csv;

use super::pretrain::quoted;
use crate::cli::Select;
use crate::features;
use crate::output;
use crate::progress::{counted, say};

/// Of the file that is written: what `msn predict --labels` reads once the labels are filled in.
const COLUMNS: [&str; 2] = ["path", "label"];

/// Fails where more images are to be chosen than there are: at once, not after the features of all of them.
pub(super) fn check_budget(option: &str, budget: usize, dataset: &dyn Dataset) -> anyhow::Result<()> {
    let (images, path) = (dataset.len(), dataset.path().display());
    ensure!(budget <= images, "{option}: expected at most {images}, the images in {path}, found {budget}");
    Ok(())
}

pub(crate) fn run(arguments: &Select) -> anyhow::Result<()> {
    let out = &arguments.out;
    ensure!(
        !out.exists(),
        "{}: expected a new file, found one, which may have labels that somebody filled in; choose another name",
        out.display()
    );
    output::check(out, &[&arguments.data], |_| false)?;
    let dataset = msn_data::open(&arguments.data)?;
    check_budget("--budget", arguments.budget, &*dataset)?;
    let extractor = features::extractor(&arguments.encoder, &*dataset)?;
    let indices: Vec<usize> = (0..dataset.len()).collect();
    let rows = features::rows(&extractor, &*dataset, &indices, "features")?;
    let chosen = msn_eval::select(&rows.features, arguments.budget, arguments.seed)?;
    let lines = chosen.iter().map(|&row| [dataset.name(rows.images[row]), ""]);
    write_csv(out, &COLUMNS, lines)?;
    say(&format!(
        "{} of {} in {}, those of the largest clusters first; fill in the column `label`, then:\n  \
         msn predict --checkpoint {} --labels {} --images {} --out PREDICTED.csv",
        counted(chosen.len(), "image"),
        rows.images.len(),
        out.display(),
        quoted(Path::new(&arguments.encoder.checkpoint)),
        quoted(out),
        quoted(&arguments.data)
    ));
    Ok(())
}
