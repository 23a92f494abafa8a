//! `msn eval finetune`

use std::path::Path;

use anyhow::anyhow;
use msn_data::check_image;
use msn_eval::{
    Amount, ExtractError, FineTuneReport, FineTuneRun, FineTuned, ImageSet, SavedEncoder, draw_usable,
};
use msn_model::Precision;
use msn_store::{RunDir, StoreError};
use msn_train::Config;
use serde::Serialize;

use super::import::config_of;
use super::labelling::not_labelled;
use super::pretrain::quoted;
use crate::cli::{FeatureChoice, FineTune, LabelledData};
use crate::device;
use crate::failure::{stopped, wrong_arguments};
use crate::features::{self, EncoderFacts, LabelledImages, RAW_PIXELS};
use crate::memory;
use crate::output;
use crate::progress::{FineTuneProgress, counted, say, warn};
use crate::report::{self, Table};
use crate::signals::StopRequest;

/// The results as JSON.
#[derive(Serialize)]
struct Results<'a> {
    #[serde(flatten)]
    encoder: EncoderFacts<'a>,
    #[serde(flatten)]
    labelled: &'a LabelledData,
    image_size: usize,
    settings: &'a msn_eval::FineTune,
    /// Images that could not be read.
    skipped: usize,
    #[serde(flatten)]
    report: &'a FineTuneReport,
}

pub(crate) fn run(arguments: &FineTune) -> anyhow::Result<()> {
    output::check_json(arguments.json.as_deref(), &arguments.labelled.paths())?;
    if arguments.checkpoint == RAW_PIXELS {
        return Err(wrong_arguments(anyhow!(
            "--checkpoint: expected an encoder to fine-tune, found {RAW_PIXELS}, which has no weights"
        )));
    }
    let device = device::open(&arguments.device.name)?;
    let [train, test] = LabelledImages::open_both(&arguments.labelled)?;
    test.check_classes(&train.labels, &arguments.labelled.train)?;
    let (saved, weights) = features::saved_encoder(&arguments.checkpoint, arguments.heads, arguments.range)?;
    let saved = match arguments.image_size {
        Some(size) => saved.with_image_size(size).map_err(wrong_arguments)?,
        None => saved,
    };
    let images = labelled(arguments, &train, &saved)?;
    let settings = arguments.settings(images.len(), saved.config.image_size);
    settings.check(&saved.config).map_err(wrong_arguments)?;
    let config = config(&saved);
    check_memory(&config, &settings, images.len(), arguments)?;
    let folder = arguments.out.as_deref().map(|out| run_folder(out, arguments.resume)).transpose()?;
    explain(arguments, &settings, &saved, images.len());

    let origin = saved.origin.clone();
    let all: Vec<usize> = (0..test.labels.len()).collect();
    let stop = folder.as_ref().map(|_| StopRequest::listen()).transpose()?;
    let mut progress = FineTuneProgress::new(stop);
    let tuned = settings.run(
        (saved, weights),
        ImageSet { dataset: &*train.dataset, labels: &train.labels, images: &images },
        ImageSet { dataset: &*test.dataset, labels: &test.labels, images: &all },
        &device,
        folder.as_ref().map(|folder| FineTuneRun { folder, config: &config }),
        &mut progress,
    )?;
    let Some(tuned) = tuned else {
        say("stopped; to go on, give the same command with --resume");
        return Err(stopped(progress.signal()));
    };
    drop(progress);
    for skipped in &tuned.skipped {
        warn(&format!("left out {skipped}"));
    }
    let FineTuned { report, skipped, .. } = &tuned;
    // Of the test; `settings` has the precision of the training.
    let precision = Some(Precision::F32);
    let encoder = EncoderFacts::with(
        &arguments.checkpoint,
        Some(&origin),
        FeatureChoice::AfterNorm,
        tuned.config.dim,
        precision,
    );
    let results = Results {
        encoder,
        labelled: &arguments.labelled,
        image_size: tuned.config.image_size,
        settings: &settings,
        skipped: skipped.len(),
        report,
    };
    let text = table(&settings, report);
    let run = folder.as_ref().map(|folder| folder.path().display().to_string());
    let run = run.as_ref().unwrap_or(&arguments.checkpoint);
    report::show(&text, "finetune", run, arguments.json.as_deref(), &results)?;
    if let Some(folder) = &folder {
        say_next(folder);
    }
    Ok(())
}

/// The images to train on: all, or some of each class. An image that cannot be read gives way to another, with a
/// message.
fn labelled(
    arguments: &FineTune,
    train: &LabelledImages,
    saved: &SavedEncoder,
) -> anyhow::Result<Vec<usize>> {
    if arguments.shots == Amount::Percent(100.0) {
        return Ok((0..train.labels.len()).collect());
    }
    let classes = train.classes();
    let labels = classes.indices(&train.labels)?;
    let readable = |image: usize| -> Result<bool, ExtractError> {
        let skipped = check_image(&*train.dataset, image, &saved.limits)?;
        Ok(skipped.inspect(not_labelled).is_none())
    };
    let drawn = draw_usable(&labels, &classes, arguments.shots, arguments.seed, 0, readable);
    drawn.map_err(|error| match error {
        // It names the images already.
        ExtractError::Data(error) => error.into(),
        error => anyhow!(error).context(arguments.labelled.train.display().to_string()),
    })
}

/// The configuration of the run that is to hold the result.
fn config(saved: &SavedEncoder) -> Config {
    let mut config = config_of(saved.config.clone(), &saved.normalization);
    config.seed = saved.seed;
    config.data.max_file_mib = saved.limits.max_bytes >> 20;
    config.data.max_megapixels = saved.limits.max_pixels / 1_000_000;
    config.data.levels = saved.limits.levels;
    config
}

/// The folder for the result: a new one, which becomes a run with the first checkpoint, so that it can be given again
/// if there never is one; or that of a fine-tuning to go on with.
fn run_folder(path: &Path, resume: bool) -> anyhow::Result<RunDir> {
    if resume {
        return RunDir::resume(path).map_err(|error| match error {
            StoreError::NotARun { .. } => anyhow!(
                "{error}; a fine-tuning that was ended before its first checkpoint left nothing to go on with: start it \
                 again without --resume"
            ),
            error => error.into(),
        });
    }
    RunDir::create(path).map_err(|error| match error {
        StoreError::RunExists { .. } => anyhow!(
            "{}: expected a new or an empty folder, found a run: continue it with --resume and the arguments of then, \
             or choose another --out",
            path.display()
        ),
        error => error.into(),
    })
}

/// Fails where the weights, their gradients and moments, and what the backward pass needs of each image do not fit.
fn check_memory(
    config: &Config,
    settings: &msn_eval::FineTune,
    images: usize,
    arguments: &FineTune,
) -> anyhow::Result<()> {
    let batch_size = settings.batch_size.min(images);
    let mut least = config.clone();
    least.encoder.depth = settings.partial.unwrap_or(config.encoder.depth);
    least.train.batch_size = batch_size;
    (least.views.random_views, least.views.focal_views, least.mask.patch_drop) = (1, 0, 0.0);
    (least.objective.prototypes, least.head.hidden_dim) = (0, 0);
    let less = format!("a --batch-size below {batch_size}, or --partial");
    memory::check_bytes(least.least_memory(), &arguments.device, &less)
}

/// Says what is trained and what was picked.
fn explain(arguments: &FineTune, settings: &msn_eval::FineTune, saved: &SavedEncoder, images: usize) {
    let picked = [
        (arguments.epochs.is_none(), format!("--epochs {}", settings.epochs)),
        (arguments.batch_size.is_none(), format!("--batch-size {}", settings.batch_size)),
        (arguments.least_area.is_none(), format!("--least-area {}", settings.least_area)),
        (arguments.lr.is_none(), format!("--lr {:.3}", settings.lr)),
    ];
    let picked: Vec<String> = picked.into_iter().filter_map(|(is, text)| is.then_some(text)).collect();
    if !picked.is_empty() {
        say(&format!(
            "picked for {} of {} px: {}",
            counted(images, "image"),
            saved.config.image_size,
            picked.join(" ")
        ));
    }
    say(&format!(
        "{}: {}, images of {} px",
        arguments.checkpoint,
        match settings.partial {
            None => "encoder and classifier are trained".to_owned(),
            Some(0) => "the classifier alone is trained".to_owned(),
            Some(blocks) => format!(
                "the last {}, the final norm and the classifier are trained",
                counted(blocks, "block")
            ),
        },
        saved.config.image_size
    ));
}

fn table(settings: &msn_eval::FineTune, report: &FineTuneReport) -> String {
    let mut table = Table::new(["trained", "labelled images", "test images", "top-1 %", "top-5 %", "ECE %"]);
    let trained = match settings.partial {
        None => "everything".to_owned(),
        Some(0) => "classifier alone".to_owned(),
        Some(blocks) => format!("last {}", counted(blocks, "block")),
    };
    let percent = |value: f64| format!("{value:.1}");
    table.row([
        trained,
        report.train_images.to_string(),
        report.test_images.to_string(),
        percent(report.top1),
        percent(report.top5),
        percent(report.test.ece),
    ]);
    table.text()
}

/// Says where the result is and what it is good for.
fn say_next(folder: &RunDir) {
    let path = quoted(folder.path());
    say(&format!(
        "next, with the classifier that is in it:\n  \
         msn predict --checkpoint {path} --images IMAGES --out predicted.csv\n  \
         msn export --checkpoint {path} --format hf --out FOLDER"
    ));
}
