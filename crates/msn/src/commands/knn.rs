//! `msn eval knn`

use std::collections::BTreeMap;

use msn_eval::Knn;
use serde::Serialize;

use crate::cli::{self, LabelledData};
use crate::features::{self, EncoderFacts, LabelledImages};
use crate::output;
use crate::progress::say;
use crate::report::{self, Table};

/// The results as JSON.
#[derive(Serialize)]
struct Results<'a> {
    #[serde(flatten)]
    encoder: EncoderFacts<'a>,
    #[serde(flatten)]
    labelled: &'a LabelledData,
    temperature: f64,
    train_images: usize,
    test_images: usize,
    /// Images that could not be read.
    skipped: usize,
    /// Top-1 accuracy in percent by number of neighbours.
    k: BTreeMap<usize, f64>,
}

pub(crate) fn run(arguments: &cli::Knn) -> anyhow::Result<()> {
    output::check_json(arguments.json.as_deref(), &arguments.labelled.paths())?;
    let [train, test] = LabelledImages::open_both(&arguments.labelled)?;
    test.check_classes(&train.labels, &arguments.labelled.train)?;
    let extractor = features::extractor(&arguments.encoder, &*train.dataset)?;
    let train = train.all_features(&extractor, "features of the training images")?;
    // Without those that cannot be read.
    test.check_classes(train.labelled.labels(), &arguments.labelled.train)?;
    let test = test.all_features(&extractor, "features of the test images")?;
    let knn = Knn { k: arguments.k.clone(), temperature: arguments.temperature };
    let scores = knn.run(&train.labelled, &test.labelled)?;
    let images = train.labelled.labels().len();
    if let Some(k) = arguments.k.iter().find(|&&k| k > images) {
        say(&format!("{k} neighbours: there are {images} training images, all of which vote"));
    }
    let mut table = Table::new(["neighbours", "top-1 %"]);
    for score in &scores {
        table.row([score.k.to_string(), format!("{:.1}", score.top1)]);
    }
    let results = Results {
        encoder: EncoderFacts::of(&extractor, &arguments.encoder),
        labelled: &arguments.labelled,
        temperature: arguments.temperature,
        train_images: images,
        test_images: test.labelled.labels().len(),
        skipped: train.skipped.len() + test.skipped.len(),
        k: scores.iter().map(|score| (score.k, score.top1)).collect(),
    };
    report::show(&table.text(), "knn", &arguments.encoder.checkpoint, arguments.json.as_deref(), &results)
}
