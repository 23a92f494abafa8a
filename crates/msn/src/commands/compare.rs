//! `msn compare`

use std::collections::{BTreeMap, BTreeSet};

use msn_eval::{Amount, BudgetCurve, ExtractError, Extractor, ShotScore, curve_picture};
use serde::Serialize;

use super::labelling::{Drawing, Labelling};
use super::lowshot::{self, Percent};
use crate::cli::{Compare, EncoderChoice, LabelledData};
use crate::features::{self, EncoderFacts, LabelledImages, RAW_PIXELS, UNTRAINED};
use crate::output;
use crate::progress::{say, warn};
use crate::report::{self, Table};

/// The results as JSON.
#[derive(Serialize)]
struct Results<'a> {
    #[serde(flatten)]
    labelled: &'a LabelledData,
    seed: u64,
    /// In the order of the table.
    encoders: Vec<Row<'a>>,
}

/// The scores of one encoder.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    encoder: EncoderFacts<'a>,
    architecture: String,
    test_images: usize,
    /// Images that could not be read.
    skipped: usize,
    /// By amount of labelled images, as asked for: `5`, `1%`.
    amounts: BTreeMap<String, ShotScore>,
}

pub(crate) fn run(arguments: &Compare) -> anyhow::Result<()> {
    let inputs = arguments.labelled.paths();
    output::check_json(arguments.json.as_deref(), &inputs)?;
    if let Some(picture) = &arguments.picture {
        output::check_svg(picture, &inputs)?;
    }
    let [train, test] = LabelledImages::open_both(&arguments.labelled)?;
    let names = encoders(arguments);
    // All are opened before the first is evaluated, so that a wrong name is found at once.
    let choices: Vec<EncoderChoice> = names.iter().map(|name| choice(arguments, name, None)).collect();
    let open = |choice: &EncoderChoice| match features::extractor(choice, &*train.dataset) {
        Err(error) if arguments.heads.is_some() && lacks_heads(&error) => features::extractor(
            &self::choice(arguments, &choice.checkpoint, arguments.heads),
            &*train.dataset,
        ),
        opened => opened,
    };
    let mut extractors = choices.iter().map(open).collect::<anyhow::Result<Vec<Extractor>>>()?;
    if let (None, Some(levels)) = (arguments.range.levels, trained_levels(&extractors)) {
        // The baseline sees what the encoders see.
        let seen = |extractor: Extractor| match extractor.origin() {
            None => extractor.with_levels(levels),
            Some(_) => extractor,
        };
        extractors = extractors.into_iter().map(seen).collect();
    }
    // Every encoder gets the same labelled images.
    let drawing = Drawing { splits: arguments.draws.splits, seed: arguments.draws.seed, stop_short: false };
    let labelling =
        Labelling::draw(&extractors.iter().collect::<Vec<_>>(), &train, &arguments.shots, drawing)?;

    let shots = arguments.shots.iter().map(|amount| match amount {
        Amount::Shots(_) => format!("{amount} a class"),
        Amount::Percent(_) => amount.to_string(),
    });
    let header = ["top-1 %, labelled images:".to_owned(), "architecture".to_owned()];
    let mut table = Table::new(header.into_iter().chain(shots));
    let (mut rows, mut curves) = (Vec::<Row<'_>>::new(), Vec::new());
    for ((name, choice), extractor) in names.iter().zip(&choices).zip(&extractors) {
        say(&format!("{name}:"));
        let architecture = extractor.architecture();
        let scores = lowshot::scores(extractor, &train, &test, &labelling, arguments.penalty.lambda())?;
        let cells = scores.amounts.iter().map(|score| Percent::of(score).to_string());
        table.row([name.clone(), architecture.clone()].into_iter().chain(cells));
        curves.push(BudgetCurve::of(name, &scores.amounts));
        if let Some(first) = rows.first().filter(|row| row.test_images != scores.test_images) {
            warn(&format!(
                "{name}: {} test images could be read, {} for the first encoder; the rows are not of the same images",
                scores.test_images, first.test_images
            ));
        }
        rows.push(Row {
            encoder: EncoderFacts::of(extractor, choice),
            architecture,
            test_images: scores.test_images,
            skipped: scores.skipped,
            amounts: scores.amounts.into_iter().map(|score| (score.amount().to_string(), score)).collect(),
        });
    }
    let picture = arguments.picture.as_ref().map_or(Ok(()), |picture| {
        let chance = 100.0 / train.classes().len() as f64;
        msn_store::atomic::write(picture, curve_picture(&curves, chance).as_bytes())
            .map(|()| say(&format!("the curves as a picture: {}", picture.display())))
    });
    let results = Results { labelled: &arguments.labelled, seed: arguments.draws.seed, encoders: rows };
    report::show(&table.text(), "compare", &arguments.checkpoints[0], arguments.json.as_deref(), &results)?;
    Ok(picture?)
}

/// The encoders of the table: those that are named, after the baselines unless these are named as well or not wanted.
fn encoders(arguments: &Compare) -> Vec<String> {
    let named = &arguments.checkpoints;
    let is_learned = |name: &&String| !name.starts_with(UNTRAINED) && features::run_of(name).is_some();
    let untrained = named.iter().find(is_learned).map(|name| format!("{UNTRAINED}{name}"));
    let baselines = [RAW_PIXELS.to_owned()].into_iter().chain(untrained);
    let missing = baselines.filter(|name| !arguments.only && !named.contains(name));
    let mut names: Vec<String> = missing.chain(named.iter().cloned()).collect();
    let mut seen = BTreeSet::new();
    // One that is named twice would be computed twice, to the same numbers.
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The range of samples that the first encoder of a run was trained with; of others' encoders it is not known.
fn trained_levels(extractors: &[Extractor]) -> Option<[u16; 2]> {
    let is_of_a_run = |extractor: &&Extractor| extractor.origin().is_some_and(|origin| origin.step.is_some());
    extractors.iter().find(is_of_a_run).map(Extractor::levels)
}

/// Whether all that is missing is the number of attention heads.
fn lacks_heads(error: &anyhow::Error) -> bool {
    let unknown = |source: &msn_model::Error| matches!(source, msn_model::Error::UnknownHeads { .. });
    matches!(error.downcast_ref(), Some(ExtractError::Foreign { source, .. }) if unknown(source))
}

fn choice(arguments: &Compare, checkpoint: &str, heads: Option<usize>) -> EncoderChoice {
    EncoderChoice {
        checkpoint: checkpoint.to_owned(),
        heads,
        features: Some(arguments.features),
        precision: arguments.precision,
        fresh_features: arguments.fresh_features,
        range: arguments.range,
        device: arguments.device.clone(),
    }
}
