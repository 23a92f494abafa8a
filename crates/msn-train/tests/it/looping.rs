//! What the loop feeds to its steps, and what comes of them.

use std::f64::consts::PI;
use std::sync::Arc;

use burn::tensor::Device;
use msn_data::{Cursor, Loader, ViewBatch};
use msn_model::{Path, Precision, View, state_dict};
use msn_store::TARGET_PART;
use msn_train::{Trainer, Views, depth_seeds};

use crate::tiny::{Stripes, config, new_run, run, run_until};

/// Twelve steps whose schedules, laid out for 1.25 times as many, are worked out by hand below.
const SCHEDULED: [&str; 10] = [
    "optim.epochs=2",
    "optim.warmup_epochs=1.0",
    "optim.start_lr=0.0",
    "optim.lr=0.006",
    "optim.final_lr=0.0",
    "optim.weight_decay=0.0",
    "optim.final_weight_decay=0.4",
    "optim.momentum=0.85",
    "objective.sharpen=0.5",
    "objective.sharpen_end=0.2",
];

#[test]
fn every_step_has_the_schedule_of_its_number() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (outcome, seen) = run(&config(&SCHEDULED), &new_run(scratch.path()), |_| ());
    outcome.expect("finishes");
    assert_eq!(seen.schedules.len(), 12);
    // The first of 15 steps is number 1. The rate rises over 6, then falls as half a cosine over the other 9; rate and weight
    // decay are those at a step's end, momentum and sharpening those at its start.
    let rate = |step: f64| {
        if step < 6.0 { 0.001 * step } else { 0.003 * (1.0 + (PI * (step - 6.0) / 9.0).cos()) }
    };
    for (step, found) in (1..).map(f64::from).zip(&seen.schedules) {
        let decay = 0.2 * (1.0 - (PI * step / 15.0).cos());
        let momentum = 0.85 + 0.01 * (step - 1.0);
        let sharpen = 0.5 - 0.02 * (step - 1.0);
        for (name, found, expected) in [
            ("lr", found.lr, rate(step)),
            ("weight_decay", found.weight_decay, decay),
            ("momentum", found.momentum, momentum),
            ("sharpen", found.sharpen, sharpen),
        ] {
            // Both are computed in f64.
            assert!((found - expected).abs() < 1e-12, "{name} of step {step}: {found}, expected {expected}");
        }
    }
}

#[test]
fn the_loop_is_the_trainer_on_the_batches_of_the_loader() {
    // Several views of either kind, masks and dropped branches, so that none can take another's place.
    the_loop_is_the_trainer([2, 2]);
}

#[test]
fn focal_views_alone_are_enough_to_train_on() {
    the_loop_is_the_trainer([0, 2]);
}

fn the_loop_is_the_trainer(anchors @ [random, focal]: [usize; 2]) {
    let scratch = tempfile::tempdir().expect("a folder");
    let views = [format!("views.random_views={random}"), format!("views.focal_views={focal}")];
    let settings = [&views[0], &views[1], "mask.patch_drop=0.4", "encoder.drop_path=0.5", "seed=11"];
    let config = config(&[&SCHEDULED[..], &settings].concat());
    let (outcome, seen) = run(&config, &new_run(scratch.path()), |_| ());
    let saved = outcome.expect("finishes").checkpoint.expect("saved");

    let mut trainer = Trainer::new(&config, &Device::flex()).expect("valid");
    let device = trainer.device();
    let mut loader =
        Loader::start(Arc::new(Stripes::drawn(24)), config.loader(), Cursor::default()).expect("starts");
    let mut losses = Vec::new();
    for schedule in seen.schedules {
        let batch = loader.next().expect("a batch");
        let view = |view: &ViewBatch, device: &Device| {
            View::new(&view.pixels, 4, view.size, config.encoder.patch_size, view.keep.as_deref(), device)
        };
        let views = Views {
            target: view(&batch.target, &device.clone().inner()),
            random: batch.random.iter().map(|anchor| view(anchor, &device)).collect(),
            focal: batch.focal.iter().map(|anchor| view(anchor, &device)).collect(),
        };
        assert_eq!([views.random.len(), views.focal.len()], anchors);
        let seeds = depth_seeds(11, batch.epoch, &batch.images, random + focal);
        losses.push(trainer.step(views, schedule, &seeds, false).0.loss);
    }
    assert_eq!(losses, seen.losses);
    assert!(losses.iter().all(|loss| loss.is_finite()) && losses.len() == 12);
    let saved = msn_store::Checkpoint::read(&saved).expect("whole");
    assert!(saved.parts[TARGET_PART] == state_dict(trainer.target()));
}

#[test]
fn precision_is_what_the_setting_says_before_and_after_a_stop() {
    for (precision, frozen) in [("bf16", "true"), ("f32", "false")] {
        let settings = [
            format!("train.precision={precision}"),
            format!("objective.freeze_prototypes={frozen}"),
            "optim.epochs=3".to_owned(),
        ];
        let config = config(&settings.each_ref().map(String::as_str));
        let expected = Path::Kernels(if precision == "bf16" { Precision::Bf16 } else { Precision::F32 });
        assert_eq!(Trainer::new(&config, &Device::flex()).expect("valid").encoder().path, expected);

        let scratch = tempfile::tempdir().expect("a folder");
        let [whole, stopped] = ["whole", "stopped"]
            .map(|name| msn_store::RunDir::create(&scratch.path().join(name)).expect("a new folder"));
        let (outcome, seen) = run(&config, &whole, |_| ());
        outcome.expect("finishes");
        // In mid-epoch, and once more.
        let mut losses = Vec::new();
        for (stop, checkpointing) in [(5, false), (10, true), (18, false)] {
            // Which may change from one session to the next.
            let mut config = config.clone();
            config.train.grad_checkpointing = checkpointing;
            let (outcome, seen) = run_until(stop, &config, &stopped);
            assert_eq!(outcome.expect("stops or finishes").step, stop);
            losses.extend(seen.losses);
        }
        assert_eq!(losses, seen.losses, "{precision}");
        let [whole, stopped] =
            [whole, stopped].map(|run| run.checkpoints().load_newest().expect("whole").checkpoint);
        assert!(whole.parts == stopped.parts, "{precision}");
    }
    // Else the two would not differ.
    let losses = |precision: &str| {
        let scratch = tempfile::tempdir().expect("a folder");
        run(&config(&[precision]), &new_run(scratch.path()), |_| ()).1.losses
    };
    assert_ne!(losses("train.precision=bf16"), losses("train.precision=f32"));
}

#[test]
fn the_loss_falls() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (outcome, seen) = run(&config(&["optim.epochs=60"]), &new_run(scratch.path()), |_| ());
    outcome.expect("finishes");
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let [first, last] = [&seen.losses[..30], &seen.losses[330..]].map(mean);
    // It fell from 2.73 to 1.80; steps against the gradient would raise it.
    assert!(last < first - 0.4, "from {first} to {last}");
}
