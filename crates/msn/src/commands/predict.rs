//! `msn predict`

use msn_store::export::write_csv;

use crate::cli::Predict;
use crate::features;
use crate::labels::LabelFile;
use crate::output;
use crate::progress::{counted, say};

/// Of the file that is written.
const COLUMNS: [&str; 3] = ["path", "label", "probability"];

pub(crate) fn run(arguments: &Predict) -> anyhow::Result<()> {
    let header = format!("{}\n", COLUMNS.join(","));
    output::check(&arguments.out, &[&arguments.labels, &arguments.images], |start| {
        start.starts_with(header.as_bytes())
    })?;
    let images = msn_data::open(&arguments.images)?;
    let few = LabelFile::open(&arguments.labels, &arguments.images, images.clone())?;
    let extractor = features::extractor(&arguments.encoder, &*images)?;
    let labelled = few.features(&extractor)?;
    let indices: Vec<usize> = (0..images.len()).collect();
    let found = features::rows(&extractor, &*images, &indices, "features of the images")?;
    let predictions = msn_eval::predict(&labelled, &found.features, arguments.penalty.lambda())?;
    let lines = found.images.iter().zip(&predictions).map(|(&image, prediction)| {
        let name = images.name(image).to_owned();
        [name, prediction.label.clone(), format!("{:.4}", prediction.probability)]
    });
    write_csv(&arguments.out, &COLUMNS, lines)?;
    say(&format!(
        "labels of {}, predicted from {} labelled, in {}",
        counted(predictions.len(), "image"),
        labelled.labels().len(),
        arguments.out.display()
    ));
    if !found.skipped.is_empty() {
        say(&format!(
            "{} of {} images could not be read and are left out",
            found.skipped.len(),
            images.len()
        ));
    }
    Ok(())
}
