//! Whole small trainings through the library.

use std::fs;
#[cfg(target_os = "linux")]
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};

use burn::tensor::Device;
use msn_data::Dataset;
use msn_store::RunDir;
use msn_train::{Ending, Error, Observer, Progress, Start};

use crate::tiny::{Seen, Stripes, config, new_run, run, run_on};

fn all_weights_are_finite(checkpoint: &std::path::Path) -> bool {
    let checkpoint = msn_store::Checkpoint::read(checkpoint).expect("whole");
    checkpoint
        .parts
        .values()
        .flat_map(|part| part.values())
        .flat_map(|array| &array.data)
        .all(|x| x.is_finite())
}

#[test]
fn a_run_that_collapses_warns_and_goes_on() {
    let scratch = tempfile::tempdir().expect("a folder");
    // Nothing keeps the assignments apart: no me-max, no balancing, no batch norm.
    let collapsing =
        ["objective.memax_weight=0", "objective.sinkhorn=false", "head.batch_norm=false", "optim.epochs=60"];
    let (outcome, seen) = run(&config(&collapsing), &new_run(scratch.path()), |_| ());
    assert_eq!(outcome.expect("collapse ends no run").ending, Ending::Finished);
    let first = seen.warnings.first().expect("a warning");
    assert!(first.contains("this looks like a collapse: "), "{first}");
    // 360 logged steps, of which the first hundred are left in peace.
    assert!(seen.warnings.len() <= 4, "{:#?}", seen.warnings);
}

#[test]
fn a_healthy_run_raises_no_warning() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (outcome, seen) = run(&config(&["optim.epochs=60"]), &new_run(scratch.path()), |_| ());
    outcome.expect("finishes");
    assert_eq!(seen.warnings, [""; 0]);
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_with_step_losses_and_last_good_checkpoint() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = new_run(scratch.path());
    // Weights of 1e30 have products that f32 does not hold.
    let warmup = ["optim.lr=1e30", "optim.start_lr=1e-3", "optim.warmup_epochs=1.0", "optim.epochs=3"];
    let (outcome, seen) = run(&config(&warmup), &folder, |_| ());
    let error = outcome.expect_err("diverges");
    let Error::Diverged { step, last, checkpoint, .. } = &error else { panic!("{error}") };
    assert_eq!((*step, &last[..]), (1 + seen.losses.len() as u64, &seen.losses[..]));
    assert_eq!(*checkpoint, None);
    let message = error.to_string();
    for part in
        [&format!("step {step}: "), &format!("{:.4}", seen.losses[0]), "optim.lr", "no checkpoint was saved"]
    {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_checkpoint_with_broken_weights_never_replaces_a_good_one() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = new_run(scratch.path());
    let good = ["optim.epochs=2", "train.keep_last=1"];
    let (outcome, _) = run(&config(&good), &folder, |_| ());
    let last_good = outcome.expect("trains").checkpoint.expect("saved");
    // From here on the first update breaks all weights, while its loss is still a number.
    let bad = ["optim.epochs=4", "train.keep_last=1", "train.checkpoint_minutes=1e-9", "optim.lr=1e39"];
    let (outcome, seen) = run(&config(&bad), &folder, |_| ());
    let error = outcome.expect_err("diverges");
    let Error::Diverged { step: 13, last, checkpoint: Some(named), .. } = &error else { panic!("{error}") };
    assert_eq!(last.last(), seen.losses.last());
    assert_eq!((named, seen.saved.len()), (&last_good, 0));
    assert!(error.to_string().contains("is not finite"), "{error}");
    assert!(error.to_string().contains(&last_good.display().to_string()), "{error}");
    assert_eq!(folder.checkpoints().steps().expect("can be listed"), [12]);
    assert!(all_weights_are_finite(&last_good));
}

#[test]
fn a_checkpoint_of_another_architecture_is_named() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = new_run(scratch.path());
    run(&config(&["optim.epochs=1"]), &folder, |_| ()).0.expect("trains");
    let (outcome, _) = run(&config(&["encoder.dim=48", "encoder.heads=3"]), &folder, |_| ());
    let message = outcome.expect_err("another architecture").to_string();
    assert!(message.contains("another architecture") && message.contains("cls_token"), "{message}");
}

#[test]
fn a_divergence_at_the_first_step_has_no_losses_before() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (outcome, seen) = run(&config(&["data.std=[1e-40, 1e-40, 1e-40]"]), &new_run(scratch.path()), |_| ());
    let message = outcome.expect_err("diverges").to_string();
    assert!(message.starts_with("step 1: the loss is NaN; it is the first step; no checkpoint"), "{message}");
    assert!(seen.losses.is_empty());
}

#[test]
fn a_checkpoint_that_cannot_be_saved_in_mid_run_is_a_warning() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = new_run(scratch.path());
    let checkpoints = folder.path().join("checkpoints");
    // A file in the place of the folder, from the second epoch to the third.
    let obstruct = |step| {
        if step == 7 {
            fs::rename(&checkpoints, folder.path().join("aside")).expect("moved");
            fs::write(&checkpoints, "").expect("written");
        } else if step == 13 {
            fs::remove_file(&checkpoints).expect("removed");
            fs::rename(folder.path().join("aside"), &checkpoints).expect("moved back");
        }
    };
    let (outcome, seen) = run(&config(&["optim.epochs=4"]), &folder, obstruct);
    let outcome = outcome.expect("the run goes on");
    assert_eq!((outcome.ending, outcome.step), (Ending::Finished, 24));
    let [warning] = &seen.warnings[..] else { panic!("{:#?}", seen.warnings) };
    assert!(warning.contains("no checkpoint of step 12: ") && warning.contains("checkpoints"), "{warning}");
    assert_eq!(seen.saved, [6, 18, 24]);
    assert_eq!(folder.checkpoints().load_newest().expect("whole").checkpoint.step, 24);
}

/// What image 5 has come to.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Whole,
    Torn,
    /// Its server does not answer.
    Away,
}

/// Images whose fate may change.
struct Fated {
    images: Stripes,
    fate: Mutex<Fate>,
}

impl Fated {
    fn new() -> Arc<Self> {
        Arc::new(Self { images: Stripes::drawn(24), fate: Mutex::new(Fate::Whole) })
    }

    fn set(&self, fate: Fate) {
        *self.fate.lock().expect("no test panics with it") = fate;
    }
}

impl Dataset for Fated {
    fn path(&self) -> &std::path::Path {
        self.images.path()
    }

    fn len(&self) -> usize {
        self.images.len()
    }

    fn name(&self, index: usize) -> &str {
        self.images.name(index)
    }

    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), msn_data::Error> {
        match *self.fate.lock().expect("no test panics with it") {
            Fate::Torn if index == 5 => bytes.clear(),
            Fate::Away if index == 5 => {
                let (shard, reason) = ("shard".into(), "the server does not answer".to_owned());
                return Err(msn_data::Error::ShardNotFetched { shard, reason, outage: true });
            }
            _ => self.images.read_into(index, max_bytes, bytes)?,
        }
        Ok(())
    }
}

/// Three epochs, without a checkpoint of their ends, in which image 5 comes to its fate after step 7.
const FATED: [&str; 3] = ["optim.epochs=3", "train.checkpoint_epochs=9", "data.max_skipped=0"];

/// Trains until the data end the run; gives the last step, the error and what the observer saw.
fn ended_by_data(folder: &RunDir, fate: Fate, mut after: impl FnMut(u64)) -> (u64, msn_data::Error, Seen) {
    let dataset = Fated::new();
    let (outcome, seen) = run_on(dataset.clone(), &config(&FATED), folder, |step| {
        if step == 7 {
            dataset.set(fate);
        }
        after(step);
    });
    let Err(Error::Data(error)) = outcome else { panic!("{outcome:?}") };
    let step = seen.losses.len() as u64;
    // Every epoch has each image once.
    assert!((7..18).contains(&step), "ended after step {step}");
    (step, error, seen)
}

#[test]
fn an_image_that_its_server_does_not_give_ends_the_run_which_goes_on_with_the_same_bits() {
    let scratch = tempfile::tempdir().expect("a folder");
    let [folder, whole] =
        ["run", "whole"].map(|name| RunDir::create(&scratch.path().join(name)).expect("new"));
    let (step, error, seen) = ended_by_data(&folder, Fate::Away, |_| ());
    assert!(matches!(&error, msn_data::Error::OutOfReach { image, .. } if image.image == 5), "{error}");
    let message = error.to_string();
    for part in ["stripes: 5.png: ", "does not answer", "--resume"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!((&seen.saved[..], &seen.warnings[..]), (&[step][..], &[][..]));
    assert!(folder.skipped().expect("opens").is_empty());

    let (outcome, seen) = run(&config(&FATED), &folder, |_| ());
    assert_eq!(outcome.expect("finishes").step, 18);
    assert_eq!(seen.losses.len() as u64, 18 - step);
    run(&config(&FATED), &whole, |_| ()).0.expect("finishes");
    let [resumed, whole] =
        [folder, whole].map(|run| run.checkpoints().load_newest().expect("whole").checkpoint);
    assert!(resumed.parts == whole.parts);
    assert_eq!(resumed.state["cursor"], whole.state["cursor"]);
}

#[test]
fn too_many_broken_images_end_the_run_after_its_last_step_is_saved() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = new_run(scratch.path());
    let (step, error, seen) = ended_by_data(&folder, Fate::Torn, |_| ());
    assert!(matches!(&error, msn_data::Error::TooManySkipped { skipped: 1, .. }), "{error}");
    assert_eq!((seen.saved, seen.warnings.len()), (vec![step], 1));
    assert_eq!(folder.skipped().expect("opens").len(), 1);
    // Nothing is new at a second try.
    let mut torn = Stripes::drawn(24);
    torn.0[5].1.clear();
    let (outcome, seen) = run_on(Arc::new(torn), &config(&FATED), &folder, |_| ());
    assert!(matches!(outcome, Err(Error::Data(msn_data::Error::TooManySkipped { .. }))));
    assert_eq!((seen.saved, seen.losses), (vec![], vec![]));
}

#[test]
fn a_checkpoint_that_cannot_be_saved_when_the_data_end_the_run_is_a_warning() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = new_run(scratch.path());
    let checkpoints = folder.path().join("checkpoints");
    let obstruct = |step| {
        if step == 7 {
            // A file in the place of the folder, which there is none of yet.
            fs::write(&checkpoints, "").expect("written");
        }
    };
    let (step, error, seen) = ended_by_data(&folder, Fate::Away, obstruct);
    assert!(matches!(error, msn_data::Error::OutOfReach { .. }), "{error}");
    // Why the run ends comes first, since the disk may be waited for.
    let [cause, warning] = &seen.warnings[..] else { panic!("{:#?}", seen.warnings) };
    assert_eq!(*cause, error.to_string());
    assert!(warning.starts_with(&format!("no checkpoint of step {step}: ")), "{warning}");
}

#[test]
fn of_many_broken_images_some_are_told_and_all_are_listed() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = new_run(scratch.path());
    let mut images = Stripes::drawn(60);
    images.0[..30].iter_mut().for_each(|(_, bytes)| bytes.clear());
    let settings = ["optim.epochs=1", "data.max_skipped=0.6"];
    let (outcome, seen) = run_on(Arc::new(images), &config(&settings), &folder, |_| ());
    let skipped = outcome.expect("finishes").skipped;
    assert!(skipped > 21, "of 30, {skipped} were met");
    assert_eq!(folder.skipped().expect("opens").len(), skipped);
    assert_eq!(seen.warnings.len(), 21, "{:#?}", seen.warnings);
    assert!(seen.warnings[..20].iter().all(|warning| warning.starts_with("skipped ")));
    assert!(seen.warnings[20].contains("skipped.jsonl alone names them"), "{}", seen.warnings[20]);
}

/// Set in the child process of the test below: the folder that holds its run.
#[cfg(target_os = "linux")]
const CHILD: &str = "MSN_TRAIN_TEST_CHILD";

/// A limit on the size of files stands in for a full disk: both logs are beyond it, the checkpoints are not.
#[cfg(target_os = "linux")]
#[test]
fn a_line_of_a_log_that_cannot_be_written_is_a_warning() {
    if let Some(scratch) = std::env::var_os(CHILD) {
        return lines_that_cannot_be_written_are_warnings(scratch.as_ref());
    }
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = new_run(scratch.path());
    folder.write_config("").expect("written");
    let text = "x".repeat(2 << 20);
    fs::write(folder.metrics_path(), format!("\"{text}\"\n")).expect("written");
    let earlier = format!("{{\"path\":\"earlier.png\",\"reason\":\"{text}\"}}\n");
    fs::write(folder.path().join("skipped.jsonl"), earlier).expect("written");
    drop(folder);
    // 2,048 blocks of 512 or 1024 bytes. With the signal ignored, a write over the limit fails instead of killing.
    let mut limited = Command::new("sh");
    limited.args(["-c", r#"trap "" XFSZ && ulimit -f 2048 && exec "$0" "$@""#]);
    limited.arg(std::env::current_exe().expect("a path"));
    limited.args([
        "--exact",
        "pretraining::a_line_of_a_log_that_cannot_be_written_is_a_warning",
        "--nocapture",
    ]);
    let output = limited.env(CHILD, scratch.path()).output().expect("runs");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("1 passed"), "{stdout}");
}

#[cfg(target_os = "linux")]
fn lines_that_cannot_be_written_are_warnings(scratch: &std::path::Path) {
    let folder = RunDir::resume(&scratch.join("run")).expect("the parent made it");
    let mut images = Stripes::drawn(24);
    images.0[5] = ("torn.png".to_owned(), Vec::new());
    let settings = ["optim.epochs=1", "train.batch_size=8", "data.max_skipped=0.1"];
    let (outcome, seen) = run_on(Arc::new(images), &config(&settings), &folder, |_| ());
    let outcome = outcome.expect("the run goes on");
    assert_eq!((outcome.ending, outcome.step), (Ending::Finished, 3));
    let (of_step, of_image) = ("no line of step", "no line of torn.png, met in step ");
    let metrics: Vec<_> = seen.warnings.iter().filter(|warning| warning.starts_with(of_step)).collect();
    assert_eq!(metrics.len(), 3, "{:#?}", seen.warnings);
    for (step, warning) in (1..).zip(metrics) {
        assert!(warning.starts_with(&format!("{of_step} {step}: ")), "{warning}");
        assert!(warning.contains("metrics.jsonl: cannot append a line: "), "{warning}");
    }
    let skips: Vec<_> = seen.warnings.iter().filter(|warning| warning.starts_with(of_image)).collect();
    let [warning] = skips[..] else { panic!("{:#?}", seen.warnings) };
    assert!(warning.contains("skipped.jsonl: cannot append a line: "), "{warning}");
    // The image itself is told of, too.
    assert_eq!(seen.warnings.len(), 3 + 1 + 1, "{:#?}", seen.warnings);
    assert_eq!(folder.checkpoints().load_newest().expect("whole").checkpoint.step, 3);
}

/// Images of which no more than some are given before a run is asked to stop.
struct Gated {
    images: Stripes,
    left: Mutex<usize>,
    opened: Condvar,
}

impl Gated {
    fn after(reads: usize) -> Arc<Self> {
        Arc::new(Self { images: Stripes::drawn(24), left: Mutex::new(reads), opened: Condvar::new() })
    }

    fn open(&self) {
        *self.left.lock().expect("no test panics with it") = usize::MAX;
        self.opened.notify_all();
    }
}

impl Dataset for Gated {
    fn path(&self) -> &std::path::Path {
        self.images.path()
    }

    fn len(&self) -> usize {
        self.images.len()
    }

    fn name(&self, index: usize) -> &str {
        self.images.name(index)
    }

    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), msn_data::Error> {
        let left = self.left.lock().expect("no test panics with it");
        *self.opened.wait_while(left, |left| *left == 0).expect("no test panics with it") -= 1;
        self.images.read_into(index, max_bytes, bytes)
    }
}

/// Asks to stop once a checkpoint of this step is there, while the run waits for images.
struct StopsWhenSaved {
    step: u64,
    saved: Vec<u64>,
    is_there: bool,
    images: Arc<Gated>,
}

impl Observer for StopsWhenSaved {
    fn start(&mut self, start: &Start) {
        self.is_there = start.done == self.step;
    }

    fn step(&mut self, _: &Progress) {}

    fn warn(&mut self, message: &str) {
        panic!("{message}");
    }

    fn saved(&mut self, step: u64, _: &std::path::Path) {
        self.saved.push(step);
        self.is_there = step == self.step;
    }

    fn wants_to_stop(&mut self) -> bool {
        if self.is_there {
            self.images.open();
        }
        self.is_there
    }
}

#[test]
fn a_step_that_is_saved_is_not_saved_again_when_the_run_stops() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = new_run(scratch.path());
    // The images of the first epoch and no more; then, when the run goes on, none.
    for (images, saved) in [(Gated::after(24), vec![6]), (Gated::after(0), vec![])] {
        let mut observer =
            StopsWhenSaved { step: 6, saved: Vec::new(), is_there: false, images: images.clone() };
        let outcome = msn_train::pretrain(&config(&[]), images, &folder, &Device::flex(), &mut observer);
        let outcome = outcome.expect("stops");
        assert_eq!((outcome.ending, outcome.step), (Ending::Stopped, 6));
        assert_eq!(outcome.checkpoint, Some(folder.path().join("checkpoints/step-6")));
        assert_eq!(observer.saved, saved);
    }
}

#[test]
fn one_checkpoint_of_every_so_many_epochs_stays_for_good() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = new_run(scratch.path());
    let keep = ["optim.epochs=7", "train.keep_last=1", "train.keep_every_epochs=3"];
    let (outcome, seen) = run(&config(&keep), &folder, |_| ());
    outcome.expect("finishes");
    assert_eq!(seen.saved, [6, 12, 18, 24, 30, 36, 42]);
    // Epochs 3 and 6 of 6 steps each, and the last one.
    assert_eq!(folder.checkpoints().steps().expect("can be listed"), [18, 36, 42]);
}

#[test]
fn a_checkpoint_holds_the_configuration_of_the_session_that_saved_it() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = new_run(scratch.path());
    for settings in [["optim.epochs=1", "data.max_megapixels=7"], ["optim.epochs=2", "data.max_megapixels=9"]]
    {
        let config = config(&settings);
        run(&config, &folder, |_| ()).0.expect("trains");
        let state = folder.checkpoints().load_newest().expect("whole").checkpoint.state;
        assert_eq!(state["config"]["data"]["max_megapixels"], config.data.max_megapixels);
        assert_eq!(state["config"]["optim"]["epochs"], config.optim.epochs);
    }
}

#[test]
fn numbers_of_epochs_that_no_run_reaches_are_no_overflow() {
    /// What TOML holds; times six steps it is beyond 64 bits.
    const MOST: i64 = i64::MAX;
    let scratch = tempfile::tempdir().expect("a folder");
    let huge = ["checkpoint_epochs", "keep_every_epochs"].map(|field| format!("train.{field}={MOST}"));
    let (outcome, seen) = run(&config(&[&huge[0], &huge[1]]), &new_run(scratch.path()), |_| ());
    assert_eq!(outcome.expect("finishes").step, 12);
    assert_eq!(seen.saved, [12]);
    // An endless run, ended by a loss that is no number.
    let scratch = tempfile::tempdir().expect("a folder");
    let endless = config(&[&format!("optim.epochs={MOST}"), "data.std=[1e-40, 1e-40, 1e-40]"]);
    let error = run(&endless, &new_run(scratch.path()), |_| ()).0.expect_err("diverges");
    assert!(matches!(error, Error::Diverged { step: 1, .. }), "{error}");
}

#[test]
fn a_run_resumed_on_other_images_is_refused_by_the_names_of_run_and_data() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = new_run(scratch.path());
    run(&config(&["optim.epochs=1"]), &folder, |_| ()).0.expect("trains");
    let config = config(&["optim.epochs=2", "data.path=photos"]);
    let resume = |dataset: Arc<dyn Dataset>| run_on(dataset, &config, &folder, |_| ()).0;
    let renamed = Stripes((0..24).map(|index| (format!("{}.png", index + 1), Vec::new())).collect());
    for (dataset, difference) in [
        (Stripes::of(25), "expected 24 images, found 25 in photos"),
        (Arc::new(renamed), "the 24 in photos have other names"),
    ] {
        let message = resume(dataset).expect_err("other images").to_string();
        let run = folder.path().display().to_string();
        assert!(message.contains(&run) && message.contains(difference), "{message}");
    }
    resume(Stripes::of(24)).expect("the same images");
}

#[test]
fn checkpoints_to_be_kept_and_the_last_one_are_saved_however_short_epochs_are() {
    let scratch = tempfile::tempdir().expect("a folder");
    let seldom = ["optim.epochs=40", "train.checkpoint_epochs=0", "train.keep_every_epochs=20"];
    let (outcome, seen) = run(&config(&seldom), &new_run(scratch.path()), |_| ());
    outcome.expect("finishes");
    // The first one, those that are to be kept, the last; of the others few.
    assert!([6, 120, 240].iter().all(|step| seen.saved.contains(step)), "{:?}", seen.saved);
    assert!(seen.saved.iter().all(|step| step.is_multiple_of(6)), "{:?}", seen.saved);
}
