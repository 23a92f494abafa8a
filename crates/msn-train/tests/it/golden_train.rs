//! Three whole training steps against reference values, in the arithmetic of the training. In `f64`, where rounding plays
//! no part: `golden_train_f64.rs`.

use std::collections::BTreeMap;

use crate::common::rounding::Rounding;
use crate::common::{Change, changes, config, train};
use burn::tensor::Device;
use msn_model::{Path, Precision, device_named};

/// Relative error of the loss, its terms and the norm of the gradient: twice that of the objective's tests, since the
/// weights of the second and third step carry the errors of those before.
const F32_REPORT: f64 = 2e-5;
/// Norm of a part's errors, relative to the norm of its changes.
const F32_NORM: f64 = 1e-4;
/// Error of an element, relative to the largest change of its tensor; as in `f64`, besides what rounding explains.
const F32_ELEMENT: f64 = 1e-4;
/// Error of a gradient's elements, relative to its largest: what [`Rounding`] starts from. Targets divide a cosine by 0.1
/// and 0.25: its last digit in `f32` is 40 times larger there. Twice what the encoder's tests allow, since the second and
/// third gradient are taken at weights that are off already. Up to four elements in a thousand need it.
const F32_GRADIENT: f64 = 4e-5;
/// Rounding of a weight at each of the three steps, relative to the weight. Changes of the momentum encoder are a few
/// thousand times smaller than the weights of its norms.
const F32_WEIGHT: f64 = 3.0 * 6e-8;

#[test]
fn golden_training_steps_agree_in_f32() {
    let device = device_named(&msn_golden::device_name()).expect("compiled in").autodiff();
    for case in msn_golden::cases("train") {
        for path in [Path::Plain, Path::Kernels(Precision::F32)] {
            let adamw = config(&case).train.adamw();
            let [mut encoder, mut prototypes] = [(), ()].map(|()| Rounding::new(adamw, F32_GRADIENT));
            let trainer = train(&case, &device, path, F32_REPORT, |trainer, schedule| {
                encoder.after_step(trainer.encoder_optimizer(), schedule);
                prototypes.after_step(trainer.prototype_optimizer(), schedule);
            });
            for (part, tensors) in changes(&case, &trainer) {
                let of_part = format!("{} {path:?} {part}", case.name);
                let norm = relative_norm(&tensors);
                let (mut explained, mut worst) = (0, 0.0_f64);
                for (name, change) in tensors {
                    let rounding = match part {
                        "encoder" => encoder.of_weight(&name),
                        "target" => encoder.of_average(&name),
                        _ => prototypes.of_weight(&name),
                    };
                    let allowed = F32_ELEMENT * change.largest();
                    for (index, (error, end)) in change.errors().zip(&change.end).enumerate() {
                        let of_gradients = rounding.map_or(0.0, |rounding| rounding[index]);
                        let of_weight = F32_WEIGHT * f64::from(end.abs());
                        explained += usize::from(error > allowed + of_weight);
                        let bound = allowed + of_weight + of_gradients;
                        worst = worst.max(error / bound);
                        assert!(
                            error <= bound,
                            "{of_part}: {name}[{index}]: {error:.1e}, where {bound:.1e} is allowed, of which rounding \
                             of gradients {of_gradients:.1e}, of weights {of_weight:.1e}"
                        );
                    }
                }
                println!(
                    "{of_part}: {explained} explained by gradients, worst {worst:.2} of its bound, norm {norm:.1e}"
                );
                assert!(norm <= F32_NORM, "{of_part}: norm of the errors {norm:.1e} of that of the changes");
            }
        }
    }
}

/// Operands rounded to bf16 leave errors of about 1% in the gradients (see the encoder's tests), which Adam hands on to
/// the step of every element whose gradient is not small. Those that are smaller than the error of their neighbours may
/// move in any direction, by up to two full steps too far. Measured: norms of 0.7 to 10%, of which the bound is one and a
/// half times the worst; of the reports me-max, a small difference of two entropies, is off the farthest, by 2%.
const BF16_REPORT: f64 = 4e-2;
const BF16_NORM: f64 = 0.15;
/// Error of an element, relative to the largest change of its part, that only [`BF16_MISSES`] of the elements exceed.
const BF16_ELEMENT: f64 = 0.1;
const BF16_MISSES: f64 = 0.1;
/// The same error that no element exceeds.
const BF16_FARTHEST: f64 = 2.0;

#[test]
fn golden_training_steps_agree_in_bf16() {
    let device = Device::flex().autodiff();
    for case in msn_golden::cases("train") {
        let trainer = train(&case, &device, Path::Kernels(Precision::Bf16), BF16_REPORT, |_, _| {});
        for (part, tensors) in changes(&case, &trainer) {
            let of_part = format!("{} {part}", case.name);
            let largest = tensors.values().map(Change::largest).fold(0.0, f64::max);
            let errors: Vec<f64> = tensors.values().flat_map(|change| change.errors()).collect();
            let count = errors.len();
            let misses = errors.iter().filter(|error| **error > BF16_ELEMENT * largest).count();
            let farthest = errors.into_iter().fold(0.0, f64::max) / largest;
            let norm = relative_norm(&tensors);
            println!("{of_part}: {misses} of {count} miss, farthest {farthest:.1e}, norm {norm:.1e}");
            assert!(misses as f64 <= BF16_MISSES * count as f64, "{of_part}: {misses} of {count} miss");
            assert!(
                farthest <= BF16_FARTHEST,
                "{of_part}: farthest miss {farthest:.1e} of the largest change"
            );
            assert!(norm <= BF16_NORM, "{of_part}: norm of the errors {norm:.1e} of that of the changes");
        }
    }
}

/// Norm of all errors relative to the norm of all changes.
fn relative_norm(tensors: &BTreeMap<String, Change>) -> f64 {
    let norm = |values: Vec<f64>| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let errors = tensors.values().flat_map(Change::errors).collect();
    norm(errors) / norm(tensors.values().flat_map(Change::expected).collect())
}
