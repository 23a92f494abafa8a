//! `msn eval robust`

use anyhow::{Context, ensure};
use msn_data::{Corruption, SEVERITIES};
use msn_eval::{RobustReport, robustness};
use serde::Serialize;

use super::labelling::{Drawing, LabelledSets, Labelling};
use crate::cli::{self, LabelledData};
use crate::features::{self, EncoderFacts, LabelledImages};
use crate::output;
use crate::report::{self, Table};

/// The results as JSON.
#[derive(Serialize)]
struct Results<'a> {
    #[serde(flatten)]
    encoder: EncoderFacts<'a>,
    #[serde(flatten)]
    labelled: &'a LabelledData,
    /// Of the draw of the labelled images.
    seed: u64,
    labelled_images: usize,
    /// Images that could not be read.
    skipped: usize,
    #[serde(flatten)]
    report: &'a RobustReport,
}

pub(crate) fn run(arguments: &cli::Robust) -> anyhow::Result<()> {
    output::check_json(arguments.json.as_deref(), &arguments.labelled.paths())?;
    let [train, test] = LabelledImages::open_both(&arguments.labelled)?;
    let extractor = features::extractor(&arguments.encoder, &*train.dataset)?;
    let drawing = Drawing { splits: 1, seed: arguments.seed, stop_short: false };
    let labelling = Labelling::draw(&[&extractor], &train, &[arguments.shots], drawing)?;
    let data = LabelledSets::new(&extractor, &train, &test, &labelling)?;
    let corrupted = |corruption: Corruption| -> anyhow::Result<msn_eval::Features> {
        let what = format!("{}, severity {}", corruption.kind.name(), corruption.severity);
        let rows =
            features::corrupted_rows(&extractor, &*test.dataset, &data.test_images, Some(corruption), &what)?;
        ensure!(
            rows.images == data.test_images,
            "{}: an image that could be read a moment ago no longer can: {}",
            arguments.labelled.test.display(),
            rows.skipped.first().context("an image without a row was skipped")?
        );
        Ok(rows.features)
    };
    let lambda = arguments.penalty.lambda();
    let report = robustness(&data.train, &data.test, lambda, &arguments.corruptions, corrupted)?;

    let severities = (1..=SEVERITIES).map(|severity| severity.to_string());
    let header = std::iter::once("top-1 %, severity:".to_owned()).chain(severities);
    let mut table = Table::new(header.chain(["mean error %".to_owned()]));
    for score in &report.corruptions {
        let cells = score.top1.iter().chain([&score.mean_error]).map(|value| format!("{value:.1}"));
        table.row(std::iter::once(score.name.clone()).chain(cells));
    }
    let text = format!(
        "{}\nmean corruption error {:.1} %; on the images as they are {:.1} % are wrong\n",
        table.text(),
        report.mean_corruption_error,
        100.0 - report.clean_top1
    );
    let results = Results {
        encoder: EncoderFacts::of(&extractor, &arguments.encoder),
        labelled: &arguments.labelled,
        seed: arguments.seed,
        labelled_images: data.train.labels().len(),
        skipped: data.skipped,
        report: &report,
    };
    report::show(&text, "robust", &arguments.encoder.checkpoint, arguments.json.as_deref(), &results)
}
