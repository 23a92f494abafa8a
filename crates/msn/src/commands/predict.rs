//! `msn predict`

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use msn_data::Dataset;
use msn_eval::{FeatureRows, Labelled};
use msn_store::export::write_csv;

use crate::cli::Predict;
use crate::features;
use crate::labels::LabelFile;
use crate::output;
use crate::progress::{counted, say, warn};

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
    let rows = |dataset: &dyn Dataset, what| {
        let indices: Vec<usize> = (0..dataset.len()).collect();
        features::rows(&extractor, dataset, &indices, what)
    };
    let labelled = rows(&few, "features of the labelled images")?;
    warn_of_lost_classes(&few, &labelled);
    let labels = labelled.images.iter().map(|&image| few.class(image).to_owned()).collect();
    let labelled = Labelled::new(labelled.features, labels)?;
    let first = &labelled.labels()[0];
    ensure!(
        labelled.labels().iter().any(|label| label != first),
        "{}: expected at least two different labels of images that can be read, found only `{first}`",
        arguments.labels.display()
    );
    let found = rows(&*images, "features of the images")?;
    let predictions = msn_eval::predict(&labelled, &found.features, arguments.lambda.unwrap_or_default())?;
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

/// Warns of classes of whose labelled images not one can be read.
fn warn_of_lost_classes(few: &LabelFile, rows: &FeatureRows) {
    let known: BTreeSet<&str> = rows.images.iter().map(|&image| few.class(image)).collect();
    let mut lost: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for skipped in &rows.skipped {
        let class = few.class(skipped.image);
        if !known.contains(class) {
            lost.entry(class).or_default().push(skipped.to_string());
        }
    }
    for (class, images) in lost {
        let images = images.join("; ");
        warn(&format!(
            "no image is predicted to be `{class}`, since none of its labelled images can be read: {images}"
        ));
    }
}
