//! `msn eval lowshot`

use std::collections::BTreeMap;
use std::fmt;

use msn_eval::{Extractor, Lambda, LowShot, ShotScore, default_lambda};
use serde::Serialize;

use super::labelling::{Drawing, LabelledSets, Labelling};
use crate::cli::{LabelledData, Lowshot};
use crate::features::{self, EncoderFacts, LabelledImages};
use crate::output;
use crate::progress::{say, warn};
use crate::report::{self, Table};

/// The results as JSON.
#[derive(Serialize)]
struct Results<'a> {
    #[serde(flatten)]
    encoder: EncoderFacts<'a>,
    /// Seed of the drawn splits; none for split files.
    seed: Option<u64>,
    #[serde(flatten)]
    labelled: &'a LabelledData,
    test_images: usize,
    /// Images that could not be read.
    skipped: usize,
    /// By number of labelled images a class.
    shots: BTreeMap<usize, &'a ShotScore>,
    /// By percentage of labelled images.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    percent: BTreeMap<String, &'a ShotScore>,
}

/// Scores of an encoder.
pub(crate) struct Scores {
    /// One entry for each amount of labelled images, in the order asked for.
    pub(crate) amounts: Vec<ShotScore>,
    pub(crate) test_images: usize,
    pub(crate) skipped: usize,
}

pub(crate) fn run(arguments: &Lowshot) -> anyhow::Result<()> {
    output::check_json(arguments.json.as_deref(), &arguments.labelled.paths())?;
    let [train, test] = LabelledImages::open_both(&arguments.labelled)?;
    let extractor = features::extractor(&arguments.encoder, &*train.dataset)?;
    let labelling = if arguments.split_file.is_empty() {
        let drawing =
            Drawing { splits: arguments.draws.splits, seed: arguments.draws.seed, stop_short: false };
        Labelling::draw(&[&extractor], &train, &arguments.shots, drawing)?
    } else {
        Labelling::read(&extractor, &train, &arguments.split_file)?
    };
    if let Some(folder) = &arguments.write_splits {
        labelling.write(&train, folder)?;
    }
    let lambda = arguments.penalty.lambda();
    let scores = scores(&extractor, &train, &test, &labelling, lambda)?;
    let classes = train.classes().len();
    let one_a_class = |score: &ShotScore| score.splits.iter().all(|split| split.images == classes);
    if lambda == Lambda::CrossValidated && scores.amounts.iter().any(one_a_class) {
        say(&format!(
            "with one labelled image a class there is nothing to choose lambda on: it is {} there",
            default_lambda(1)
        ));
    }
    let mut table = Table::new(["labelled images a class", "lambda", "top-1 %", "splits"]);
    for score in &scores.amounts {
        table.row([
            score.amount().to_string(),
            score.lambdas(),
            Percent::of(score).to_string(),
            score.splits.len().to_string(),
        ]);
    }
    let percent = scores.amounts.iter().filter_map(|score| Some((score.percent?.to_string(), score)));
    let shots = scores.amounts.iter().filter(|score| score.percent.is_none());
    let results = Results {
        encoder: EncoderFacts::of(&extractor, &arguments.encoder),
        seed: arguments.split_file.is_empty().then_some(arguments.draws.seed),
        labelled: &arguments.labelled,
        test_images: scores.test_images,
        skipped: scores.skipped,
        shots: shots.map(|score| (score.shots, score)).collect(),
        percent: percent.collect(),
    };
    report::show(&table.text(), "lowshot", &arguments.encoder.checkpoint, arguments.json.as_deref(), &results)
}

/// Evaluates an encoder.
pub(crate) fn scores(
    extractor: &Extractor,
    train: &LabelledImages,
    test: &LabelledImages,
    labelling: &Labelling,
    lambda: Lambda,
) -> anyhow::Result<Scores> {
    let data = LabelledSets::new(extractor, train, test, labelling)?;
    let protocol = LowShot { lambda, ..LowShot::default() };
    let amounts = protocol.run_splits(&data.train, &data.test, &data.sets)?.scores;
    warn_unfinished(&amounts);
    Ok(Scores { amounts, test_images: data.test.labels().len(), skipped: data.skipped })
}

/// Warns of regressions that stopped short of their tolerance.
pub(crate) fn warn_unfinished(amounts: &[ShotScore]) {
    for score in amounts {
        let unfinished = score.splits.iter().filter(|split| !split.converged).count();
        if unfinished > 0 {
            warn(&format!(
                "{} labelled images a class: {unfinished} of {} regressions stopped short of their tolerance; a larger \
                 --lambda makes them easier",
                score.amount(),
                score.splits.len()
            ));
        }
    }
}

/// Mean and deviation over splits, percent.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percent {
    mean: f64,
    sd: f64,
    /// One split has no deviation to show.
    #[serde(skip)]
    splits: usize,
}

impl Percent {
    pub(crate) fn of(score: &ShotScore) -> Self {
        Self::new(score.mean, score.sd, score.splits.len())
    }

    pub(crate) fn new(mean: f64, sd: f64, splits: usize) -> Self {
        Self { mean, sd, splits }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.splits {
            1 => write!(f, "{:.1}", self.mean),
            _ => write!(f, "{:.1} +- {:.1}", self.mean, self.sd),
        }
    }
}
