//! `msn eval lowshot`

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use msn_eval::{Classes, Extractor, LowShot, ShotScore, SplitFile};
use serde::Serialize;

use crate::cli::Lowshot;
use crate::features::{self, EncoderFacts, LabelledImages};
use crate::output;
use crate::progress::warn;
use crate::report::{self, Table};

/// The results as JSON.
#[derive(Serialize)]
struct Results<'a> {
    #[serde(flatten)]
    encoder: EncoderFacts<'a>,
    /// Seed of the drawn splits; none for split files.
    seed: Option<u64>,
    train: &'a Path,
    test: &'a Path,
    test_images: usize,
    /// Images that could not be read.
    skipped: usize,
    /// By number of labelled images a class.
    shots: &'a BTreeMap<usize, ShotScore>,
}

/// The training images of every split of one number of shots: what is labelled.
type Splits = Vec<Vec<usize>>;

/// Which training images are labelled.
pub(crate) struct Labelling {
    /// One entry for each number of shots.
    shots: Vec<Splits>,
    /// Images that were drawn, cannot be read, and gave way to others.
    unreadable: usize,
}

/// Scores of an encoder.
pub(crate) struct Scores {
    /// By number of labelled images a class.
    pub(crate) shots: BTreeMap<usize, ShotScore>,
    test_images: usize,
    skipped: usize,
}

pub(crate) fn run(arguments: &Lowshot) -> anyhow::Result<()> {
    output::check_json(arguments.json.as_deref(), &[&arguments.train, &arguments.test])?;
    let train = LabelledImages::open(&arguments.train)?;
    let test = LabelledImages::open(&arguments.test)?;
    let extractor = features::extractor(&arguments.encoder, &*train.dataset)?;
    let labelling = if arguments.split_file.is_empty() {
        draw(&extractor, &train, &arguments.shots, arguments.splits, arguments.seed)?
    } else {
        read_splits(&extractor, &train, &arguments.split_file)?
    };
    let scores = scores(&extractor, &train, &test, &labelling, arguments.lambda)?;
    let mut table = Table::new(["labelled images a class", "lambda", "top-1 %", "splits"]);
    for (shots, score) in &scores.shots {
        let cells =
            [score.lambda.to_string(), Percent::of(score).to_string(), score.splits.len().to_string()];
        table.row([shots.to_string()].into_iter().chain(cells));
    }
    let results = Results {
        encoder: EncoderFacts::of(&extractor, &arguments.encoder),
        seed: arguments.split_file.is_empty().then_some(arguments.seed),
        train: &arguments.train,
        test: &arguments.test,
        test_images: scores.test_images,
        skipped: scores.skipped,
        shots: &scores.shots,
    };
    report::show(&table, "lowshot", &arguments.encoder, arguments.json.as_deref(), &results)
}

/// Draws the labelled images, for each number of shots. An image that `extractor` cannot read gives way to the next
/// of its class, with a message: every class has its number of shots.
pub(crate) fn draw(
    extractor: &Extractor,
    train: &LabelledImages,
    shots: &[usize],
    splits: u64,
    seed: u64,
) -> anyhow::Result<Labelling> {
    let classes = Classes::of(&train.labels);
    let labels = classes.indices(&train.labels)?;
    let mut known = HashMap::new();
    let mut readable = |image: usize| {
        *known.entry(image).or_insert_with(|| match extractor.check(&*train.dataset, image) {
            Ok(()) => true,
            Err(skipped) => {
                warn(&format!("another image of its class is drawn instead of {skipped}"));
                false
            }
        })
    };
    let mut draw = |&shots: &usize| -> anyhow::Result<Splits> {
        let split = |split| msn_eval::draw_usable(&labels, &classes, shots, seed, split, &mut readable);
        let drawn: Result<Splits, _> = (0..splits).map(split).collect();
        drawn.with_context(|| train.dataset.path().display().to_string())
    };
    let shots = shots.iter().map(&mut draw).collect::<anyhow::Result<_>>()?;
    Ok(Labelling { shots, unreadable: known.values().filter(|&&readable| !readable).count() })
}

/// The images that split files name, all of which must be readable: other images would be another split.
fn read_splits(
    extractor: &Extractor,
    train: &LabelledImages,
    files: &[PathBuf],
) -> anyhow::Result<Labelling> {
    let names: Vec<String> = (0..train.labels.len()).map(|i| train.dataset.name(i).to_owned()).collect();
    let read = |path: &PathBuf| {
        let images = SplitFile::read(path)?.images(&names, &train.labels)?;
        for &image in &images {
            if let Err(skipped) = extractor.check(&*train.dataset, image) {
                bail!("{}: expected images that can be read, found {skipped}", path.display());
            }
        }
        Ok(images)
    };
    let splits = files.iter().map(read).collect::<anyhow::Result<_>>()?;
    Ok(Labelling { shots: vec![splits], unreadable: 0 })
}

/// Evaluates an encoder. Only the test images and those training images that a split labels are looked at.
pub(crate) fn scores(
    extractor: &Extractor,
    train: &LabelledImages,
    test: &LabelledImages,
    labelling: &Labelling,
    lambda: Option<f64>,
) -> anyhow::Result<Scores> {
    let labelled: BTreeSet<usize> = labelling.shots.iter().flatten().flatten().copied().collect();
    let labelled: Vec<usize> = labelled.into_iter().collect();
    let labels: Vec<String> = labelled.iter().map(|&image| train.labels[image].clone()).collect();
    test.check_classes(&labels, train.dataset.path())?;
    let path = train.dataset.path();
    let train = train.features(extractor, &labelled, "features of the labelled images")?;
    let test = test.all_features(extractor, "features of the test images")?;
    let protocol = LowShot { lambda, ..LowShot::default() };
    let mut shots = BTreeMap::new();
    for splits in &labelling.shots {
        let splits: Option<Splits> = splits.iter().map(|split| train.rows_of(split)).collect();
        let splits = splits.with_context(|| {
            format!("{}: a labelled image that could be read a moment ago no longer can", path.display())
        })?;
        let report = protocol.run_splits(&train.labelled, &test.labelled, &splits)?;
        let score = report.scores.into_iter().next().context("no score for these splits")?;
        let unfinished = score.splits.iter().filter(|split| !split.converged).count();
        if unfinished > 0 {
            warn(&format!(
                "{} labelled images a class: {unfinished} of {} regressions stopped short of their tolerance; a larger \
                 --lambda makes them easier",
                score.shots,
                score.splits.len()
            ));
        }
        shots.insert(score.shots, score);
    }
    let skipped = labelling.unreadable + test.skipped.len();
    Ok(Scores { shots, test_images: test.labelled.labels().len(), skipped })
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
        Self { mean: score.mean, sd: score.sd, splits: score.splits.len() }
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
