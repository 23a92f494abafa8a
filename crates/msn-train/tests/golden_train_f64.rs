//! Three whole training steps against reference values in `f64`: the same code, without the rounding of `f32`.
//! A file of its own, since a process has one element type.

#[path = "it/common/mod.rs"]
mod common;

use burn::tensor::{Device, FloatDType};
use common::{changes, train};
use msn_model::Path;

/// Weights end within this of the largest change of their tensor. The reference is stored in `f32`, whose last digit
/// (6e-8 of the value) is added.
const BOUND: f64 = 1e-4;
const STORED: f64 = 6e-8;

#[test]
fn golden_training_steps_agree_in_f64() {
    let mut device = Device::flex();
    device.configure(FloatDType::F64).expect("the first use of the device in this process");
    let device = device.autodiff();
    for case in msn_golden::cases("train") {
        let trainer = train(&case, &device, Path::Plain, 1e-6, |_, _| {});
        for (part, tensors) in changes(&case, &trainer) {
            for (name, change) in tensors {
                let largest = change.largest();
                for ((error, value), index) in change.errors().zip(&change.end).zip(0..) {
                    let bound = BOUND * largest + STORED * f64::from(value.abs());
                    let case = &case.name;
                    assert!(
                        error <= bound,
                        "{case}: {part} {name}[{index}]: {error:.1e} of a change of {largest:.1e}"
                    );
                }
            }
        }
    }
}
