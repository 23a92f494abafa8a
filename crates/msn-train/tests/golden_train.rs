//! Three whole training steps against reference values, in the arithmetic of the training. In `f64`, where rounding plays
//! no part: `golden_train_f64.rs`.

mod common;

use common::{Change, changes, train};
use msn_model::{Path, Precision, device_named};

/// How far the weights of a part may end from the reference.
struct Bounds {
    /// Relative error of the loss, its terms and the norm of the gradient.
    report: f64,
    /// Norm of all errors, relative to the norm of all changes.
    norm: f64,
    /// Error of an element, relative to the largest change, that only the share `misses` of the elements exceeds.
    element: f64,
    misses: f64,
    /// The same error that no element exceeds.
    farthest: f64,
}

/// Reports are sums over all elements, of which f32 keeps six to seven digits.
///
/// Adam divides a gradient by its own size. An element whose gradient is a millionth of the others still moves by a
/// full step, but its few correct digits in f32 decide in which direction and how far. So a few elements (up to three in
/// a thousand) may miss the bound of 1e-4 that holds for all of them in f64; none by more than a hundredth of the
/// largest change, and the norm of the whole error keeps the bound.
const F32: Bounds = Bounds { report: 1e-5, norm: 1e-4, element: 1e-4, misses: 3e-3, farthest: 1e-2 };

/// Operands rounded to bf16 leave errors of about 1% in the gradients (see the encoder's tests), which Adam hands on to
/// the step of every element whose gradient is not small. Those that are smaller than the error of their neighbours may
/// move in any direction, by up to two full steps too far. Measured: norms of 0.6 to 7.6%, of which the bound is twice
/// the worst; of the reports me-max, a small difference of two entropies, is off the farthest, by 2%.
const BF16: Bounds = Bounds { report: 4e-2, norm: 0.15, element: 0.1, misses: 0.05, farthest: 2.0 };

#[test]
fn golden_training_steps_agree() {
    let device = device_named(&msn_golden::device_name()).expect("compiled in").autodiff();
    for case in msn_golden::cases("train") {
        for (path, bounds) in
            [(Path::Plain, F32), (Path::Kernels(Precision::F32), F32), (Path::Kernels(Precision::Bf16), BF16)]
        {
            let trainer = train(&case, &device, path, bounds.report);
            for (part, tensors) in changes(&case, &trainer) {
                let name = format!("{} {path:?} {part}", case.name);
                let largest = tensors.values().map(Change::largest).fold(0.0, f64::max);
                let errors: Vec<f64> = tensors.values().flat_map(|change| change.errors()).collect();
                let misses = errors.iter().filter(|error| **error > bounds.element * largest).count();
                let farthest = errors.iter().copied().fold(0.0, f64::max) / largest;
                let square = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
                let moved: Vec<f64> = tensors.values().flat_map(|change| change.expected()).collect();
                let norm = (square(&errors) / square(&moved)).sqrt();
                let count = errors.len();
                println!("{name}: {misses} of {count} miss, farthest {farthest:.1e}, norm {norm:.1e}");
                assert!(misses as f64 <= bounds.misses * count as f64, "{name}: {misses} of {count} miss");
                assert!(
                    farthest <= bounds.farthest,
                    "{name}: farthest miss {farthest:.1e} of the largest change"
                );
                assert!(norm <= bounds.norm, "{name}: norm of the errors {norm:.1e} of that of the changes");
            }
        }
    }
}
