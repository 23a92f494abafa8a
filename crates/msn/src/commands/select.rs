//! `msn select`

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::ensure;
use msn_data::Dataset;
use msn_eval::FeatureRows;
use msn_store::export::write_csv;

use super::pretrain::quoted;
use crate::cli::Select;
use crate::features;
use crate::labels::LabelFile;
use crate::output;
use crate::progress::{counted, say, warn};

/// Of the file that is written: what `msn predict --labels` reads once the labels are filled in.
const COLUMNS: [&str; 2] = ["path", "label"];

/// Fails where more images are to be chosen than there are, besides those that are `labelled`: at once, not after the features
/// of all of them.
pub(super) fn check_budget(
    option: &str,
    budget: usize,
    dataset: &dyn Dataset,
    labelled: usize,
) -> anyhow::Result<()> {
    let (free, path) = (dataset.len() - labelled, dataset.path().display());
    let which = if labelled == 0 { "images" } else { "images without a label" };
    ensure!(budget <= free, "{option}: expected at most {free}, the {which} in {path}, found {budget}");
    Ok(())
}

pub(crate) fn run(arguments: &Select) -> anyhow::Result<()> {
    let Select { data, out, labels, budget, .. } = arguments;
    let inputs: Vec<&Path> = labels.as_deref().into_iter().chain([&**data]).collect();
    output::check_new(out, &inputs)?;
    let dataset = msn_data::open(data)?;
    let known = labels.as_ref().map(|path| LabelFile::open(path, data, dataset.clone())).transpose()?;
    let labelled: BTreeSet<usize> =
        known.iter().flat_map(LabelFile::labelled).filter_map(|(.., image)| image).collect();
    check_budget("--budget", *budget, &*dataset, labelled.len())?;
    let extractor = features::extractor(&arguments.encoder, &*dataset)?;
    let indices: Vec<usize> = (0..dataset.len()).collect();
    let rows = features::rows(&extractor, &*dataset, &indices, "features")?;
    let labelled: BTreeSet<usize> = known.iter().flat_map(|known| rows_of(known, &rows)).collect();
    let chosen = msn_eval::select(&rows.features, &labelled, *budget, arguments.seed)?;
    let before = known.iter().flat_map(LabelFile::labelled).map(|(name, label, image)| {
        // By the name that any place of the new file understands, where there is one.
        [image.map_or(name, |image| dataset.name(image)), label]
    });
    let lines = before.chain(chosen.iter().map(|&row| [dataset.name(rows.images[row]), ""]));
    write_csv(out, &COLUMNS, lines)?;
    let after = known.map_or(String::new(), |known| format!(" after the {} labelled ones", known.len()));
    say(&format!(
        "{} of {} in {}{after}, those of the largest clusters first; fill in the column `label`, then:\n  \
         msn predict --checkpoint {} --labels {} --images {} --out PREDICTED.csv",
        counted(chosen.len(), "image"),
        rows.images.len(),
        out.display(),
        quoted(Path::new(&arguments.encoder.checkpoint)),
        quoted(out),
        quoted(data)
    ));
    Ok(())
}

/// The rows of the labelled images; says how many have none.
fn rows_of(labels: &LabelFile, rows: &FeatureRows) -> Vec<usize> {
    let images = labels.labelled().map(|(.., image)| image);
    let found: Vec<usize> = images.filter_map(|image| rows.images.binary_search(&image?).ok()).collect();
    let others = labels.len() - found.len();
    if others > 0 {
        warn(&format!(
            "{} of {} are not among the images that can be read of --data: what is like them may be chosen",
            counted(others, "labelled image"),
            labels.len()
        ));
    }
    found
}
