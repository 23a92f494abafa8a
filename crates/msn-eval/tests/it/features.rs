//! Construction and preprocessing of features.

use msn_eval::{Error, Features, Labelled};

#[test]
fn the_first_value_that_is_not_finite_is_named() {
    let error = Features::new(3, 2, vec![0.0, 1.0, 2.0, f32::NAN, f32::INFINITY, 0.0]).expect_err("NaN");
    assert_eq!(error.to_string(), "features: row 1, column 1: expected a finite number, found NaN");
}

#[test]
fn lengths_are_checked() {
    let error = Features::new(3, 2, vec![0.0; 5]).expect_err("5 values");
    assert_eq!(error.to_string(), "features: expected 3 rows x 2 columns of values, found 5 values");
    assert!(matches!(Features::new(0, 2, vec![]), Err(Error::Empty { rows: 0, dim: 2 })));
    assert!(matches!(Features::new(usize::MAX, 2, vec![]), Err(Error::Length { .. })));
    let one = Features::new(1, 1, vec![0.0]).expect("finite");
    assert!(matches!(Labelled::new(one, vec![]), Err(Error::LabelCount { rows: 1, found: 0 })));
}

#[test]
fn normalised_rows_are_centred_and_of_unit_length() {
    let rows = Features::new(2, 3, vec![1.0, 2.0, 6.0, -2e-5, 1e-5, 4e-5]).expect("finite").normalise();
    // (1, 2, 6) - 3 = (-2, -1, 3), of length sqrt(14).
    for (found, expected) in rows.row(0).iter().zip([-2.0, -1.0, 3.0]) {
        assert!((f64::from(*found) - expected / 14f64.sqrt()).abs() < 1e-7);
    }
    let (sum, squares) = rows.row(1).iter().fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
    // Rounding to f32 of numbers below 1.
    assert!(sum.abs() < 1e-6 && (squares - 1.0).abs() < 1e-6);
}

#[test]
fn rows_of_equal_values_become_zero() {
    for value in [0.0, 0.1, -7.3e8, 1e-30] {
        let rows = Features::new(1, 5, vec![value; 5]).expect("finite").normalise();
        assert_eq!(rows.data(), [0.0; 5], "{value}");
    }
}

#[test]
fn huge_rows_normalise_without_overflow() {
    let rows = Features::new(1, 2, vec![3e38, -3e38]).expect("finite").normalise();
    let half = 0.5f32.sqrt();
    assert_eq!(rows.data(), [half, -half]);
}
