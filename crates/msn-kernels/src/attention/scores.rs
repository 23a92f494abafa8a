//! Softmax of scores that are stored transposed, `[keys, width]`: queries lie side by side in the lanes of one vector or
//! two, so that maxima and sums run down the columns, and nothing is done across lanes.

use crate::gemm::product::Product;
use crate::simd::Simd;

/// Magnitudes of scores up to which [`Product::exp`] is as exact as it says; in training they are smaller by far.
const HUGE: f32 = 16384.0;

/// Packs `exp(scale (column - max))` of each column into `weights`, words of an operand A with
/// [`Layout::Columns`](crate::gemm::kernel::Layout::Columns) of `width`; `factors` receives 1 / the sum of each. Scores may be
/// overwritten.
#[inline(always)]
pub(super) fn exponentials<S: Simd, P: Product>(
    s: S,
    scores: &mut [f32],
    width: usize,
    scale: f32,
    weights: &mut [u32],
    factors: &mut [f32],
) {
    for lane in (0..width).step_by(S::LANES) {
        let largest = largest(s, scores, width, lane);
        let mut sum = s.splat(0.0);
        let words = scores.chunks(P::PER_WORD * width).zip(weights.chunks_exact_mut(width));
        for (rows, words) in words {
            let even = P::exp(s, s.load(&rows[lane..][..S::LANES]), largest, scale);
            sum = s.add(sum, even);
            let mut odd = s.splat(0.0);
            if rows.len() > width {
                odd = P::exp(s, s.load(&rows[width + lane..][..S::LANES]), largest, scale);
                sum = s.add(sum, odd);
            }
            s.store_words(P::word(s, even, odd), &mut words[lane..][..S::LANES]);
        }
        s.store(s.div(s.splat(1.0), sum), &mut factors[lane..][..S::LANES]);
    }
}

/// Replaces scores by probabilities P, and the gradients dP of the probabilities in `d` by those of the products `q k`,
/// before their scaling: `scale P (dP - sum(P dP))`, the sum down the column.
#[inline(always)]
pub(super) fn gradients<S: Simd, P: Product>(
    s: S,
    scores: &mut [f32],
    d: &mut [f32],
    width: usize,
    scale: f32,
) {
    for lane in (0..width).step_by(S::LANES) {
        let largest = largest(s, scores, width, lane);
        let (mut sum, mut dot) = (s.splat(0.0), s.splat(0.0));
        for (row, d) in scores.chunks_exact_mut(width).zip(d.chunks_exact(width)) {
            let x = &mut row[lane..][..S::LANES];
            let e = P::exp(s, s.load(x), largest, scale);
            s.store(e, x);
            sum = s.add(sum, e);
            dot = s.mul_add(e, s.load(&d[lane..][..S::LANES]), dot);
        }
        let factor = s.div(s.splat(1.0), sum);
        let mean = s.mul(dot, factor);
        for (row, d) in scores.chunks_exact_mut(width).zip(d.chunks_exact_mut(width)) {
            let (x, d) = (&mut row[lane..][..S::LANES], &mut d[lane..][..S::LANES]);
            let p = s.mul(s.load(x), factor);
            s.store(s.mul(s.mul(p, s.splat(scale)), s.sub(s.load(d), mean)), d);
            s.store(p, x);
        }
    }
}

/// The largest element of each column of a vector's width, from column `lane` on. Where it is beyond
/// [`HUGE`] in magnitude it is subtracted from its column, which leaves 0.
#[inline(always)]
fn largest<S: Simd>(s: S, scores: &mut [f32], width: usize, lane: usize) -> S::V {
    let largest = scores.chunks_exact(width).fold(
        s.splat(f32::NEG_INFINITY),
        #[inline(always)]
        |largest, row| s.max(s.load(&row[lane..][..S::LANES]), largest),
    );
    let huge = s.select_negative(s.sub(s.splat(HUGE), s.abs(largest)), largest, s.splat(0.0));
    if s.largest(s.abs(huge)) == 0.0 {
        return largest;
    }
    for row in scores.chunks_exact_mut(width) {
        let x = &mut row[lane..][..S::LANES];
        s.store(s.sub(s.load(x), huge), x);
    }
    s.sub(largest, huge)
}
