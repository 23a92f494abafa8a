//! Fine-tuning a small encoder on images whose classes can be seen.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use msn_data::{Dataset, Limits, Normalization};
use msn_eval::{
    Error, ExtractError, FineTune, FineTuneObserver, FineTuneRun, FineTuneStart, FineTuneStep, FineTuned,
    ImageSet, Origin, SavedEncoder, Weights,
};
use msn_model::{EncoderConfig, Features, View, load_state, state_dict};
use msn_store::{KeepPolicy, RunDir, StoreError};
use msn_train::Config;
use msn_train::config::PrecisionSetting;

use crate::common::images;

const DEPTH: usize = 3;

/// An encoder of 8 px images with the weights that training starts from.
fn saved() -> SavedEncoder {
    let config = EncoderConfig {
        variant: String::new(),
        image_size: 8,
        patch_size: 4,
        dim: 16,
        depth: DEPTH,
        heads: 2,
        init_std: 0.2,
        patch_std: 0.02,
        ..EncoderConfig::default()
    };
    let encoder = config.init(None, 3, &Device::flex()).expect("valid");
    SavedEncoder {
        origin: Origin { folder: "made here".into(), step: None },
        weights: state_dict(&encoder),
        classifier: None,
        config,
        seed: 3,
        normalization: Normalization::default(),
        limits: Limits::default(),
        rejected: Vec::new(),
        notes: Vec::new(),
    }
}

/// Looks on, and counts.
#[derive(Default)]
struct Watch {
    start: Option<FineTuneStart>,
    rates: Vec<f64>,
    tested: usize,
    /// Steps after which to stop; 0 for never.
    stop_after: usize,
    /// Steps after which to end as a process that is killed does; 0 for never.
    killed_after: usize,
    /// Steps from one checkpoint to the next; 0 for none.
    save_every: usize,
    saved_at: Option<Instant>,
    /// A file in the place of the folder of checkpoints, from the start until the last checkpoint waits.
    obstacle: Option<PathBuf>,
    warnings: Vec<String>,
}

impl FineTuneObserver for Watch {
    fn start(&mut self, start: &FineTuneStart) {
        self.start = Some(start.clone());
        if let Some(obstacle) = &self.obstacle {
            std::fs::write(obstacle, "a file, where a folder is expected").unwrap();
        }
    }
    fn step(&mut self, step: &FineTuneStep) {
        let done = self.start.as_ref().map_or(0, |start| start.done);
        assert_eq!(step.step, done + self.rates.len() as u64 + 1);
        self.rates.push(step.lr);
        if self.rates.len() == self.killed_after {
            resume_unwind(Box::new("killed"));
        }
    }
    fn warn(&mut self, message: &str) {
        assert!(self.obstacle.is_some(), "{message}");
        self.warnings.push(message.to_owned());
    }
    fn wants_to_save(&mut self, since: Duration) -> bool {
        assert!(
            self.saved_at.is_none_or(|saved_at| since <= saved_at.elapsed()),
            "{since:?} is not since then"
        );
        let due = self.save_every > 0 && self.rates.len().is_multiple_of(self.save_every);
        self.saved_at = if due { Some(Instant::now()) } else { self.saved_at };
        due
    }
    fn waits_to_save(&mut self, step: u64, error: &StoreError) -> bool {
        let obstacle = self.obstacle.as_ref().unwrap_or_else(|| panic!("{error}"));
        assert_eq!(step, self.rates.len() as u64);
        std::fs::remove_file(obstacle).is_ok()
    }
    fn wants_to_stop(&mut self) -> bool {
        self.rates.len() == self.stop_after
    }
    fn saved(&mut self, folder: &Path) {
        assert!(folder.join("classifier.safetensors").is_file(), "{}", folder.display());
    }
    fn tested(&mut self, done: usize, images: usize) {
        assert!(done > self.tested && done <= images);
        self.tested = done;
    }
}

/// Ten images of each class to train on, four to test on.
fn sets() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    images(&scratch.path().join("train"), 10);
    images(&scratch.path().join("test"), 4);
    scratch
}

fn run(settings: &FineTune, folder: &Path, watch: &mut Watch) -> Result<FineTuned, ExtractError> {
    run_in(None, settings, folder, watch).map(|tuned| tuned.expect("not stopped"))
}

fn run_in(
    run: Option<FineTuneRun<'_>>,
    settings: &FineTune,
    folder: &Path,
    watch: &mut Watch,
) -> Result<Option<FineTuned>, ExtractError> {
    run_on(run, settings, [&folder.join("train"), &folder.join("test")], watch)
}

fn run_on(
    run: Option<FineTuneRun<'_>>,
    settings: &FineTune,
    sets: [&Path; 2],
    watch: &mut Watch,
) -> Result<Option<FineTuned>, ExtractError> {
    run_from(saved(), run, settings, sets, watch)
}

fn run_from(
    saved: SavedEncoder,
    run: Option<FineTuneRun<'_>>,
    settings: &FineTune,
    sets: [&Path; 2],
    watch: &mut Watch,
) -> Result<Option<FineTuned>, ExtractError> {
    let [train, test] = sets.map(|path| msn_data::open(path).unwrap());
    let labels = |dataset: &dyn Dataset| -> Vec<String> {
        (0..dataset.len()).map(|i| dataset.label(i).expect("in a folder").to_owned()).collect()
    };
    let (train_labels, test_labels) = (labels(&*train), labels(&*test));
    let (train_images, test_images): (Vec<usize>, Vec<usize>) =
        ((0..train.len()).collect(), (0..test.len()).collect());
    settings.run(
        (saved, Weights::Pretrained),
        ImageSet { dataset: &*train, labels: &train_labels, images: &train_images },
        ImageSet { dataset: &*test, labels: &test_labels, images: &test_images },
        &Device::flex(),
        run,
        watch,
    )
}

fn settings() -> FineTune {
    let few = FineTune::recipe(30, 8);
    // One rate for all layers, since the weights below are no better than those above; crops that keep the red half.
    let crops = FineTune { least_area: 0.6, rand_augment: 0.0, mixup: 0.0, cutmix: 0.0, ..few };
    FineTune { epochs: 30, batch_size: 7, lr: 0.1, layer_decay: 1.0, ..crops }
}

#[test]
fn classes_that_can_be_seen_are_learned_with_one_step_for_each_whole_batch() {
    let scratch = sets();
    // So many that a few near a border, which fall on either side by rounding, do not matter; those to train on are among
    // them.
    images(&scratch.path().join("test"), 40);
    let mut watch = Watch::default();
    let tuned = run(&settings(), scratch.path(), &mut watch).unwrap();
    let report = &tuned.report;
    assert_eq!((report.classes, report.train_images, report.test_images), (3, 30, 120));
    // Chance is a third.
    assert!(report.top1 > 90.0 && report.top5 == 100.0, "{report:?}");
    assert!(report.losses[29] < 0.6 * report.losses[0], "{:?}", report.losses);
    // 30 images are four batches of seven.
    assert_eq!((report.steps, watch.tested), (120, 120));
    let start = watch.start.expect("told");
    assert_eq!((start.steps_per_epoch, start.epochs, start.batch_size), (4, 30, 7));
    assert_eq!(start.parameters, start.trained_parameters);
    // A straight line over 5% of the steps to 0.1 * 7 / 256, then down.
    let peak = 0.1 * 7.0 / 256.0;
    assert!((watch.rates[0] - peak / 6.0).abs() < 1e-12, "{:?}", &watch.rates[..8]);
    assert!((watch.rates[5] - peak).abs() < 1e-12, "{:?}", &watch.rates[..8]);
    assert!(watch.rates[6..].is_sorted_by(|a, b| a >= b) && watch.rates[119] < 1e-3 * peak);
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    let scratch = sets();
    let FineTune { rand_augment, mixup, cutmix, .. } = FineTune::RECIPE;
    let short = FineTune { epochs: 2, rand_augment, mixup, cutmix, ..settings() };
    let on = |threads: usize, settings: &FineTune| {
        let tuned =
            crate::common::with_threads(threads, || run(settings, scratch.path(), &mut Watch::default()));
        tuned.map(|tuned| (tuned.weights, tuned.head, tuned.report)).unwrap()
    };
    let alone = on(1, &short);
    assert_eq!(on(3, &short), alone);
    assert_eq!(on(1, &FineTune { grad_checkpointing: true, ..short.clone() }), alone);
    assert_ne!(on(1, &FineTune { seed: 1, ..short }).0, alone.0);
}

#[test]
fn every_setting_that_is_to_decide_on_the_weights_does() {
    let scratch = sets();
    // All is in use, and one epoch is six steps.
    let FineTune { mixup, cutmix, layer_decay, rand_augment, .. } = FineTune::RECIPE;
    let precision = PrecisionSetting::F32;
    let all = FineTune { mixup, cutmix, layer_decay, rand_augment, ema: 0.9, precision, ..settings() };
    let all = FineTune { epochs: 1, batch_size: 5, clip_grad: 10.0, ..all };
    let weights = |settings: &FineTune| {
        let tuned = run(settings, scratch.path(), &mut Watch::default()).unwrap();
        (tuned.weights, tuned.head)
    };
    let before = weights(&all);
    let fields = |settings: &FineTune| match serde_json::to_value(settings) {
        Ok(serde_json::Value::Object(fields)) => fields,
        other => panic!("a struct, found {other:?}"),
    };
    let mut untried: BTreeSet<String> = fields(&all).keys().cloned().collect();
    for changed in [
        FineTune { partial: Some(2), ..all.clone() },
        FineTune { epochs: 2, ..all.clone() },
        FineTune { batch_size: 6, ..all.clone() },
        FineTune { lr: 0.11, ..all.clone() },
        FineTune { final_lr: 0.01, ..all.clone() },
        FineTune { warmup: 0.5, ..all.clone() },
        FineTune { layer_decay: 0.7, ..all.clone() },
        FineTune { weight_decay: 0.1, ..all.clone() },
        FineTune { clip_grad: 0.01, ..all.clone() },
        FineTune { drop_path: 0.3, ..all.clone() },
        FineTune { smoothing: 0.2, ..all.clone() },
        FineTune { least_area: 0.7, ..all.clone() },
        FineTune { flip: 0.0, ..all.clone() },
        FineTune { rotation: 0.75, ..all.clone() },
        FineTune { rand_augment: 5.0, ..all.clone() },
        FineTune { erasing: 0.5, ..all.clone() },
        FineTune { mixup: 0.4, ..all.clone() },
        FineTune { cutmix: 0.5, ..all.clone() },
        FineTune { ema: 0.0, ..all.clone() },
        FineTune { precision: PrecisionSetting::Bf16, ..all.clone() },
        FineTune { seed: 1, ..all.clone() },
    ] {
        let (old, new) = (fields(&all), fields(&changed));
        let differing: Vec<&String> = old.keys().filter(|field| old[*field] != new[*field]).collect();
        assert_eq!(differing.len(), 1, "{differing:?}");
        assert_ne!(weights(&changed), before, "{differing:?}");
        untried.remove(differing[0]);
    }
    assert_eq!(Vec::from_iter(untried), ["grad_checkpointing"], "it must not");
}

#[test]
fn a_layer_moves_less_than_the_one_above_it_by_the_layer_decay() {
    let scratch = sets();
    let two_steps = FineTune { epochs: 1, batch_size: 15, lr: 0.1, final_lr: 0.1, ema: 0.0, ..settings() };
    let alike = FineTune { weight_decay: 0.0, drop_path: 0.0, precision: PrecisionSetting::F32, ..two_steps };
    let settings = FineTune { layer_decay: 0.5, ..alike };
    let mut watch = Watch::default();
    let tuned = run(&settings, scratch.path(), &mut watch).unwrap();
    // The head of zeros gives the encoder no gradient in the first of the two steps. In the second Adam divides its first
    // moment, 0.1 g / (1 - 0.9^2), by the root of the second, 0.001 g^2 / (1 - 0.999^2).
    let adam = (0.1 / 0.19) / (0.001 / 0.001_999_f64).sqrt();
    let before = saved().weights;
    for (layer, prefix) in ["patch_embed.", "blocks.0.", "blocks.1.", "blocks.2.", "norm."].iter().enumerate()
    {
        let of_layer = before.iter().filter(|(name, _)| name.starts_with(prefix));
        let moves = of_layer.flat_map(|(name, array)| {
            let pairs = array.data.iter().zip(&tuned.weights[name].data);
            pairs.map(|(old, new)| f64::from((new - old).abs()))
        });
        let furthest = moves.fold(0.0, f64::max);
        let expected = watch.rates[1] * adam * 0.5f64.powi(DEPTH as i32 + 1 - layer as i32);
        // Rounding of a weight of 1 in f32 against a move of a thousandth, and Adam's epsilon.
        assert!((furthest / expected - 1.0).abs() < 1e-3, "{prefix}: {furthest}, expected {expected}");
    }
}

#[test]
fn what_is_frozen_keeps_every_bit_and_the_rest_moves() {
    let scratch = sets();
    let before = saved().weights;
    // The key bias has no gradient, as in pre-training, and biases have no decay; all else has something to learn.
    for (partial, trained) in [
        (Some(0), &[][..]),
        (Some(1), &["norm.", "blocks.2."]),
        (Some(2), &["norm.", "blocks.2.", "blocks.1."]),
    ] {
        for ema in [0.0, 0.9] {
            let settings = FineTune { partial, ema, epochs: 2, ..settings() };
            let mut watch = Watch::default();
            let tuned = run(&settings, scratch.path(), &mut watch).unwrap();
            for (name, array) in &tuned.weights {
                let moves = trained.iter().any(|prefix| name.starts_with(prefix));
                assert_eq!(array != &before[name], moves, "{name} with {partial:?} and {ema}");
            }
            assert!(tuned.head.weight.data.iter().any(|&weight| weight != 0.0));
            let start = watch.start.expect("told");
            let count: usize = before
                .iter()
                .filter(|(name, _)| trained.iter().any(|prefix| name.starts_with(prefix)))
                .map(|(_, array)| array.data.len())
                .sum();
            assert_eq!(start.trained_parameters, count + 3 * 16 + 3);
        }
    }
}

#[test]
fn without_an_average_the_weights_of_the_last_step_are_tested() {
    let scratch = sets();
    let one = FineTune { epochs: 1, batch_size: 30, warmup: 1.0, ..settings() };
    let tuned = |ema| run(&FineTune { ema, ..one.clone() }, scratch.path(), &mut Watch::default()).unwrap();
    let (weights, average) = (tuned(0.0), tuned(0.9999));
    // The first step keeps (1 + 0) / (10 + 0) of the head of zeros.
    for (weight, average) in weights.head.weight.data.iter().zip(&average.head.weight.data) {
        assert!((average - 0.9 * weight).abs() <= 1e-6 * weight.abs(), "{average}, expected 0.9 of {weight}");
    }
}

#[test]
fn a_training_that_was_stopped_goes_on_with_the_same_bits() {
    let scratch = sets();
    let FineTune { rand_augment, mixup, cutmix, .. } = FineTune::RECIPE;
    // Of batches of one image each, seven do not come; an epoch is 23 steps then, and four in batches of seven.
    for broken in ["0", "1", "2", "3", "4", "5", "6"] {
        std::fs::write(scratch.path().join(format!("train/class0/0{broken}.png")), "no image").unwrap();
    }
    for (batch_size, partial, ema, stops) in [(7, None, 0.9, [3, 4]), (1, Some(1), 0.0, [3, 23])] {
        let settings =
            FineTune { epochs: 2, batch_size, rand_augment, mixup, cutmix, partial, ema, ..settings() };
        let whole = run(&settings, scratch.path(), &mut Watch::default()).unwrap();
        assert_eq!(whole.report.steps, 2 * stops[1] as u64);
        // Within an epoch, and after its last step.
        for stop_after in stops {
            let folder = tempfile::tempdir().unwrap();
            let (folder, config) = (RunDir::create(folder.path()).unwrap(), Config::default());
            let kept = Some(FineTuneRun { folder: &folder, config: &config });
            let mut watch = Watch { stop_after, ..Watch::default() };
            assert!(run_in(kept, &settings, scratch.path(), &mut watch).unwrap().is_none());

            let other = FineTune { lr: 0.2, ..settings.clone() };
            let refused =
                run_in(kept, &other, scratch.path(), &mut Watch::default()).unwrap_err().to_string();
            assert!(refused.contains("started with settings.lr = 0.1, found 0.2"), "{refused}");

            // Where activations come from may change, as on a machine with less memory.
            let now = FineTune { grad_checkpointing: true, ..settings.clone() };
            let mut watch = Watch::default();
            let resumed = run_in(kept, &now, scratch.path(), &mut watch).unwrap().expect("finished");
            assert_eq!(watch.start.expect("told").done, stop_after as u64);
            assert_eq!((resumed.weights, &resumed.head), (whole.weights.clone(), &whole.head));
            assert_eq!((&resumed.report, &resumed.skipped), (&whole.report, &whole.skipped));

            // A finished one is tested once more.
            let mut watch = Watch::default();
            let again = run_in(kept, &settings, scratch.path(), &mut watch).unwrap().expect("finished");
            assert_eq!((again.report, watch.rates.len()), (resumed.report, 0));
        }
    }
}

/// Two epochs of four steps each, and what comes of them.
fn eight_steps(folder: &Path) -> (FineTune, FineTuned) {
    let FineTune { rand_augment, mixup, cutmix, .. } = FineTune::RECIPE;
    let settings = FineTune { epochs: 2, rand_augment, mixup, cutmix, ema: 0.9, ..settings() };
    let whole = run(&settings, folder, &mut Watch::default()).unwrap();
    assert_eq!(whole.report.steps, 8);
    (settings, whole)
}

#[test]
fn a_training_that_was_killed_goes_on_from_its_last_checkpoint_with_the_same_bits() {
    let scratch = sets();
    let (settings, whole) = eight_steps(scratch.path());
    // From within the first epoch and from within the second one.
    for (killed_after, last) in [(5, 3), (7, 6)] {
        let (folder, config) = (tempfile::tempdir().unwrap(), Config::default());
        let mut watch = Watch { save_every: 3, killed_after, ..Watch::default() };
        let killed = catch_unwind(AssertUnwindSafe(|| {
            let folder = RunDir::create(folder.path()).unwrap();
            let kept = Some(FineTuneRun { folder: &folder, config: &config });
            run_in(kept, &settings, scratch.path(), &mut watch).map(|_| ())
        }));
        assert_eq!(killed.unwrap_err().downcast_ref(), Some(&"killed"));

        let folder = RunDir::resume(folder.path()).unwrap();
        let kept = Some(FineTuneRun { folder: &folder, config: &config });
        let mut watch = Watch::default();
        let resumed = run_in(kept, &settings, scratch.path(), &mut watch).unwrap().expect("finished");
        assert_eq!(watch.start.expect("told").done, last);
        assert_eq!((resumed.weights, resumed.head), (whole.weights.clone(), whole.head.clone()));
        assert_eq!(resumed.report, whole.report);
    }
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_a_warning_unless_it_is_the_last_which_waits() {
    let scratch = sets();
    let (settings, whole) = eight_steps(scratch.path());
    let folder = tempfile::tempdir().unwrap();
    let obstacle = Some(folder.path().join("checkpoints"));
    let (folder, config) = (RunDir::create(folder.path()).unwrap(), Config::default());
    let kept = Some(FineTuneRun { folder: &folder, config: &config });
    let mut watch = Watch { save_every: 3, obstacle, ..Watch::default() };
    let tuned = run_in(kept, &settings, scratch.path(), &mut watch).unwrap().expect("finished");
    assert_eq!((tuned.weights, tuned.head), (whole.weights, whole.head));
    let begins = |step| format!("no checkpoint of step {step}: ");
    let warnings = &watch.warnings;
    assert!(warnings.len() == 2 && warnings[0].starts_with(&begins(3)), "{warnings:?}");
    assert!(warnings[1].starts_with(&begins(6)), "{warnings:?}");
    assert_eq!(folder.checkpoints().steps().unwrap(), [8]);
}

#[test]
fn a_checkpoint_is_due_every_ten_minutes() {
    /// An observer that leaves that as it is.
    struct Indifferent;
    impl FineTuneObserver for Indifferent {
        fn start(&mut self, _: &FineTuneStart) {}
        fn step(&mut self, _: &FineTuneStep) {}
        fn warn(&mut self, _: &str) {}
        fn wants_to_stop(&mut self) -> bool {
            false
        }
        fn saved(&mut self, _: &Path) {}
        fn tested(&mut self, _: usize, _: usize) {}
    }
    assert_eq!([599, 600].map(|s| Indifferent.wants_to_save(Duration::from_secs(s))), [false, true]);
}

#[test]
fn a_training_that_was_stopped_does_not_go_on_with_other_labels() {
    let scratch = sets();
    let (list, test) = (scratch.path().join("train.csv"), scratch.path().join("test"));
    let label_the_first = |class: &str| {
        let line = |n: u32| {
            let label = if n == 0 { class.to_owned() } else { format!("class{}", n % 3) };
            format!("train/class{}/{:02}.png,{label}\n", n % 3, n / 3)
        };
        let lines: String = (0..30).map(line).collect();
        std::fs::write(&list, format!("path,label\n{lines}")).unwrap();
    };
    let folder = tempfile::tempdir().unwrap();
    let (folder, config) = (RunDir::create(folder.path()).unwrap(), Config::default());
    let kept = Some(FineTuneRun { folder: &folder, config: &config });
    label_the_first("class0");
    let mut watch = Watch { stop_after: 2, ..Watch::default() };
    assert!(run_on(kept, &settings(), [&list, &test], &mut watch).unwrap().is_none());
    label_the_first("class1");
    let refused = run_on(kept, &settings(), [&list, &test], &mut Watch::default()).unwrap_err().to_string();
    assert!(refused.contains("started with labels = "), "{refused}");
}

/// The encoder of [`saved`], as if it had been read in this folder.
fn saved_in(folder: impl Into<PathBuf>) -> SavedEncoder {
    SavedEncoder { origin: Origin { folder: folder.into(), step: Some(7) }, ..saved() }
}

/// A training of two epochs that was stopped after two steps.
struct Stopped {
    images: tempfile::TempDir,
    folder: RunDir,
    /// Where the folder is.
    _scratch: tempfile::TempDir,
}

impl Stopped {
    /// From the encoder in `runs/one`.
    fn after_two_steps() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let folder = RunDir::create(scratch.path()).unwrap();
        let stopped = Self { images: sets(), folder, _scratch: scratch };
        let mut watch = Watch { stop_after: 2, ..Watch::default() };
        assert!(stopped.go_on(saved_in("runs/one"), &mut watch).unwrap().is_none());
        stopped
    }

    fn go_on(&self, saved: SavedEncoder, watch: &mut Watch) -> Result<Option<FineTuned>, ExtractError> {
        let [train, test] = ["train", "test"].map(|set| self.images.path().join(set));
        let short = FineTune { epochs: 2, ..settings() };
        let run = FineTuneRun { folder: &self.folder, config: &Config::default() };
        run_from(saved, Some(run), &short, [&train, &test], watch)
    }
}

#[test]
fn a_training_that_was_stopped_goes_on_with_the_same_encoder_wherever_it_is_and_with_no_other() {
    let stopped = Stopped::after_two_steps();

    let mut other = saved_in("runs/one");
    other.weights.get_mut("norm.bias").unwrap().data[0] += 0.5;
    let refused = stopped.go_on(other, &mut Watch::default()).unwrap_err().to_string();
    assert!(refused.contains("started with weights = \"digest "), "{refused}");
    let mut other = saved_in("runs/one");
    other.normalization.mean[0] = 0.25;
    let refused = stopped.go_on(other, &mut Watch::default()).unwrap_err().to_string();
    assert!(refused.contains("started with normalization = \"mean [0.485, "), "{refused}");
    let other = SavedEncoder { config: EncoderConfig { heads: 4, ..saved().config }, ..saved_in("runs/one") };
    let refused = stopped.go_on(other, &mut Watch::default()).unwrap_err().to_string();
    assert!(refused.contains("started with heads = 2, found 4"), "{refused}");

    let mut watch = Watch { stop_after: 1, ..Watch::default() };
    assert!(stopped.go_on(saved_in("/elsewhere/one"), &mut watch).unwrap().is_none());
    assert_eq!(watch.start.expect("told").done, 2);
    // A path that is no text.
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let mut watch = Watch { stop_after: 1, ..Watch::default() };
        let place = std::ffi::OsStr::from_bytes(b"runs/\xff");
        assert!(stopped.go_on(saved_in(place), &mut watch).unwrap().is_none());
        assert_eq!(watch.start.expect("told").done, 3);
    }
}

#[test]
fn a_training_from_before_weights_had_a_digest_goes_on_with_the_encoder_of_the_same_folder() {
    let stopped = Stopped::after_two_steps();

    let mut checkpoint = stopped.folder.checkpoints().load_newest().unwrap().checkpoint;
    let of = checkpoint.state["finetune"]["of"].as_object_mut().unwrap();
    of.retain(|field, _| !["weights", "heads", "normalization"].contains(&field.as_str()));
    for (field, value) in [("encoder", "runs/one".into()), ("step", 7.into()), ("untrained", false.into())] {
        of.insert(field.to_owned(), value);
    }
    stopped.folder.checkpoints().save(&checkpoint, &KeepPolicy::default()).unwrap();

    let refused = stopped.go_on(saved_in("runs/two"), &mut Watch::default()).unwrap_err().to_string();
    assert!(refused.contains("started with encoder = \"runs/one\", found \"runs/two\""), "{refused}");
    let mut watch = Watch { stop_after: 1, ..Watch::default() };
    assert!(stopped.go_on(saved_in("runs/one"), &mut watch).unwrap().is_none());
    assert_eq!(watch.start.expect("told").done, 2);
    // From here on it is told by its weights.
    let mut watch = Watch { stop_after: 1, ..Watch::default() };
    assert!(stopped.go_on(saved_in("runs/two"), &mut watch).unwrap().is_none());
    assert_eq!(watch.start.expect("told").done, 3);
}

#[test]
fn a_loss_that_is_no_number_ends_with_what_to_do() {
    let scratch = sets();
    let error = run(&FineTune { lr: 1e30, ..settings() }, scratch.path(), &mut Watch::default()).unwrap_err();
    assert!(matches!(error, ExtractError::Evaluation(Error::Diverged { .. })), "{error}");
    let message = error.to_string();
    assert!(message.contains("in epoch 1") && message.contains("A lower --lr"), "{message}");
}

#[test]
fn a_last_step_that_spoils_the_weights_is_told_by_the_logits_of_a_class() {
    let scratch = sets();
    // One step: its loss is that of the head of zeros, and nothing but the test sees what it leaves.
    let one = FineTune { epochs: 1, batch_size: 30, warmup: 1.0, ema: 0.0, lr: 1e30, ..settings() };
    let error = run(&one, scratch.path(), &mut Watch::default()).unwrap_err();
    let ExtractError::NotFiniteLogit { image, class, found, .. } = &error else { panic!("{error}") };
    assert_eq!((image.as_str(), class.as_str(), found.is_finite()), ("class0/00.png", "class0", false));
    let message = error.to_string();
    assert!(message.contains("logits") && !message.contains("column"), "{message}");
}

#[test]
fn wrong_settings_and_labels_are_named() {
    let scratch = sets();
    let settings = FineTune { partial: Some(DEPTH + 1), ..settings() };
    let error = run(&settings, scratch.path(), &mut Watch::default()).unwrap_err().to_string();
    assert_eq!(error, "partial: expected at most 3, the blocks of the encoder, found 4");
    std::fs::rename(scratch.path().join("test/class0"), scratch.path().join("test/other")).unwrap();
    let unseen = run(&self::settings(), scratch.path(), &mut Watch::default()).unwrap_err().to_string();
    let expected = "other/00.png: expected one of the 3 classes of the training images, found class `other`";
    assert_eq!(unseen, format!("{}: {expected}", scratch.path().join("test").display()));
}

#[test]
fn resized_positions_give_the_features_that_the_encoder_has_for_that_size() {
    let device = Device::flex();
    let features = |saved: SavedEncoder| {
        let encoder = saved.config.init(None, 0, &device).unwrap();
        let encoder = load_state(encoder, saved.weights).unwrap();
        let pixels: Vec<f32> = (0..3 * 16 * 16).map(|i| (i * 7919 % 1013) as f32 / 506.5 - 1.0).collect();
        let view = View::new(&pixels, 1, 16, 4, None, &device);
        encoder.features(&[view], Features::AfterNorm).into_data().try_to_vec::<f32>().unwrap()
    };
    // Positions of 2 x 2 patches, interpolated for a view of 4 x 4 in its forward pass.
    let expected = features(saved());
    let resized = saved().with_image_size(16).unwrap();
    assert_eq!(resized.config.image_size, 16);
    for (found, expected) in features(resized).into_iter().zip(expected) {
        // Sums of four numbers in another order.
        assert!((found - expected).abs() < 1e-5, "{found}, expected {expected}");
    }
    let message = saved().with_image_size(10).unwrap_err().to_string();
    assert!(message.contains("encoder.image_size") && message.contains("10"), "{message}");
    // A checkpoint whose positions are those of another size than it says.
    let mut other = saved();
    other.config.image_size = 12;
    let message = other.with_image_size(16).unwrap_err().to_string();
    assert!(message.contains("`pos_embed`") && message.contains("[1, 10, 16]"), "{message}");
}
