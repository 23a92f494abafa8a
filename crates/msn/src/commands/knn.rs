//! `msn eval knn`

use std::collections::BTreeMap;

use msn_eval::Knn;
use serde::Serialize;

use crate::cli;
use crate::features::{self, LabelledImages};
use crate::report::{self, Table};

/// What `--json` writes.
#[derive(Serialize)]
struct Results<'a> {
    checkpoint: &'a str,
    temperature: f64,
    train_images: usize,
    test_images: usize,
    /// Images that could not be read.
    skipped: usize,
    /// Top-1 accuracy in percent by number of neighbours.
    k: BTreeMap<usize, f64>,
}

pub(crate) fn run(arguments: &cli::Knn) -> anyhow::Result<()> {
    let extractor = features::extractor(&arguments.encoder)?;
    let train = LabelledImages::open(&arguments.train)?;
    let test = LabelledImages::open(&arguments.test)?;
    let train = train.all_features(&extractor, "features of the training images")?;
    let test = test.all_features(&extractor, "features of the test images")?;
    let knn = Knn { k: arguments.k.clone(), temperature: arguments.temperature };
    let scores = knn.run(&train.labelled, &test.labelled)?;
    let mut table = Table::new(["neighbours", "top-1 %"]);
    for score in &scores {
        table.row([score.k.to_string(), format!("{:.1}", score.top1)]);
    }
    let results = Results {
        checkpoint: &arguments.encoder.checkpoint,
        temperature: arguments.temperature,
        train_images: train.labelled.labels().len(),
        test_images: test.labelled.labels().len(),
        skipped: train.skipped + test.skipped,
        k: scores.iter().map(|score| (score.k, score.top1)).collect(),
    };
    report::show(&table, arguments.json.as_deref(), &results)
}
