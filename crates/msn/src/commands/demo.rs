//! `msn demo`

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{bail, ensure};
use msn_eval::{Amount, Extractor, Lambda};
use msn_store::{RunDir, export};
use msn_synth::SynthConfig;
use msn_train::Config;
use msn_train::config::{PrecisionSetting, Source};
use serde::Serialize;

use super::labelling::{Drawing, Labelling};
use super::lowshot::{self, Percent};
use super::pretrain::quoted;
use super::{pretrain, synth};
use crate::cli::Demo;
use crate::device;
use crate::failure::wrong_arguments;
use crate::features::LabelledImages;
use crate::memory;
use crate::progress::say;
use crate::report::{self, Table};
use crate::settings::{Given, read_overrides};

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
    let (run, config) = if arguments.resume {
        let run = RunDir::resume(out)?;
        // One that was killed at once has no images yet.
        let trains_on = Config::of_run(&run)?.data.path;
        ensure!(
            train_path.exists() || Path::new(&trains_on) == train_path,
            "{}: expected the run of a demo, with images in images/train, found none",
            out.display()
        );
        let config = Given::read(&train_path, None, &arguments.overrides)?.for_resumed_run(&run)?;
        memory::check(&config, &arguments.device)?;
        (run, config)
    } else {
        let config = configuration(&train_path, &arguments.overrides)?;
        memory::check(&config, &arguments.device)?;
        // Before the folder is made: otherwise a second try with other arguments would find it in use.
        let (batch_size, images) = (config.train.batch_size, CLASSES * arguments.images_per_class);
        image_set(TRAIN_SEED, arguments.images_per_class)?;
        if batch_size > images {
            bail!(msn_data::Error::BatchLargerThanData { data: train_path, batch_size, images });
        }
        let run = RunDir::create(out)?;
        // First of all, so that the folder can be resumed from now on.
        run.write_config(&config.to_toml())?;
        (run, config)
    };
    let train = drawn(&train_path, TRAIN_SEED, arguments.images_per_class)?;
    let images_per_class = train.labels.len() / CLASSES;
    let test = drawn(&test_path, TEST_SEED, (images_per_class / TRAIN_PER_TEST).max(1))?;
    let raw_pixels = Extractor::raw_pixels(SIZE);
    let drawing = Drawing { splits: SPLITS, seed: SPLIT_SEED, stop_short: false };
    let labelling = Labelling::draw(&[&raw_pixels], &train, &SHOTS.map(Amount::Shots), drawing)?;
    say("pre-training without labels");
    let resume = format!("msn demo --out {}{} --resume", quoted(out), arguments.device.repeated());
    pretrain::train(&config, train.dataset.clone(), &run, &device, &resume)?;

    // As `msn eval` would, without being asked.
    let precision = PrecisionSetting::Auto.precision();
    let scores = |extractor: Extractor| -> anyhow::Result<Scores> {
        let scores = lowshot::scores(&extractor, &train, &test, &labelling, Lambda::Default)?;
        Ok(scores.amounts.iter().map(|score| (score.shots, Percent::of(score))).collect())
    };
    let results = Results {
        raw_pixels: scores(raw_pixels)?,
        untrained: scores(Extractor::untrained(out, Default::default(), precision, &device)?)?,
        pretrained: scores(Extractor::pretrained(out, Default::default(), precision, &device)?)?,
    };
    let json = out.join("demo.json");
    export::write_json(&json, &results)?;
    report::print(&table(&results).text())?;
    say(&format!("the same as JSON: {}", json.display()));
    say_next_steps(out);
    Ok(())
}

fn image_set(seed: u64, images_per_class: usize) -> anyhow::Result<SynthConfig> {
    let images = SynthConfig { classes: CLASSES, images_per_class, size: SIZE, seed };
    images.validate().map_err(wrong_arguments)?;
    Ok(images)
}

/// The images in `path`; draws them unless an earlier demo has, which it then did as a whole.
fn drawn(path: &Path, seed: u64, images_per_class: usize) -> anyhow::Result<LabelledImages> {
    if !path.exists() {
        say(&format!("drawing {CLASSES} x {images_per_class} images in {}", path.display()));
        synth::draw(&image_set(seed, images_per_class)?, path)?;
    }
    LabelledImages::open(path)
}

fn configuration(data: &Path, overrides: &[String]) -> anyhow::Result<Config> {
    let built_in = Source::toml("demo.toml", include_str!("demo.toml"))?;
    let mut config = Config::merge(&Config::default(), &[built_in])?;
    shorten_warmup(&mut config, overrides);
    let mut config = Config::merge(&config, &read_overrides(overrides)?).map_err(wrong_arguments)?;
    config.data.path = data.display().to_string();
    config.train.precision = config.train.precision.settled();
    config.validate().map_err(wrong_arguments)?;
    Ok(config)
}

/// Makes the warm-up of a configuration that nobody wrote fit the epochs that `arguments` ask for: a tenth of them at
/// most. An argument for the warm-up itself comes later and wins.
fn shorten_warmup(config: &mut Config, arguments: &[String]) {
    let epochs = |argument: &String| argument.strip_prefix("optim.epochs=")?.trim().parse::<f64>().ok();
    if let Some(epochs) = arguments.iter().rev().find_map(epochs) {
        config.optim.warmup_epochs = config.optim.warmup_epochs.min(epochs.max(0.0) / 10.0);
    }
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

fn say_next_steps(run: &Path) {
    say(&format!(
        "\nnext, with images of your own:\n  \
         msn pretrain --data PHOTOS --out runs/photos\n  \
         msn eval lowshot --checkpoint runs/photos --train LABELLED/TRAIN --test LABELLED/TEST\n  \
         msn predict --checkpoint runs/photos --labels FEW.csv --images PHOTOS --out predicted.csv\n\
         or look closer at this run:\n  \
         msn eval knn --checkpoint {run} --train {run}/images/train --test {run}/images/test",
        run = quoted(run)
    ));
}
