//! Single steps.

use burn::tensor::Device;
use msn_model::{Path, Precision, View, encoder_seed, state_dict};
use msn_ssl::Schedule;
use msn_train::{Trainer, Views, depth_seeds};

use crate::tiny::config;

/// Views of four images that are the same each time.
fn views(device: &Device) -> Views {
    views_of(4, [16, 8], device)
}

/// Views of so many images, large and focal ones of these sizes.
fn views_of(images: usize, [large, focal]: [usize; 2], device: &Device) -> Views {
    let pixels = |count: usize, seed: usize| -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 31) % 1013) as f32 / 506.5 - 1.0).collect()
    };
    let view = |size: usize, seed: usize, device: &Device| {
        View::new(&pixels(images * 3 * size * size, seed), images, size, 4, None, device)
    };
    Views {
        target: view(large, 1, &device.clone().inner()),
        random: vec![view(large, 2, device)],
        focal: vec![view(focal, 3, device)],
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

/// Set in the child processes of the test below to the setting.
#[cfg(target_os = "linux")]
const CHILD: &str = "MSN_TRAIN_TEST_CHECKPOINTING";

/// Each setting has a process of its own, since a peak never falls.
#[cfg(target_os = "linux")]
#[test]
fn recomputed_activations_take_less_memory_than_kept_ones() {
    if let Ok(setting) = std::env::var(CHILD) {
        return print_peak_of_a_step(&format!("train.grad_checkpointing={setting}"));
    }
    let peak = |setting: &str| -> u64 {
        let mut child = std::process::Command::new(std::env::current_exe().expect("a path"));
        let name = "trainer::recomputed_activations_take_less_memory_than_kept_ones";
        // Every thread has buffers of its own.
        child.args(["--exact", name, "--nocapture"]).env(CHILD, setting).env("RAYON_NUM_THREADS", "2");
        let output = child.output().expect("runs");
        let stdout = String::from_utf8_lossy(&output.stdout);
        let peak =
            stdout.lines().find_map(|line| line.split_once("peak ")?.1.trim_end_matches(" kB").parse().ok());
        peak.unwrap_or_else(|| panic!("{stdout}{}", String::from_utf8_lossy(&output.stderr)))
    };
    let (kept, recomputed) = (peak("false"), peak("true"));
    // Some 2,600 tokens of 64 numbers, of which each of 12 blocks keeps thirteen times as many or their input alone.
    assert!(2 * recomputed < kept, "{recomputed} kB and {kept} kB");
}

#[cfg(target_os = "linux")]
fn print_peak_of_a_step(setting: &str) {
    let large = ["views.random_size=64", "views.focal_size=32", "encoder.dim=64", "encoder.depth=12"];
    let config = config(&[&large[..], &["train.precision=f32", setting]].concat());
    let mut trainer = Trainer::new(&config, &Device::flex()).expect("valid");
    let views = views_of(8, [64, 32], &trainer.device());
    trainer.step(views, SCHEDULE, &[], false);
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line of it");
    println!("peak {}", peak.trim());
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
