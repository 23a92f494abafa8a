//! `msn eval linear`

use msn_eval::{LinearProbe, LinearReport};
use serde::Serialize;

use crate::cli::{EncoderChoice, FeatureChoice, LabelledData, Linear};
use crate::features::{self, EncoderFacts, LabelledImages};
use crate::output;
use crate::progress::{ImageProgress, warn};
use crate::report::{self, Table};

/// The results as JSON.
#[derive(Serialize)]
struct Results<'a> {
    #[serde(flatten)]
    encoder: EncoderFacts<'a>,
    #[serde(flatten)]
    labelled: &'a LabelledData,
    blocks: usize,
    patch_mean: bool,
    epochs: u64,
    batch_size: usize,
    flip: f64,
    rotation: f64,
    seed: u64,
    /// Images that could not be read.
    skipped: usize,
    #[serde(flatten)]
    report: &'a LinearReport,
}

pub(crate) fn run(arguments: &Linear) -> anyhow::Result<()> {
    output::check_json(arguments.json.as_deref(), &arguments.labelled.paths())?;
    let [train, test] = LabelledImages::open_both(&arguments.labelled)?;
    test.check_classes(&train.labels, &arguments.labelled.train)?;
    let encoder = EncoderChoice {
        checkpoint: arguments.checkpoint.clone(),
        heads: arguments.heads,
        // A probe reads the blocks themselves.
        features: Some(FeatureChoice::BeforeNorm),
        precision: arguments.precision,
        // None are kept: it trains on other crops in each epoch.
        fresh_features: true,
        range: arguments.range,
        device: arguments.device.clone(),
    };
    let extractor = features::extractor(&encoder, &*train.dataset)?;
    let probe = LinearProbe {
        blocks: arguments.blocks,
        patch_mean: arguments.patch_mean,
        epochs: arguments.epochs,
        batch_size: arguments.batch_size,
        rates: arguments.rates.clone(),
        flip: arguments.flip,
        rotation: arguments.rotation,
        seed: arguments.seed,
        ..LinearProbe::default()
    };
    let mut bar = None;
    let (report, skipped) = probe.run(
        &extractor,
        (&*train.dataset, &train.labels),
        (&*test.dataset, &test.labels),
        |done, total| bar.get_or_insert_with(|| ImageProgress::new("linear probe", total)).set(done),
    )?;
    drop(bar);
    for skipped in &skipped {
        warn(&format!("left out {skipped}"));
    }
    let mut table = Table::new(["learning rate", "held-out top-1 %", "test top-1 %", ""]);
    for score in &report.rates {
        let chosen = if score.rate == report.chosen_rate { "chosen" } else { "" };
        let percent = |value: f64| format!("{value:.1}");
        table.row([
            score.rate.to_string(),
            percent(score.held_out_top1),
            percent(score.test_top1),
            chosen.into(),
        ]);
    }
    let results = Results {
        encoder: EncoderFacts::of(&extractor, &encoder),
        labelled: &arguments.labelled,
        blocks: arguments.blocks,
        patch_mean: arguments.patch_mean,
        epochs: arguments.epochs,
        batch_size: arguments.batch_size,
        flip: arguments.flip,
        rotation: arguments.rotation,
        seed: arguments.seed,
        skipped: skipped.len(),
        report: &report,
    };
    report::show(&table.text(), "linear", &arguments.checkpoint, arguments.json.as_deref(), &results)
}
