//! `msn predict`

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use msn_data::Dataset;
use msn_eval::{Extractor, PredictedImages, Predictions, Predictor, Probabilities};
use msn_store::StoreError;
use msn_store::export::write_csv;

use crate::cli::{EncoderChoice, Predict};
use crate::device;
use crate::failure::wrong_arguments;
use crate::features;
use crate::labels::LabelFile;
use crate::memory;
use crate::output;
use crate::progress::{ImageProgress, counted, say};

/// Of the file that is written.
const COLUMNS: [&str; 3] = ["path", "label", "probability"];

/// Predicted labels, and what they rest on.
struct Predicted {
    found: PredictedImages,
    /// Such as `from 20 labelled`.
    from: String,
}

pub(crate) fn run(arguments: &Predict) -> anyhow::Result<()> {
    let inputs: Vec<&Path> = arguments.labels.as_deref().into_iter().chain([&*arguments.images]).collect();
    let is_text = |ending: &OsStr| ["csv", "txt"].iter().any(|text| ending.eq_ignore_ascii_case(text));
    if !arguments.out.extension().is_none_or(is_text) {
        let found = arguments.out.display();
        return Err(wrong_arguments(anyhow!("--out: expected a name in .csv or .txt, found {found}")));
    }
    output::check_new(&arguments.out, &inputs)?;
    let images = msn_data::open(&arguments.images)?;
    let Predicted { found, from } = match &arguments.labels {
        Some(labels) => by_labels(arguments, labels, &images)?,
        None => by_classifier(arguments, &*images)?,
    };
    write(&arguments.out, &*images, &found)?;
    say(&format!(
        "labels of {}, predicted {from}, in {}",
        counted(found.images.len(), "image"),
        arguments.out.display()
    ));
    if !found.skipped.is_empty() {
        say(&format!(
            "{} of {} images could not be read and are left out",
            found.skipped.len(),
            images.len()
        ));
    }
    Ok(())
}

/// Writes a line for each image that could be read.
fn write(out: &Path, images: &dyn Dataset, found: &PredictedImages) -> Result<(), StoreError> {
    let Predictions { classes, best, probabilities } = &found.predictions;
    let mut header = COLUMNS.map(ToOwned::to_owned).to_vec();
    if probabilities.is_some() {
        header.extend(classes.iter().map(|class| format!("p({class})")));
    }
    let all =
        |row: usize| probabilities.iter().flat_map(move |all| &all[row * classes.len()..][..classes.len()]);
    let lines = found.images.iter().zip(best).enumerate().map(|(row, (&image, best))| {
        let mut line =
            vec![images.name(image).to_owned(), best.label.clone(), format!("{:.4}", best.probability)];
        line.extend(all(row).map(|probability| format!("{probability:.4}")));
        line
    });
    write_csv(out, &header, lines)
}

/// Which probabilities are wanted, of so many images and classes.
fn probabilities(arguments: &Predict, images: usize, classes: usize) -> anyhow::Result<Probabilities> {
    if !arguments.probabilities {
        return Ok(Probabilities::Best);
    }
    let needed = images as f64 * classes as f64 * size_of::<f32>() as f64;
    let what = format!("--probabilities of {images} images and {classes} classes need");
    memory::check_host(&what, needed, "fewer images at a time, or none of all classes")?;
    Ok(Probabilities::All)
}

/// By a regression on a few labels.
fn by_labels(arguments: &Predict, labels: &Path, images: &Arc<dyn Dataset>) -> anyhow::Result<Predicted> {
    let few = LabelFile::open(labels, &arguments.images, images.clone())?;
    few.check_labels()?;
    let extractor = features::extractor(&arguments.encoder, &**images)?;
    let labelled = few.features(&extractor)?;
    let predictor = Predictor::of_labels(&labelled, arguments.penalty.lambda())?;
    let found = classify(arguments, &predictor, &extractor, &**images)?;
    Ok(Predicted { found, from: format!("from {} labelled", labelled.labels().len()) })
}

/// By the classifier in the checkpoint.
fn by_classifier(arguments: &Predict, images: &dyn Dataset) -> anyhow::Result<Predicted> {
    let checkpoint = &arguments.encoder.checkpoint;
    let none = || {
        wrong_arguments(anyhow!(
            "--checkpoint {checkpoint}: expected --labels FILE.csv, or an encoder that `msn eval finetune --out` or an export has \
             given a classifier, found neither"
        ))
    };
    if features::is_baseline(checkpoint) {
        return Err(none());
    }
    if arguments.penalty.lambda.is_some() {
        return Err(wrong_arguments(anyhow!(
            "--lambda: expected --labels to fit a regression on, found none"
        )));
    }
    if arguments.encoder.features.is_some() {
        return Err(wrong_arguments(anyhow!(
            "--features: expected --labels to fit a regression on, found none; a fine-tuned classifier takes the features \
             that it was trained on"
        )));
    }
    let device = device::open(&arguments.encoder.device.name)?;
    let EncoderChoice { heads, range, .. } = arguments.encoder;
    let (mut saved, weights) = features::saved_encoder(checkpoint, heads, range)?;
    let head = saved.classifier.take().ok_or_else(none)?;
    let precision = arguments.encoder.precision.precision();
    let extractor = Extractor::of(saved, weights, msn_model::Features::AfterNorm, precision, &device)?;
    let extractor = features::keeping(extractor, &arguments.encoder);
    let found = classify(arguments, &Predictor::of_head(head), &extractor, images)?;
    Ok(Predicted { found, from: format!("by the classifier in {checkpoint}") })
}

fn classify(
    arguments: &Predict,
    predictor: &Predictor,
    extractor: &Extractor,
    images: &dyn Dataset,
) -> anyhow::Result<PredictedImages> {
    let probabilities = probabilities(arguments, images.len(), predictor.classes().len())?;
    let indices: Vec<usize> = (0..images.len()).collect();
    let what = "features of the images";
    let mut progress = ImageProgress::new(what, indices.len());
    let found = predictor.images(extractor, images, &indices, probabilities, |done| progress.set(done))?;
    drop(progress);
    features::tell(what, found.images.len(), found.recalled, &found.skipped);
    Ok(found)
}
