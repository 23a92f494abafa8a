//! `msn demo`

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::bail;
use msn_eval::Extractor;
use msn_store::{RunDir, export};
use msn_synth::SynthConfig;
use msn_train::config::Source;
use msn_train::{Config, Ending};
use serde::Serialize;

use super::lowshot::{self, Percent};
use super::pretrain::quoted;
use super::{pretrain, synth};
use crate::cli::Demo;
use crate::device;
use crate::failure::wrong_arguments;
use crate::features::LabelledImages;
use crate::report::Table;

/// Number of classes.
const CLASSES: usize = 20;
/// Width and height of the images, pixels.
const SIZE: usize = 64;
/// Training and test images come from different seeds, so that none is in both.
const TRAIN_SEED: u64 = 0;
const TEST_SEED: u64 = 1;
/// One test image for so many training images.
const TRAIN_PER_TEST: usize = 6;
/// The low-shot protocol.
const SHOTS: [usize; 3] = [1, 2, 5];
const SPLITS: u64 = 3;
const SPLIT_SEED: u64 = 0;

/// `demo.json`: by row, by shots, percent.
#[derive(Serialize)]
struct Results {
    raw_pixels: Scores,
    untrained: Scores,
    pretrained: Scores,
}

type Scores = BTreeMap<usize, Percent>;

pub(crate) fn run(arguments: &Demo) -> anyhow::Result<()> {
    let device = device::open(&arguments.device.name)?;
    let out = &arguments.out;
    let train_path = out.join("images/train");
    let test_path = out.join("images/test");
    let config = configuration(&train_path, &arguments.overrides)?;
    if out.exists() {
        bail!(
            "{}: exists already: remove it, or choose another folder with --out; a run that was stopped goes on \
             with\n  msn pretrain --data {} --out {} --resume",
            out.display(),
            quoted(&train_path),
            quoted(out)
        );
    }
    let run = RunDir::create(out)?;
    for (path, seed, images_per_class) in [
        (&train_path, TRAIN_SEED, arguments.images_per_class),
        (&test_path, TEST_SEED, (arguments.images_per_class / TRAIN_PER_TEST).max(1)),
    ] {
        let images = SynthConfig { classes: CLASSES, images_per_class, size: SIZE, seed };
        images.validate().map_err(wrong_arguments)?;
        eprintln!("drawing {CLASSES} x {images_per_class} images in {}", path.display());
        synth::draw(&images, path)?;
    }
    run.write_config(&config.to_toml())?;
    eprintln!("pre-training without labels");
    let outcome = pretrain::train(&config, msn_data::open(&train_path)?, &run, &device)?;
    if outcome.ending == Ending::Stopped {
        return Ok(());
    }

    let train = LabelledImages::open(&train_path)?;
    let test = LabelledImages::open(&test_path)?;
    let draws = lowshot::draw(&train, &SHOTS, SPLITS, SPLIT_SEED)?;
    let scores = |extractor: Extractor| -> anyhow::Result<Scores> {
        let scores = lowshot::scores(&extractor, &train, &test, &draws, None)?;
        Ok(scores.shots.iter().map(|(&shots, score)| (shots, Percent::of(score))).collect())
    };
    let results = Results {
        raw_pixels: scores(Extractor::raw_pixels())?,
        untrained: scores(Extractor::untrained(out, Default::default(), &device)?)?,
        pretrained: scores(Extractor::pretrained(out, Default::default(), &device)?)?,
    };
    print!("{}", table(&results).text());
    let json = out.join("demo.json");
    export::write_json(&json, &results)?;
    eprintln!("the same numbers: {}", json.display());
    print_next_steps(out);
    Ok(())
}

fn configuration(data: &Path, overrides: &[String]) -> anyhow::Result<Config> {
    let sources: Result<Vec<Source>, _> =
        std::iter::once(Source::toml("demo.toml", include_str!("demo.toml")))
            .chain(overrides.iter().map(|argument| Source::argument(argument)))
            .collect();
    let mut config =
        sources.and_then(|sources| Config::merge(&Config::default(), &sources)).map_err(wrong_arguments)?;
    config.data.path = data.display().to_string();
    config.train.precision = config.train.precision.settled();
    config.validate().map_err(wrong_arguments)?;
    Ok(config)
}

fn table(results: &Results) -> Table {
    let shots = SHOTS.map(|shots| format!("{shots} a class"));
    let mut table = Table::new(["top-1 %, labelled images:".to_owned()].into_iter().chain(shots));
    for (name, scores) in [
        ("raw pixels", &results.raw_pixels),
        ("encoder, untrained", &results.untrained),
        ("encoder, pre-trained", &results.pretrained),
    ] {
        table.row([name.to_owned()].into_iter().chain(scores.values().map(ToString::to_string)));
    }
    table
}

fn print_next_steps(run: &Path) {
    eprintln!(
        "\nnext, with images of your own:\n  \
         msn pretrain --data PHOTOS --out runs/photos\n  \
         msn eval lowshot --checkpoint runs/photos --train LABELLED/TRAIN --test LABELLED/TEST\n  \
         msn predict --checkpoint runs/photos --labels FEW.csv --images PHOTOS --out predicted.csv\n\
         or look closer at this run:\n  \
         msn eval knn --checkpoint {run} --train {run}/images/train --test {run}/images/test",
        run = quoted(run)
    );
}
