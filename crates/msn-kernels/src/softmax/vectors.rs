//! Softmax on vectors.

use crate::simd::{Simd, Task, math};

/// Replaces `row` by `exp(scale (row - max))` and gives 1 / the sum of that. The largest element is
/// subtracted before the scaling, so that elements near it keep all their digits.
#[inline(always)]
pub(crate) fn exponentials<S: Simd>(s: S, row: &mut [f32], scale: f32) -> f32 {
    let mut largest = s.splat(f32::NEG_INFINITY);
    for x in row.chunks(S::LANES) {
        largest = s.max(s.keep_first(s.load(x), x.len(), f32::NEG_INFINITY), largest);
    }
    let (largest, scale) = (s.splat(s.largest(largest)), s.splat(scale));
    let mut sum = s.splat(0.0);
    for x in row.chunks_mut(S::LANES) {
        let e = math::exp(s, s.mul(scale, s.sub(s.load(x), largest)));
        s.store(e, x);
        sum = s.add(sum, s.keep_first(e, x.len(), 0.0));
    }
    1.0 / s.sum(sum)
}

/// Multiplies `row` by `factor`.
#[inline(always)]
pub(crate) fn multiply<S: Simd>(s: S, row: &mut [f32], factor: f32) {
    let factor = s.splat(factor);
    for x in row.chunks_mut(S::LANES) {
        s.store(s.mul(s.load(x), factor), x);
    }
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
