//! `msn eval report`

use anyhow::Context;
use msn_eval::{
    Amount, BudgetCurve, ClassificationReport, LowShot, ShotScore, budgets, classification_report,
    curve_picture,
};
use msn_store::RunDir;
use serde::Serialize;

use super::labelling::{Drawing, LabelledSets, Labelling};
use super::lowshot::{self, Percent};
use crate::cli::{self, LabelledData};
use crate::features::{self, EncoderFacts, LabelledImages};
use crate::output;
use crate::progress::{say, warn};
use crate::report::{self, Table};

/// Labelled images in all up to which a curve goes by itself: a regression on more takes minutes and GiBs.
const MOST_LABELLED: usize = 100_000;
/// Classes up to which the matrix of confusions is printed, and rows that are printed of longer lists.
const FEW_CLASSES: usize = 12;
const MOST_ROWS: usize = 20;

/// The results as JSON.
#[derive(Serialize)]
struct Results<'a> {
    #[serde(flatten)]
    encoder: EncoderFacts<'a>,
    #[serde(flatten)]
    labelled: &'a LabelledData,
    /// Of the draw of the labelled images.
    seed: u64,
    /// Images that could not be read.
    skipped: usize,
    /// Of the classifier that is reported on.
    labelled_images: usize,
    lambda: f64,
    #[serde(flatten)]
    report: &'a ClassificationReport,
    curve: &'a BudgetCurve,
}

pub(crate) fn run(arguments: &cli::Report) -> anyhow::Result<()> {
    let inputs = arguments.labelled.paths();
    output::check_json(arguments.json.as_deref(), &inputs)?;
    if let Some(picture) = &arguments.picture {
        output::check_svg(picture, &inputs)?;
    }
    let [train, test] = LabelledImages::open_both(&arguments.labelled)?;
    let extractor = features::extractor(&arguments.encoder, &*train.dataset)?;
    let amounts = if arguments.shots.is_empty() { affordable(&train) } else { arguments.shots.clone() };
    let drawing = Drawing {
        splits: arguments.draws.splits,
        seed: arguments.draws.seed,
        stop_short: arguments.shots.is_empty(),
    };
    let labelling = Labelling::draw(&[&extractor], &train, &amounts, drawing)?;
    let data = LabelledSets::new(&extractor, &train, &test, &labelling)?;

    let lambda = arguments.penalty.lambda();
    let protocol = LowShot { lambda, ..LowShot::default() };
    let scores = protocol.run_splits(&data.train, &data.test, &data.sets)?.scores;
    lowshot::warn_unfinished(&scores);
    let curve = BudgetCurve::of(&arguments.encoder.checkpoint, &scores);
    let largest = data.sets.iter().map(|set| &set.splits[0]).max_by_key(|split| split.len());
    let labelled = data.train.select(largest.context("--shots: expected at least one number, found none")?);
    let (quality, lambda) = classification_report(&labelled, &data.test, lambda)?;

    let text = text(&quality, &scores, labelled.labels().len(), &lambda.to_string());
    let chance = 100.0 / quality.classes.len() as f64;
    let picture = write_picture(arguments, &curve_picture(std::slice::from_ref(&curve), chance));
    let results = Results {
        encoder: EncoderFacts::of(&extractor, &arguments.encoder),
        labelled: &arguments.labelled,
        seed: arguments.draws.seed,
        skipped: data.skipped,
        labelled_images: labelled.labels().len(),
        lambda,
        report: &quality,
        curve: &curve,
    };
    report::show(&text, "report", &arguments.encoder.checkpoint, arguments.json.as_deref(), &results)?;
    picture
}

/// The budgets of a curve up to the smallest class.
fn affordable(train: &LabelledImages) -> Vec<Amount> {
    let classes = train.classes();
    let mut images = std::collections::BTreeMap::<&String, usize>::new();
    train.labels.iter().for_each(|label| *images.entry(label).or_default() += 1);
    let smallest = images.values().copied().min().unwrap_or(1);
    let most = (MOST_LABELLED / classes.len()).max(1);
    if most < smallest {
        say(&format!(
            "the curve ends at {most} images a class, {MOST_LABELLED} in all; --shots goes further"
        ));
    }
    budgets(smallest.min(most))
}

fn write_picture(arguments: &cli::Report, svg: &str) -> anyhow::Result<()> {
    let written = match (&arguments.picture, features::run_of(&arguments.encoder.checkpoint)) {
        (Some(path), _) => {
            msn_store::atomic::write(path, svg.as_bytes())?;
            path.clone()
        }
        (None, Some((run, suffix))) => {
            let name = format!("report{suffix}.svg");
            match RunDir::open(&run).and_then(|run| run.write_evaluation_file(&name, svg.as_bytes())) {
                Ok(path) => path,
                Err(error) => {
                    warn(&format!("no picture: {error}; choose a file with --picture"));
                    return Ok(());
                }
            }
        }
        (None, None) => {
            say("the curve as a picture: with --picture FILE.svg, since there is no run folder to write to");
            return Ok(());
        }
    };
    say(&format!("the curve as a picture: {}", written.display()));
    Ok(())
}

fn text(report: &ClassificationReport, scores: &[ShotScore], labelled: usize, lambda: &str) -> String {
    let mut summary = Table::new(["classifier on all labels of the largest budget", ""]);
    summary.row(["labelled images", &labelled.to_string()]);
    summary.row(["lambda", lambda]);
    summary.row(["test images", &report.images.to_string()]);
    for (name, value) in [
        ("top-1 %", report.top1),
        ("top-5 %", report.top5),
        ("mean accuracy of the classes %", report.mean_class_accuracy),
        ("expected calibration error %", report.ece),
    ] {
        summary.row([name, &format!("{value:.1}")]);
    }
    summary.row(["cross-entropy, nats", &format!("{:.3}", report.cross_entropy)]);

    let mut budget = Table::new(["labelled images a class", "top-1 %"]);
    for score in scores {
        budget.row([score.amount().to_string(), Percent::of(score).to_string()]);
    }
    [summary.text(), budget.text(), class_text(report), confusion_text(report)].join("\n")
}

/// The classes, worst first.
fn class_text(report: &ClassificationReport) -> String {
    let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    let mut classes: Vec<_> = report.classes.iter().collect();
    classes
        .sort_by(|a, b| a.accuracy.unwrap_or(f64::INFINITY).total_cmp(&b.accuracy.unwrap_or(f64::INFINITY)));
    let header = if classes.len() > MOST_ROWS { "class (worst first)" } else { "class" };
    let mut table = Table::new([header, "test images", "right %", "called so", "of these right %"]);
    for class in classes.iter().take(MOST_ROWS) {
        table.row([
            class.class.clone(),
            class.images.to_string(),
            shown(class.accuracy),
            class.predicted.to_string(),
            shown(class.precision),
        ]);
    }
    let left = classes.len().saturating_sub(MOST_ROWS);
    let rest = if left > 0 { format!("and {left} more, in the JSON\n") } else { String::new() };
    table.text() + &rest
}

/// The whole matrix for few classes, the most frequent confusions for many.
fn confusion_text(report: &ClassificationReport) -> String {
    let names = || report.classes.iter().map(|class| class.class.as_str());
    let images = |class: &str, predicted: &str| {
        let mut pairs = report.confusion.iter();
        let pair = pairs.find(|pair| pair.class == class && pair.predicted == predicted);
        pair.map_or(0, |pair| pair.images).to_string()
    };
    if report.classes.len() <= FEW_CLASSES {
        let mut table = Table::new(std::iter::once("is \\ called").chain(names()));
        for class in names() {
            let row = names().map(|predicted| images(class, predicted));
            table.row(std::iter::once(class.to_owned()).chain(row));
        }
        return table.text();
    }
    let mut table = Table::new(["class", "called", "images"]);
    for pair in report.mistakes(MOST_ROWS) {
        table.row([pair.class.clone(), pair.predicted.clone(), pair.images.to_string()]);
    }
    table.text()
}
