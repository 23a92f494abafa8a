//! `msn eval select`

use std::collections::{BTreeMap, BTreeSet};

use msn_eval::{SelectionScore, select_at_random};
use serde::Serialize;

use super::lowshot::Percent;
use super::select::check_budget;
use crate::cli::{LabelledData, Selection};
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
    seeds: u64,
    test_images: usize,
    /// Images that could not be read.
    skipped: usize,
    /// By number of labelled images.
    budgets: BTreeMap<usize, Pair>,
}

/// What the same number of labels is worth.
#[derive(Serialize)]
struct Pair {
    random: SelectionScore,
    selected: SelectionScore,
    /// Seeds for which the selected images were better than the random ones.
    wins: usize,
}

pub(crate) fn run(arguments: &Selection) -> anyhow::Result<()> {
    output::check_json(arguments.json.as_deref(), &arguments.labelled.paths())?;
    let [train, test] = LabelledImages::open_both(&arguments.labelled)?;
    test.check_classes(&train.labels, &arguments.labelled.train)?;
    for &budget in &arguments.budgets {
        check_budget("--budgets", budget, &*train.dataset, 0)?;
    }
    let extractor = features::extractor(&arguments.encoder, &*train.dataset)?;
    let train = train.all_features(&extractor, "features of the images to select from")?;
    let test = test.all_features(&extractor, "features of the test images")?;
    let lambda = arguments.penalty.lambda();
    let rows = train.labelled.labels().len();
    let mut table = Table::new([
        "labelled images",
        "at random, top-1 %",
        "classes",
        "selected, top-1 %",
        "classes",
        "better",
    ]);
    let mut budgets = BTreeMap::new();
    for &budget in &arguments.budgets {
        let score = |selections: Vec<Vec<usize>>| {
            SelectionScore::of(&train.labelled, &test.labelled, &selections, lambda)
        };
        let random = (0..arguments.seeds).map(|seed| select_at_random(rows, budget, seed));
        let random = score(random.collect::<Result<_, _>>()?)?;
        let features = train.labelled.features();
        let selected =
            (0..arguments.seeds).map(|seed| msn_eval::select(features, &BTreeSet::new(), budget, seed));
        let selected = score(selected.collect::<Result<_, _>>()?)?;
        let wins =
            selected.top1.iter().zip(&random.top1).filter(|(selected, random)| selected > random).count();
        let shown = |score: &SelectionScore| Percent::new(score.mean, score.sd, score.top1.len()).to_string();
        table.row([
            budget.to_string(),
            shown(&random),
            format!("{:.1}", random.classes),
            shown(&selected),
            format!("{:.1}", selected.classes),
            format!("{wins} of {}", arguments.seeds),
        ]);
        budgets.insert(budget, Pair { random, selected, wins });
    }
    let results = Results {
        encoder: EncoderFacts::of(&extractor, &arguments.encoder),
        labelled: &arguments.labelled,
        seeds: arguments.seeds,
        test_images: test.labelled.labels().len(),
        skipped: train.skipped.len() + test.skipped.len(),
        budgets,
    };
    report::show(&table.text(), "select", &arguments.encoder.checkpoint, arguments.json.as_deref(), &results)
}
