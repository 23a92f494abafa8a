//! Single steps.

use burn::tensor::Device;
use msn_model::{Path, Precision, View, encoder_seed, state_dict};
use msn_ssl::Schedule;
use msn_train::{Trainer, Views, depth_seeds};

use crate::tiny::config;

/// Views of four images that are the same each time.
fn views(device: &Device) -> Views {
    let pixels = |count: usize, seed: usize| -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 31) % 1013) as f32 / 506.5 - 1.0).collect()
    };
    let view = |size: usize, seed: usize, device: &Device| {
        View::new(&pixels(4 * 3 * size * size, seed), 4, size, 4, None, device)
    };
    Views {
        target: view(16, 1, &device.clone().inner()),
        random: vec![view(16, 2, device)],
        focal: vec![view(8, 3, device)],
    }
}

const SCHEDULE: Schedule = Schedule { lr: 1e-2, weight_decay: 0.1, momentum: 0.9, sharpen: 0.25 };

#[test]
fn frozen_prototypes_do_not_move_and_others_do() {
    for (setting, frozen) in
        [("objective.freeze_prototypes=true", true), ("objective.freeze_prototypes=false", false)]
    {
        let mut trainer = Trainer::new(&config(&[setting]), &Device::flex()).expect("valid");
        let before = (state_dict(trainer.prototypes()), state_dict(trainer.encoder()));
        for _ in 0..3 {
            let views = views(&trainer.device());
            let (report, _) = trainer.step(views, SCHEDULE, &[], false);
            assert_eq!(report.prototype_grad_norm == 0.0, frozen, "{report:?}");
        }
        assert_eq!(state_dict(trainer.prototypes()) == before.0, frozen, "{setting}");
        assert!(state_dict(trainer.encoder()) != before.1, "the encoder learns in any case");
    }
}

#[test]
fn recomputed_activations_give_the_same_bits_as_kept_ones() {
    for path in [Path::Kernels(Precision::F32), Path::Kernels(Precision::Bf16), Path::Plain] {
        let end = |setting: &str| {
            let trainer = Trainer::new(&config(&[setting]), &Device::flex()).expect("valid");
            let mut trainer = trainer.with_path(path);
            for _ in 0..3 {
                let views = views(&trainer.device());
                trainer.step(views, SCHEDULE, &[], false);
            }
            [state_dict(trainer.encoder()), state_dict(trainer.target()), state_dict(trainer.prototypes())]
        };
        let recomputed = end("train.grad_checkpointing=true");
        assert!(recomputed == end("train.grad_checkpointing=false"), "{path:?}");
    }
}

#[test]
fn a_step_has_the_same_bits_with_any_number_of_threads() {
    // More assignments than the backend would add up on one thread: 2 anchors of 4 images and 2^19 prototypes.
    const MANY: &str = "objective.prototypes=524288";
    for settings in [&["encoder.drop_path=0.3", "head.hidden_dim=300"][..], &[MANY, "head.output_dim=2"]] {
        let end = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| {
                let config = config(settings);
                let mut trainer = Trainer::new(&config, &Device::flex()).expect("valid");
                let views = views(&trainer.device());
                let seeds = depth_seeds(0, 0, &[0, 1, 2, 3], 2);
                let (report, _) = trainer.step(views, SCHEDULE, &seeds, true);
                let parts = [
                    state_dict(trainer.encoder()),
                    state_dict(trainer.target()),
                    state_dict(trainer.prototypes()),
                ];
                (format!("{report:?}"), parts)
            })
        };
        let (report, parts) = end(1);
        for threads in [2, 3, 5] {
            let (found, found_parts) = end(threads);
            assert_eq!(found, report, "{threads} threads: {settings:?}");
            assert!(found_parts == parts, "{threads} threads: {settings:?}");
        }
    }
}

#[test]
fn a_gradient_of_the_prototypes_that_is_no_number_updates_no_parameter() {
    let config = config(&[]);
    let mut trainer = Trainer::new(&config, &Device::flex()).expect("valid");
    // So short that the gradient of their direction is beyond f32, while the loss is a number.
    let mut prototypes = state_dict(trainer.prototypes());
    prototypes.get_mut("weight").expect("there").data.iter_mut().for_each(|x| *x *= 1e-38);
    let encoder = state_dict(trainer.encoder());
    trainer = trainer.with_weights(encoder.clone(), prototypes.clone()).expect("they fit");
    let views = views(&trainer.device());
    let (report, _) = trainer.step(views, SCHEDULE, &[], false);
    assert!(report.loss.is_finite() && !report.prototype_grad_norm.is_finite(), "{report:?}");
    assert!(!report.is_finite());
    let weights = |state: &msn_model::StateDict| {
        let trained = state.iter().filter(|(name, _)| !name.contains("running_"));
        trained.map(|(name, array)| (name.clone(), array.clone())).collect::<Vec<_>>()
    };
    assert!(weights(&state_dict(trainer.encoder())) == weights(&encoder));
    assert!(state_dict(trainer.prototypes()) == prototypes);
}

#[test]
fn training_starts_from_the_encoder_of_the_runs_seed() {
    let config = config(&["seed=3"]);
    let device = Device::flex();
    let trainer = Trainer::new(&config, &device).expect("valid");
    let drawn = config.encoder.init(None, encoder_seed(3), &device).expect("valid");
    let mut start = state_dict(trainer.target());
    start.retain(|name, _| !name.starts_with("fc."));
    assert!(start == state_dict(&drawn));
}
