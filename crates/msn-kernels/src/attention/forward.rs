//! The forward pass of one head: `MR` queries at a time, all keys.

use super::operand::{Operand, padded};
use super::{Head, HeadKernel};
use crate::element::{Element, SharedOutput, with_elements};
use crate::gemm::kernel::Product;
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::softmax::vectors as softmax;

pub(super) struct Forward<'a, E> {
    /// `[N, 3 D]`
    pub(super) qkv: &'a [E],
    /// `[N, D]`
    pub(super) out: &'a SharedOutput<'a>,
}

impl<E: Element> HeadKernel for Forward<'_, E> {
    #[inline(always)]
    unsafe fn run<S: Simd, P: Product>(&self, s: S, head: Head) {
        let Head { sequence, column, dim, width } = head;
        let (tokens, ld) = (sequence.tokens, 3 * width);
        let q = &self.qkv[sequence.first * ld + column..];
        let (k, v) = (&q[width..], &q[2 * width..]);
        let mut keys = Operand::<P>::transposed(s, k, ld, [tokens, dim]);
        let mut values = Operand::<P>::straight(s, v, ld, [tokens, dim]);
        let (score_ld, out_ld) = (padded::<S>(tokens), padded::<S>(dim));
        let (mut scores, mut out) = (Scratch::new(S::MR * score_ld), Scratch::new(S::MR * out_ld));
        let (scores, out) = (scores.floats(), out.floats());
        for first in (0..tokens).step_by(S::MR) {
            let rows = S::MR.min(tokens - first);
            keys.multiply_rows(s, (&q[first * ld..], ld, rows), dim, scores);
            let mut factors = Scratch::new(rows);
            let factors = factors.floats();
            for (scores, factor) in scores.chunks_exact_mut(score_ld).zip(&mut *factors) {
                *factor = softmax::exponentials(s, &mut scores[..tokens], head.scale());
            }
            values.multiply_rows(s, (&*scores, score_ld, rows), tokens, out);
            for (i, (out, factor)) in out.chunks_exact_mut(out_ld).zip(factors).enumerate() {
                let row = (sequence.first + first + i) * width + column;
                softmax::multiply(s, &mut out[..dim], *factor);
                // SAFETY: the row lies inside the head's part, which the caller lends to this call.
                unsafe { store_row(s, &out[..dim], self.out, row) };
            }
        }
    }
}

/// Stores `src` to `dst` from `offset` on.
///
/// # Safety
/// No other thread uses these elements.
#[inline(always)]
pub(super) unsafe fn store_row<S: Simd>(s: S, src: &[f32], dst: &SharedOutput<'_>, offset: usize) {
    with_elements!(SharedOutput, dst, dst => {
        // SAFETY: by the caller's promise.
        let dst = unsafe { dst.part(offset, src.len()) };
        for (src, dst) in src.chunks(S::LANES).zip(dst.chunks_mut(S::LANES)) {
            Element::store(s, s.load(src), dst);
        }
    });
}
