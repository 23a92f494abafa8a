//! Softmax of rows.

mod plain;
mod vectors;

use rayon::prelude::*;

use crate::isa::{self, Isa};
use crate::simd;

/// Elements that one thread computes at a time, about.
const CHUNK: usize = 16 * 1024;

/// Replaces each row of `width` elements by `softmax(scale * row)`; the largest element is subtracted
/// first. A row with a NaN becomes all NaN.
///
/// # Panics
/// If the number of elements is not a multiple of `width`, `width` is 0 or `scale` negative.
pub fn softmax_rows(rows: &mut [f32], width: usize, scale: f32) {
    assert!(
        width > 0 && rows.len().is_multiple_of(width),
        "softmax_rows: {} elements are not rows of {width}",
        rows.len()
    );
    assert!(scale >= 0.0, "softmax_rows: the scale is {scale}, expected at least 0");
    match isa::current() {
        Isa::Plain => rows.chunks_exact_mut(width).for_each(|row| plain::softmax(row, scale)),
        isa => {
            let chunk = CHUNK.div_ceil(width) * width;
            rows.par_chunks_mut(chunk)
                .for_each(|rows| simd::run(isa, vectors::SoftmaxRows { rows, width, scale }));
        }
    }
}
