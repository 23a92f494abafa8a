//! The same training on another device: nothing ties a step to the CPU or to its kernels.
//!
//! NdArray stands for all others: a backend of Burn that no line of this project knows, and that needs no graphics
//! card. What runs there is what runs on a graphics card: blocks and updates in plain tensor operations.

use burn::tensor::Device;
use msn_golden::relative_error;
use msn_model::{Path, Precision, StateDict, View, device_named, state_dict};
use msn_ssl::Schedule;
use msn_train::{Config, StepReport, Trainer, Views};

/// Reports are sums over all elements, of which `f32` keeps six to seven digits; after a step the weights behind
/// them differ by [`WEIGHTS`].
const REPORTS: f64 = 1e-5;

/// Weights end within this of the largest element of their tensor. A gradient carries an error of up to 1e-5 of the
/// largest (the tolerance of the encoder's reference values), and moves a weight by up to the learning rate, a
/// hundredth of the largest weight: 1e-7 a step, and as much for the rounding of the weight itself.
///
/// That holds only if AdamW keeps small gradients small: see [`config`] on `adam_eps`.
const WEIGHTS: f64 = 1e-6;

const BATCH: usize = 3;
/// Anchor views of an image.
const ANCHORS: usize = 3;
const SIZE: usize = 24;
const FOCAL_SIZE: usize = 12;
const PATCH: usize = 4;
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
    // With the usual 1e-8 AdamW divides a gradient by its own size, so that one of a millionth of the others makes
    // a full step in a direction that its few correct digits decide: see golden_train.rs, which has that case.
    config.train.adam_eps = 1e-2;
    config
}

/// Views of images that differ and repeat nowhere.
fn views(step: usize, device: &Device) -> Views {
    let view = |number: usize, size: usize, keep: Option<&[Vec<u32>]>, device: &Device| {
        let pixel = |i: usize| ((i * 7919 + (step * 5 + number) * 3571) % 10_007) as f32 / 5003.0 - 1.0;
        let pixels: Vec<f32> = (0..BATCH * 3 * size * size).map(pixel).collect();
        View::new(&pixels, BATCH, size, PATCH, keep, device)
    };
    let masks = [vec![0, 5, 17, 35, 20], vec![1, 2, 3, 4, 9], vec![30, 31, 33, 34, 0]];
    Views {
        target: view(0, SIZE, None, &device.clone().inner()),
        random: vec![view(1, SIZE, Some(&masks), device), view(2, SIZE, Some(&masks), device)],
        focal: vec![view(3, FOCAL_SIZE, None, device)],
    }
}

/// What three steps on this device report, and the weights that they end with.
fn train(device: &Device) -> (Vec<StepReport>, [StateDict; 3]) {
    let trainer = Trainer::new(&config(), device).expect("valid");
    let mut trainer = trainer.with_path(Path::Kernels(Precision::F32));
    assert_eq!(trainer.device(), *device);
    let device = device.clone().autodiff();
    let mut step = |step: usize| {
        let depth_seeds: [[u8; 32]; ANCHORS * BATCH] =
            std::array::from_fn(|anchor| [(step * 16 + anchor) as u8; 32]);
        trainer.step(views(step, &device), SCHEDULE, &depth_seeds, false).0
    };
    let reports = (0..3).map(&mut step).collect();
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
            let error = relative_error(&found[&name].data, &expected.data);
            println!("{part}: {name}: relative error {error:.1e}");
            assert!(error < WEIGHTS, "{part}: {name}: relative error {error:.1e}");
        }
    }
}
