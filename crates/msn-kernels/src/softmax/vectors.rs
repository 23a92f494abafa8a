//! Softmax on vectors.

use crate::simd::{Simd, Task, fold_vectors, for_vectors, math, sum_vectors};

/// Replaces `row` by `exp(scale (row - max))` and gives 1 / the sum of that. The largest element is
/// subtracted before the scaling, so that elements near it keep all their digits.
#[inline(always)]
fn exponentials<S: Simd>(s: S, row: &mut [f32], scale: f32) -> f32 {
    let lane_maxima = fold_vectors(
        s,
        row.len(),
        f32::NEG_INFINITY,
        #[inline(always)]
        |largest, range| {
            let x = &row[range];
            s.max(s.keep_first(s.load(x), x.len(), f32::NEG_INFINITY), largest)
        },
        #[inline(always)]
        |a, b| s.max(a, b),
    );
    let (largest, scale) = (s.splat(s.largest(lane_maxima)), s.splat(scale));
    let len = row.len();
    let sums = sum_vectors(
        s,
        len,
        #[inline(always)]
        |sum, range| {
            let x = &mut row[range];
            let e = math::exp(s, s.mul(scale, s.sub(s.load(x), largest)));
            s.store(e, x);
            s.add(sum, s.keep_first(e, x.len(), 0.0))
        },
    );
    1.0 / s.sum(sums)
}

/// Multiplies `row` by `factor`.
#[inline(always)]
fn multiply<S: Simd>(s: S, row: &mut [f32], factor: f32) {
    let factor = s.splat(factor);
    for_vectors(
        s,
        row.len(),
        #[inline(always)]
        |range| {
            let x = &mut row[range];
            s.store(s.mul(s.load(x), factor), x);
        },
    );
}

pub(super) struct SoftmaxRows<'a> {
    pub(super) rows: &'a mut [f32],
    pub(super) width: usize,
    pub(super) scale: f32,
}

impl Task for SoftmaxRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.rows.chunks_exact_mut(self.width) {
            let factor = exponentials(s, row, self.scale);
            multiply(s, row, factor);
        }
    }
}
