//! Lengths of slices against their shapes, without wrapping: a length that wrapped would fit a slice far too short for its
//! shape, and the parts of it that threads write would no longer be apart.

/// Checks that a slice has as many elements as its shape.
///
/// # Panics
/// If it has not.
pub(crate) fn check(kernel: &str, slice: &str, found: usize, shape: &[usize]) {
    let expected = shape.iter().try_fold(1_usize, |product, dimension| product.checked_mul(*dimension));
    assert!(expected == Some(found), "{kernel}: {slice} has {found} elements, expected {shape:?}");
}

/// The number of `what` in `rows` rows of `columns`.
///
/// # Panics
/// If it is more than a `usize` holds.
pub(crate) fn area(what: &str, [rows, columns]: [usize; 2]) -> usize {
    rows.checked_mul(columns).unwrap_or_else(|| panic!("{what}: {rows} x {columns} are too many to count"))
}

/// The number of `what` in parts of these lengths.
///
/// # Panics
/// If it is more than a `usize` holds.
pub(crate) fn total(what: &str, lengths: &[usize]) -> usize {
    let total = lengths.iter().try_fold(0_usize, |sum, length| sum.checked_add(*length));
    total.unwrap_or_else(|| panic!("{what}: those of {} parts are too many to count", lengths.len()))
}
