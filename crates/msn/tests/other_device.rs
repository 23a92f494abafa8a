//! The same training on another device: nothing ties a step to the CPU or to its kernels.
//!
//! NdArray stands for all others: a backend of Burn that no line of this project knows, and that needs no graphics
//! card. What runs there is what runs on a graphics card: blocks and updates in plain tensor operations.

use burn::tensor::Device;
use msn_model::{Path, Precision, StateDict, View, device_named, state_dict};
use msn_ssl::Schedule;
use msn_train::{Config, StepReport, Trainer, Views};

const STEPS: usize = 3;
/// Enough images that batch norm, which divides by what tells them apart, does not blow up rounding.
const BATCH: usize = 16;
/// Anchor views of an image.
const ANCHORS: usize = 3;
const SIZE: usize = 24;
const FOCAL_SIZE: usize = 12;
const PATCH: usize = 4;
/// Patches of a large view, and how many of them a mask leaves.
const PATCHES: u32 = 36;
const KEPT: u32 = 5;

/// Relative error of what a step reports: sums over all elements, of which `f32` keeps six to seven digits.
const REPORTS: f64 = 1e-5;
/// Error of a gradient's elements: 2e-5 of the largest, as the encoder's reference values allow, which clipping leaves
/// at 3 or less. With [`ADAM_EPS`] AdamW moves a weight by no more of the learning rate than that.
const GRADIENT: f64 = 6e-5;
/// Rounding of a weight at each step, relative to the weight.
const WEIGHT: f64 = 6e-8;
/// With the usual 1e-8, AdamW divides a gradient by its own size, so that one of a millionth of the others makes a full
/// step in a direction that its few correct digits decide. The reference trainings have that case.
const ADAM_EPS: f64 = 1.0;
const SCHEDULE: Schedule = Schedule { lr: 1e-3, weight_decay: 0.1, momentum: 0.9, sharpen: 0.25 };

fn config() -> Config {
    let mut config = Config { seed: 3, ..Default::default() };
    let encoder = &mut config.encoder;
    encoder.variant = String::new();
    (encoder.image_size, encoder.patch_size) = (SIZE, PATCH);
    (encoder.dim, encoder.depth, encoder.heads) = (32, 3, 2);
    encoder.drop_path = 0.3;
    (config.head.hidden_dim, config.head.output_dim) = (48, 16);
    config.objective.prototypes = 20;
    config.train.adam_eps = ADAM_EPS;
    config
}

/// Views of images of different colours, with noise that repeats nowhere. Images of noise alone would look alike to an
/// untrained encoder, and batch norm would blow up what tells them apart, rounding included.
fn views(step: usize, device: &Device) -> Views {
    let view = |number: usize, size: usize, keep: Option<&[Vec<u32>]>, device: &Device| {
        let channel = |plane: usize| ((plane * 5 + step) * 29 % 31) as f32 / 15.0 - 1.0;
        let noise = |i: usize| ((i * 7919 + (step * 5 + number) * 3571) % 10_007) as f32 / 5003.0 - 1.0;
        let pixel = |i: usize| channel(i / (size * size)) + 0.5 * noise(i);
        let pixels: Vec<f32> = (0..BATCH * 3 * size * size).map(pixel).collect();
        View::new(&pixels, BATCH, size, PATCH, keep, device)
    };
    let mask = |image: usize| (0..KEPT).map(|i| (image as u32 * 7 + i * 5) % PATCHES).collect();
    let masks: [Vec<u32>; BATCH] = std::array::from_fn(mask);
    Views {
        target: view(0, SIZE, None, &device.clone().inner()),
        random: vec![view(1, SIZE, Some(&masks), device), view(2, SIZE, Some(&masks), device)],
        focal: vec![view(3, FOCAL_SIZE, None, device)],
    }
}

/// What the steps on this device report, and the weights that they end with.
fn train(device: &Device) -> (Vec<StepReport>, [StateDict; 3]) {
    let trainer = Trainer::new(&config(), device).expect("valid");
    let mut trainer = trainer.with_path(Path::Kernels(Precision::F32));
    assert_eq!(trainer.device(), *device);
    let device = device.clone().autodiff();
    let mut step = |step: usize| {
        let depth_seeds: [[u8; 32]; ANCHORS * BATCH] =
            std::array::from_fn(|anchor| [(step * ANCHORS * BATCH + anchor) as u8; 32]);
        trainer.step(views(step, &device), SCHEDULE, &depth_seeds, false).0
    };
    let reports = (0..STEPS).map(&mut step).collect();
    let weights =
        [state_dict(trainer.encoder()), state_dict(trainer.target()), state_dict(trainer.prototypes())];
    (reports, weights)
}

#[test]
fn another_device_trains_to_the_same_losses_and_weights() {
    let [cpu, other] = ["cpu", "ndarray"].map(|name| device_named(name).expect("compiled in"));
    assert_ne!(cpu, other);
    let (expected, weights) = train(&cpu);
    let (found, found_weights) = train(&other);
    for (step, (found, expected)) in found.iter().zip(&expected).enumerate() {
        for (name, found, expected) in [
            ("loss", found.loss, expected.loss),
            ("cross_entropy", found.cross_entropy, expected.cross_entropy),
            ("memax", found.memax, expected.memax),
            ("entropy", found.entropy, expected.entropy),
            ("grad_norm", found.grad_norm, expected.grad_norm),
        ] {
            let error = (found - expected).abs() / expected.abs();
            println!("step {step}: {name}: relative error {error:.1e}");
            assert!(error < REPORTS, "step {step}: {name}: {found}, on the CPU {expected}");
        }
    }
    for ((part, found), expected) in
        ["encoder", "target", "prototypes"].iter().zip(found_weights).zip(weights)
    {
        assert_eq!(found.len(), expected.len(), "{part}");
        for (name, expected) in expected {
            for (found, expected) in found[&name].data.iter().zip(&expected.data) {
                let bound = STEPS as f64 * (SCHEDULE.lr * GRADIENT + WEIGHT * f64::from(expected.abs()));
                let error = f64::from((found - expected).abs());
                assert!(error <= bound, "{part}: {name}: {found}, on the CPU {expected}");
            }
        }
    }
}
