//! `msn eval lowshot`

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::Context;
use msn_eval::{Classes, Extractor, LowShot, ShotScore, SplitFile};
use serde::Serialize;

use crate::cli::Lowshot;
use crate::features::{self, LabelledImages};
use crate::progress::warn;
use crate::report::{self, Table};

/// What `--json` writes.
#[derive(Serialize)]
struct Results<'a> {
    checkpoint: &'a str,
    test_images: usize,
    /// Images that could not be read.
    skipped: usize,
    /// By number of labelled images a class.
    shots: &'a BTreeMap<usize, ShotScore>,
}

/// The training images of every split of one number of shots: what is labelled.
pub(crate) type Splits = Vec<Vec<usize>>;

/// Scores of an encoder.
pub(crate) struct Scores {
    /// By number of labelled images a class.
    pub(crate) shots: BTreeMap<usize, ShotScore>,
    test_images: usize,
    skipped: usize,
}

pub(crate) fn run(arguments: &Lowshot) -> anyhow::Result<()> {
    let extractor = features::extractor(&arguments.encoder)?;
    let train = LabelledImages::open(&arguments.train)?;
    let test = LabelledImages::open(&arguments.test)?;
    let draws = if arguments.split_file.is_empty() {
        draw(&train, &arguments.shots, arguments.splits, arguments.seed)?
    } else {
        vec![read_splits(&train, arguments)?]
    };
    let scores = scores(&extractor, &train, &test, &draws, arguments.lambda)?;
    let mut table = Table::new(["labelled images a class", "lambda", "top-1 %", "splits"]);
    for (shots, score) in &scores.shots {
        let cells =
            [score.lambda.to_string(), Percent::of(score).to_string(), score.splits.len().to_string()];
        table.row([shots.to_string()].into_iter().chain(cells));
    }
    let results = Results {
        checkpoint: &arguments.encoder.checkpoint,
        test_images: scores.test_images,
        skipped: scores.skipped,
        shots: &scores.shots,
    };
    report::show(&table, arguments.json.as_deref(), &results)
}

/// Draws the labelled images, for each number of shots.
pub(crate) fn draw(
    train: &LabelledImages,
    shots: &[usize],
    splits: u64,
    seed: u64,
) -> anyhow::Result<Vec<Splits>> {
    let classes = Classes::of(&train.labels);
    let labels = classes.indices(&train.labels)?;
    let draw = |&shots: &usize| {
        (0..splits).map(|split| Ok(msn_eval::draw(&labels, &classes, shots, seed, split)?)).collect()
    };
    shots.iter().map(draw).collect()
}

fn read_splits(train: &LabelledImages, arguments: &Lowshot) -> anyhow::Result<Splits> {
    let names: Vec<String> = (0..train.labels.len()).map(|i| train.dataset.name(i).to_owned()).collect();
    let read = |path| Ok(SplitFile::read(path)?.images(&names, &train.labels)?);
    arguments.split_file.iter().map(|path| read(path)).collect()
}

/// Evaluates an encoder. Only the test images and those training images that a split labels are looked at.
pub(crate) fn scores(
    extractor: &Extractor,
    train: &LabelledImages,
    test: &LabelledImages,
    draws: &[Splits],
    lambda: Option<f64>,
) -> anyhow::Result<Scores> {
    let drawn: BTreeSet<usize> = draws.iter().flatten().flatten().copied().collect();
    let drawn: Vec<usize> = drawn.into_iter().collect();
    let train = train.features(extractor, &drawn, "features of the labelled images")?;
    let test = test.all_features(extractor, "features of the test images")?;
    let protocol = LowShot { lambda, ..LowShot::default() };
    let mut shots = BTreeMap::new();
    for splits in draws {
        let splits: Splits = splits.iter().map(|split| train.rows_of(split)).collect();
        let report = protocol.run_splits(&train.labelled, &test.labelled, &splits)?;
        let score = report.scores.into_iter().next().context("no score for these splits")?;
        let unfinished = score.splits.iter().filter(|split| !split.converged).count();
        if unfinished > 0 {
            warn(&format!(
                "{} a class: {unfinished} regressions stopped short of their tolerance",
                score.shots
            ));
        }
        shots.insert(score.shots, score);
    }
    let skipped = train.skipped + test.skipped;
    Ok(Scores { shots, test_images: test.labelled.labels().len(), skipped })
}

/// Mean and deviation over splits, percent.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percent {
    mean: f64,
    sd: f64,
}

impl Percent {
    pub(crate) fn of(score: &ShotScore) -> Self {
        Self { mean: score.mean, sd: score.sd }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} +- {:.1}", self.mean, self.sd)
    }
}
