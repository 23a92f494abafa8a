//! Three whole training steps against reference values, in the arithmetic of the training and in `f64`.

mod common;

use burn::tensor::Device;
use common::{Change, changes, train};
use msn_model::{Path, Precision};

/// Adam divides a gradient by its own size. An element whose gradient is a millionth of the others still moves by a
/// full step, but its few correct digits in `f32` decide in which direction and how far. So in `f32` a few elements
/// (up to one in a thousand) may miss the bound; they are bounded by a hundredth of the largest change, and the
/// norm of the whole error by the bound itself. In `f64` no element misses it: see `golden_train_f64.rs`.
const BOUND: f64 = 1e-4;
const MISSES: f64 = 1e-3;
const FARTHEST_MISS: f64 = 0.01;

#[test]
fn golden_training_steps_agree() {
    let device = Device::default().autodiff();
    for case in msn_golden::cases("train") {
        for path in [Path::Plain, Path::Kernels(Precision::F32)] {
            // Reports are sums over all elements, of which f32 keeps six to seven digits.
            let trainer = train(&case, &device, path, 1e-5);
            for (part, tensors) in changes(&case, &trainer) {
                let name = format!("{} {path:?} {part}", case.name);
                let largest = tensors.values().map(Change::largest).fold(0.0, f64::max);
                let errors: Vec<f64> = tensors.values().flat_map(|change| change.errors()).collect();
                let misses = errors.iter().filter(|error| **error > BOUND * largest).count();
                let farthest = errors.iter().copied().fold(0.0, f64::max);
                let square = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
                let moved: Vec<f64> = tensors.values().flat_map(|change| change.expected()).collect();
                let norm = (square(&errors) / square(&moved)).sqrt();
                println!(
                    "{name}: {misses} of {} miss, farthest {:.1e}, norm {norm:.1e}",
                    errors.len(),
                    farthest / largest
                );
                assert!(
                    misses as f64 <= MISSES * errors.len() as f64,
                    "{name}: {misses} of {} miss",
                    errors.len()
                );
                assert!(
                    farthest <= FARTHEST_MISS * largest,
                    "{name}: farthest miss {farthest:.1e} of {largest:.1e}"
                );
            }
        }
    }
}
