//! `msn compare`

use std::collections::BTreeMap;
use std::path::Path;

use msn_eval::{Amount, BudgetCurve, Extractor, ShotScore, curve_picture};
use serde::Serialize;

use super::labelling::Labelling;
use super::lowshot::{self, Percent};
use crate::cli::{Compare, EncoderChoice};
use crate::features::{self, LabelledImages, RAW_PIXELS, UNTRAINED};
use crate::output;
use crate::progress::say;
use crate::report::{self, Table};

/// The results as JSON.
#[derive(Serialize)]
struct Results<'a> {
    train: &'a Path,
    test: &'a Path,
    test_images: usize,
    /// In the order of the table.
    encoders: Vec<Row>,
}

/// The scores of one encoder.
#[derive(Serialize)]
struct Row {
    checkpoint: String,
    architecture: String,
    /// Columns of its features.
    dim: usize,
    /// Images that could not be read.
    skipped: usize,
    /// By amount of labelled images, as asked for: `5`, `1%`.
    amounts: BTreeMap<String, ShotScore>,
}

pub(crate) fn run(arguments: &Compare) -> anyhow::Result<()> {
    let inputs = [arguments.train.as_path(), &arguments.test];
    output::check_json(arguments.json.as_deref(), &inputs)?;
    if let Some(picture) = &arguments.picture {
        output::check_svg(picture, &inputs)?;
    }
    let train = LabelledImages::open(&arguments.train)?;
    let test = LabelledImages::open(&arguments.test)?;
    let names = encoders(arguments);
    // All are opened before the first is evaluated, so that a wrong name is found at once.
    let open = |name: &String| features::extractor(&choice(arguments, name), &*train.dataset);
    let extractors = names.iter().map(open).collect::<anyhow::Result<Vec<Extractor>>>()?;
    // Every encoder gets the same labelled images.
    let labelling =
        Labelling::draw(&extractors[0], &train, &arguments.shots, arguments.splits, arguments.seed)?;

    let shots = arguments.shots.iter().map(|amount| match amount {
        Amount::Shots(_) => format!("{amount} a class"),
        Amount::Percent(_) => amount.to_string(),
    });
    let header = ["top-1 %, labelled images:".to_owned(), "architecture".to_owned()];
    let mut table = Table::new(header.into_iter().chain(shots));
    let (mut rows, mut curves, mut test_images) = (Vec::new(), Vec::new(), 0);
    for (name, extractor) in names.iter().zip(extractors) {
        say(&format!("{name}:"));
        let architecture = extractor.architecture();
        let scores =
            lowshot::scores(&extractor, &train, &test, &labelling, arguments.lambda.unwrap_or_default())?;
        let cells = scores.amounts.iter().map(|score| Percent::of(score).to_string());
        table.row([name.clone(), architecture.clone()].into_iter().chain(cells));
        curves.push(BudgetCurve::of(name, &scores.amounts));
        test_images = scores.test_images;
        rows.push(Row {
            checkpoint: name.clone(),
            architecture,
            dim: extractor.dim(),
            skipped: scores.skipped,
            amounts: scores.amounts.into_iter().map(|score| (score.amount().to_string(), score)).collect(),
        });
    }
    if let Some(picture) = &arguments.picture {
        let chance = 100.0 / train.classes().len() as f64;
        msn_store::atomic::write(picture, curve_picture(&curves, chance).as_bytes())?;
        say(&format!("the curves as a picture: {}", picture.display()));
    }
    let results = Results { train: &arguments.train, test: &arguments.test, test_images, encoders: rows };
    report::show(&table.text(), "compare", &arguments.checkpoints[0], arguments.json.as_deref(), &results)
}

/// The encoders of the table: those that are named, after the baselines unless these are named as well or not wanted.
fn encoders(arguments: &Compare) -> Vec<String> {
    let named = &arguments.checkpoints;
    let is_learned = |name: &&String| !name.starts_with(UNTRAINED) && features::run_of(name).is_some();
    let untrained = named.iter().find(is_learned).map(|name| format!("{UNTRAINED}{name}"));
    let baselines = [RAW_PIXELS.to_owned()].into_iter().chain(untrained);
    let missing = baselines.filter(|name| !arguments.only && !named.contains(name));
    missing.chain(named.iter().cloned()).collect()
}

fn choice(arguments: &Compare, checkpoint: &str) -> EncoderChoice {
    EncoderChoice {
        checkpoint: checkpoint.to_owned(),
        features: arguments.features,
        device: arguments.device.clone(),
    }
}
