//! `--checkpoint`: from images to rows of features.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use burn::tensor::Device;
use clap::ValueEnum;
use msn_data::{Corruption, Dataset, Limits, Skipped};
use msn_eval::{
    Classes, ExtractError, Extractor, FeatureRows, Labelled, LogisticRegression, Origin, SavedEncoder,
    Weights,
};
use msn_model::Precision;
use msn_store::{CacheFolder, RunDir, StoreError};
use msn_train::config::PrecisionSetting;
use serde::Serialize;

use crate::classes::warn_of_shared_names;
use crate::cli::{EncoderChoice, FeatureChoice, LabelledData, SampleRange};
use crate::device;
use crate::failure::wrong_arguments;
use crate::labels::LabelFile;
use crate::memory;
use crate::progress::{ImageProgress, say, warn};
use crate::settings::median_side;

/// GiB of features of all encoders that are kept, unless the user says otherwise: of 13 million images by a ViT-S. The least
/// recently used ones make room.
const KEPT_GIB: u64 = 20;

/// What `--checkpoint` takes besides paths: this name, and a run after this prefix.
pub(crate) const RAW_PIXELS: &str = "raw-pixels";
pub(crate) const UNTRAINED: &str = "untrained:";

/// Whether `--checkpoint` names what trained encoders are compared with.
pub(crate) fn is_baseline(checkpoint: &str) -> bool {
    checkpoint == RAW_PIXELS || checkpoint.starts_with(UNTRAINED)
}

/// The encoder that the arguments name; says which checkpoints had to be passed over. `dataset`, of which features
/// are wanted, decides on the size of raw pixels.
pub(crate) fn extractor(choice: &EncoderChoice, dataset: &dyn Dataset) -> anyhow::Result<Extractor> {
    let device = device::open(&choice.device.name)?;
    if choice.checkpoint == RAW_PIXELS {
        let extractor = Extractor::raw_pixels(median_side(dataset, &Limits::default())? as usize);
        return Ok(match choice.range.levels {
            Some(levels) => extractor.with_levels(levels),
            None => extractor,
        });
    }
    let (saved, weights) = saved_encoder(&choice.checkpoint, choice.heads, choice.range)?;
    if saved.classifier.is_some() {
        say(&format!(
            "{}: its features are taken here; its own classifier is used by `msn predict` without --labels and by `msn export`",
            choice.checkpoint
        ));
    }
    of_saved(saved, weights, choice, &device)
}

/// The extractor of an encoder that has been read.
pub(crate) fn of_saved(
    saved: SavedEncoder,
    weights: Weights,
    choice: &EncoderChoice,
    device: &Device,
) -> anyhow::Result<Extractor> {
    let features = match choice.features() {
        FeatureChoice::BeforeNorm => msn_model::Features::BeforeNorm,
        FeatureChoice::AfterNorm => msn_model::Features::AfterNorm,
    };
    let extractor = Extractor::of(saved, weights, features, choice.precision.precision(), device)?;
    Ok(keeping(extractor, choice))
}

/// The extractor that takes the features that earlier commands have computed, unless they are to be fresh.
pub(crate) fn keeping(extractor: Extractor, choice: &EncoderChoice) -> Extractor {
    match CacheFolder::of_user_within("features", KEPT_GIB) {
        Some(folder) if !choice.fresh_features => extractor.keeping(folder),
        _ => extractor,
    }
}

/// The encoder that `--checkpoint` names, raw pixels aside, and which weights of it are meant; says which checkpoints
/// had to be passed over. Of 16-bit images it sees `range`, or else what it was trained with.
pub(crate) fn saved_encoder(
    checkpoint: &str,
    heads: Option<usize>,
    range: SampleRange,
) -> anyhow::Result<(SavedEncoder, Weights)> {
    let (run, weights) = match checkpoint.strip_prefix(UNTRAINED) {
        Some(run) => (run, Weights::Untrained),
        None => (checkpoint, Weights::Pretrained),
    };
    let mut saved = SavedEncoder::read(Path::new(run), heads).map_err(explain)?;
    saved.limits.levels = range.levels.unwrap_or(saved.limits.levels);
    saved.notes.iter().for_each(|note| say(note));
    for rejected in &saved.rejected {
        warn(&format!("{rejected}; using {} instead", saved.origin.folder.display()));
    }
    Ok((saved, weights))
}

fn explain(error: ExtractError) -> anyhow::Error {
    match error {
        ExtractError::Store(StoreError::Io { path, source, .. })
            if source.kind() == ErrorKind::NotFound
                && path.parent().is_some_and(|folder| !folder.exists()) =>
        {
            no_such_checkpoint(path.parent().unwrap_or(&path))
        }
        ExtractError::Store(StoreError::NotARun { .. }) => {
            anyhow!(
                "{error}; --checkpoint takes a run folder, RUN/checkpoints/step-N, another program's checkpoint, \
                 untrained:RUN or raw-pixels"
            )
        }
        error => error.into(),
    }
}

/// For a folder `RUN/checkpoints/step-N` that does not exist.
fn no_such_checkpoint(folder: &Path) -> anyhow::Error {
    let run = folder.parent().and_then(Path::parent);
    let steps = run.and_then(|run| RunDir::open(run).ok()?.checkpoints().steps().ok());
    let found = match steps.as_deref() {
        None => "no run there".to_owned(),
        Some([]) => "no checkpoint in that run".to_owned(),
        Some(steps) => steps.iter().map(|step| format!("step-{step}")).collect::<Vec<_>>().join(", "),
    };
    anyhow!("{}: expected a checkpoint, found no such folder; there is {found}", folder.display())
}

/// What the JSON of an evaluation says of the encoder.
#[derive(Serialize)]
pub(crate) struct EncoderFacts<'a> {
    /// As given.
    checkpoint: &'a str,
    /// The checkpoint that was read; none for raw pixels.
    checkpoint_folder: Option<&'a Path>,
    /// Steps that it was trained for.
    step: Option<u64>,
    /// Where the features were read, and their number; raw pixels pass through no encoder.
    features: Option<String>,
    dim: usize,
    /// How products were multiplied, never `auto`; none for raw pixels.
    precision: Option<PrecisionSetting>,
}

impl<'a> EncoderFacts<'a> {
    pub(crate) fn of(extractor: &'a Extractor, choice: &'a EncoderChoice) -> Self {
        let (dim, precision) = (extractor.dim(), extractor.precision());
        Self::with(&choice.checkpoint, extractor.origin(), choice.features(), dim, precision)
    }

    /// Of the checkpoint as given, and what was read of it.
    pub(crate) fn with(
        checkpoint: &'a str,
        origin: Option<&'a Origin>,
        features: FeatureChoice,
        dim: usize,
        precision: Option<Precision>,
    ) -> Self {
        let name = features.to_possible_value().map(|value| value.get_name().to_owned());
        Self {
            checkpoint,
            checkpoint_folder: origin.map(|origin| &*origin.folder),
            step: origin.and_then(|origin| origin.step),
            features: origin.and(name),
            dim,
            precision: precision.map(PrecisionSetting::from),
        }
    }
}

/// The run folder that a `--checkpoint` belongs to, and what else it says, to be put after a name: nothing,
/// `-untrained`, `-step-N`. `None` for raw pixels, and for a checkpoint that was copied out of its run.
pub(crate) fn run_of(checkpoint: &str) -> Option<(PathBuf, String)> {
    if checkpoint == RAW_PIXELS {
        return None;
    }
    let (path, untrained) = match checkpoint.strip_prefix(UNTRAINED) {
        Some(path) => (Path::new(path), "-untrained"),
        None => (Path::new(checkpoint), ""),
    };
    let is_run = |path: &Path| path.join("config.toml").is_file();
    if is_run(path) {
        return Some((path.to_path_buf(), untrained.to_owned()));
    }
    // RUN/checkpoints/step-N, also where it is given as `step-N` or `.`.
    let step = path.canonicalize().ok()?;
    let run = step.parent()?.parent()?;
    let name =
        if untrained.is_empty() { format!("-{}", step.file_name()?.to_str()?) } else { untrained.into() };
    is_run(run).then(|| (run.to_path_buf(), name))
}

/// Features of the images of `indices`; those that cannot be read are left out and named on stderr.
pub(crate) fn rows(
    extractor: &Extractor,
    dataset: &dyn Dataset,
    indices: &[usize],
    what: &str,
) -> anyhow::Result<FeatureRows> {
    let rows = corrupted_rows(extractor, dataset, indices, None, what)?;
    tell(what, rows.images.len(), rows.recalled, &rows.skipped);
    Ok(rows)
}

/// Names the images that are left out, and says how many of the others had features already.
pub(crate) fn tell(what: &str, images: usize, recalled: usize, skipped: &[Skipped]) {
    for skipped in skipped {
        warn(&format!("left out {skipped}"));
    }
    if recalled > 0 {
        say(&format!("{what}: {recalled} of {images} were known already"));
    }
}

/// As [`rows`], of images that are corrupted, if so; those that cannot be read are left out silently.
pub(crate) fn corrupted_rows(
    extractor: &Extractor,
    dataset: &dyn Dataset,
    indices: &[usize],
    corruption: Option<Corruption>,
    what: &str,
) -> anyhow::Result<FeatureRows> {
    let needed = (indices.len() * extractor.dim() * size_of::<f32>()) as f64;
    let what_needs = format!(
        "{}: {what}, {} of {} numbers, need",
        dataset.path().display(),
        indices.len(),
        extractor.dim()
    );
    memory::check_host(&what_needs, needed, "fewer images at a time")?;
    let mut progress = ImageProgress::new(what, indices.len());
    Ok(extractor.corrupted_rows(dataset, indices, corruption, |done| progress.set(done))?)
}

/// Fails where the machine cannot hold a regression on so many labelled images of `data`, before their features are
/// computed.
pub(crate) fn check_regression(data: &Path, images: usize, dim: usize, classes: usize) -> anyhow::Result<()> {
    let what =
        format!("{}: a regression on {images} labelled images of {classes} classes needs", data.display());
    let needed = LogisticRegression::least_memory(images, dim, classes);
    memory::check_host(&what, needed, "fewer labels, or `msn eval linear`, which learns from any number")
}

/// Labelled images: in folders named after their classes, or with labels in a file.
pub(crate) struct LabelledImages {
    pub(crate) dataset: Arc<dyn Dataset>,
    /// Class of each image.
    pub(crate) labels: Vec<String>,
}

impl LabelledImages {
    /// The images to learn from and those to test on, with their classes.
    pub(crate) fn open_both(labelled: &LabelledData) -> anyhow::Result<[Self; 2]> {
        let LabelledData { train, test, images } = labelled;
        warn_of_shared_images(train, test);
        let Some(images_path) = images else {
            return Self::checked(train, [Self::open(train)?, Self::open(test)?]);
        };
        if !is_csv(train) && !is_csv(test) {
            return Err(wrong_arguments(anyhow!(
                "--images: expected a .csv as --train or --test, whose images it has, found {} and {}",
                train.display(),
                test.display()
            )));
        }
        let images = msn_data::open(images_path)?;
        let open = |path: &Path| match is_csv(path) {
            true => Self::of(Arc::new(LabelFile::open(path, images_path, images.clone())?)),
            false => Self::open(path),
        };
        Self::checked(train, [open(train)?, open(test)?])
    }

    /// Fails where the images to learn from have one class, as in a folder of a folder: every result would be perfect.
    fn checked(path: &Path, images: [Self; 2]) -> anyhow::Result<[Self; 2]> {
        let classes = images[0].classes();
        if let [class] = classes.names() {
            bail!(
                "{}: expected labelled images of two classes or more, found `{class}` alone: a class is the folder that an \
                 image lies in, or its label in the file that lists it",
                path.display()
            );
        }
        Ok(images)
    }

    /// Opens `path`, whose images have classes.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let images = Self::of(msn_data::open(path)?)?;
        check_listed(path, &*images.dataset)?;
        warn_of_shared_names(&*images.dataset);
        Ok(images)
    }

    /// Reads the classes of all images.
    fn of(dataset: Arc<dyn Dataset>) -> anyhow::Result<Self> {
        let label = |index: usize| {
            dataset.label(index).map(ToOwned::to_owned).with_context(|| {
                let name = dataset.name(index);
                format!(
                    "{}: {name}: expected an image with a class: in a folder named after it (CLASS/NAME.jpg), or with a \
                     label in the file that lists it; found none",
                    dataset.path().display()
                )
            })
        };
        let labels = (0..dataset.len()).map(label).collect::<anyhow::Result<_>>()?;
        Ok(Self { dataset, labels })
    }

    /// The table of their classes.
    pub(crate) fn classes(&self) -> Classes {
        Classes::of(&self.labels)
    }

    /// Fails at the first image whose class is not among those of `train`, the labels of images in `path`.
    pub(crate) fn check_classes(&self, train: &[String], path: &Path) -> anyhow::Result<()> {
        let known: BTreeSet<&String> = train.iter().collect();
        match self.labels.iter().position(|label| !known.contains(label)) {
            None => Ok(()),
            Some(image) => bail!(
                "{}: {}: expected one of the {} classes that are labelled in {}, found class `{}`",
                self.dataset.path().display(),
                self.dataset.name(image),
                known.len(),
                path.display(),
                self.labels[image]
            ),
        }
    }

    /// Features of the images of `indices`, ascending, without those that cannot be read.
    pub(crate) fn features(
        &self,
        extractor: &Extractor,
        indices: &[usize],
        what: &'static str,
    ) -> anyhow::Result<LabelledRows> {
        let FeatureRows { images, features, skipped, .. } = rows(extractor, &*self.dataset, indices, what)?;
        let labels = images.iter().map(|&image| self.labels[image].clone()).collect();
        Ok(LabelledRows { labelled: Labelled::new(features, labels)?, images, skipped })
    }

    /// Features of all images that can be read.
    pub(crate) fn all_features(
        &self,
        extractor: &Extractor,
        what: &'static str,
    ) -> anyhow::Result<LabelledRows> {
        let all: Vec<usize> = (0..self.labels.len()).collect();
        self.features(extractor, &all, what)
    }
}

/// Fails at the first line of a list with labels that names no file: a wrong path is a mistake in the list, where a
/// file that cannot be decoded is one broken image among others.
fn check_listed(path: &Path, dataset: &dyn Dataset) -> anyhow::Result<()> {
    if !is_csv(path) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let missing = (0..dataset.len()).find(|&image| !folder.join(dataset.name(image)).is_file());
    match missing {
        None => Ok(()),
        Some(image) => bail!(
            "{}: expected the paths of images, relative to its folder, absolute, or of images in --images, found `{}`, \
             which names no file",
            path.display(),
            dataset.name(image)
        ),
    }
}

/// Warns where test images are trained on, as far as the paths tell.
fn warn_of_shared_images(train: &Path, test: &Path) {
    let (Ok(trained), Ok(tested)) = (train.canonicalize(), test.canonicalize()) else { return };
    // A list or an archive in a folder need not be of its images.
    let lies_in = |inner: &Path, outer: &Path| inner.is_dir() && inner.starts_with(outer);
    let (train, test) = (train.display(), test.display());
    if trained == tested {
        warn(&format!(
            "{train}: --train and --test are the same images: the accuracy says nothing of others"
        ));
    } else if lies_in(&tested, &trained) {
        warn(&format!(
            "--train {train} has the images of --test {test} among its own, which are trained on with their labels: the \
             accuracy says nothing of others; give a folder beside it"
        ));
    } else if lies_in(&trained, &tested) {
        warn(&format!(
            "--test {test} has the images of --train {train} among its own, which count in the accuracy although they were \
             trained on; give a folder beside it"
        ));
    }
}

fn is_csv(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

/// Features and labels of the images that can be read.
pub(crate) struct LabelledRows {
    pub(crate) labelled: Labelled,
    /// The images that cannot be read.
    pub(crate) skipped: Vec<Skipped>,
    /// The image of each row, ascending.
    pub(crate) images: Vec<usize>,
}

impl LabelledRows {
    /// Rows of these images; `None` if one has none.
    pub(crate) fn rows_of(&self, images: &[usize]) -> Option<Vec<usize>> {
        images.iter().map(|image| self.images.binary_search(image).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Elsewhere the memory of the machine is not known.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_regression_that_the_machine_cannot_hold_is_refused() {
        let check = |images| check_regression(Path::new("few.csv"), images, 384, 10);
        check(1000).unwrap();
        let message = check(1 << 40).unwrap_err().to_string();
        assert!(message.starts_with("few.csv: ") && message.contains("msn eval linear"), "{message}");
    }

    #[test]
    fn results_belong_to_the_run_of_the_checkpoint() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().canonicalize().unwrap().join("run");
        let run = msn_store::RunDir::create(&path).unwrap();
        run.write_config("").unwrap();
        let checkpoint = msn_store::Checkpoint { step: 7, parts: Default::default(), state: 0.into() };
        let step = run.checkpoints().save(&checkpoint, &Default::default()).unwrap();
        let (run, step) = (path.display().to_string(), step.display().to_string());
        let expect = |suffix: &str| Some((path.clone(), suffix.to_owned()));
        assert_eq!(run_of(&run), expect(""));
        assert_eq!(run_of(&step), expect("-step-7"));
        assert_eq!(run_of(&format!("untrained:{run}")), expect("-untrained"));
        assert_eq!(run_of(&format!("untrained:{step}")), expect("-untrained"));
        assert_eq!(run_of("raw-pixels"), None);
        assert_eq!(run_of(&scratch.path().display().to_string()), None);
    }
}
