//! The forward pass of one head, a panel of queries at a time, all keys:
//!
//! ```text
//! S^T = K Q^T scale        keys down, queries across
//! O = softmax(S) V
//! ```

use super::operand::{Operand, Rows, Strided, padded};
use super::{Head, HeadKernel, scores};
use crate::element::{Element, SharedOutput, with_elements};
use crate::gemm::kernel::Layout;
use crate::gemm::product::Product;
use crate::scratch::Scratch;
use crate::simd::{Simd, for_vectors};

/// `softmax(Q K^T scale) V` for rows of `dim` elements: calls `store` for each query, with a factor that its result is still to
/// be multiplied by.
#[inline(always)]
pub(super) fn attend<S: Simd, P: Product, Q: Element, E: Element>(
    s: S,
    q: Strided<'_, Q>,
    [k, v]: [Strided<'_, E>; 2],
    dim: usize,
    scale: f32,
    mut store: impl FnMut(usize, f32, &[f32]),
) {
    let tokens = k.rows;
    let mut queries = Operand::<P>::transposed(s, q, dim);
    let mut keys = Rows::new::<S, P, E>(s, k, dim);
    let mut values = Operand::<P>::straight(s, v, dim);

    let mut scores = Scratch::new(tokens.next_multiple_of(S::MR) * S::NR);
    let mut weights = Scratch::new(tokens.div_ceil(P::PER_WORD) * S::NR);
    let (mut factors, mut out) = (Scratch::new(S::NR), Scratch::new(S::MR * padded::<S>(dim)));
    let (scores, weights) = (scores.floats(), weights.words());
    let (factors, out) = (factors.floats(), out.floats());
    for (panel, first) in (0..q.rows).step_by(S::NR).enumerate() {
        let lanes = queries.multiply_panel(s, &mut keys, tokens, panel, scores);
        let scores = &mut scores[..tokens * lanes];
        scores::exponentials::<S, P>(s, scores, lanes, scale, weights, factors);
        let count = S::NR.min(q.rows - first);
        for row in (0..count).step_by(S::MR) {
            let rows = S::MR.min(count - row);
            let weights = (Layout::Columns(lanes), &weights[row..]);
            values.multiply(s, weights, rows, out, false);
            for (i, out) in out.chunks_exact(padded::<S>(dim)).take(rows).enumerate() {
                store(first + row + i, factors[row + i], &out[..dim]);
            }
        }
    }
}

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
        let [q, k, v] = head.parts(self.qkv);
        attend::<S, P, E, E>(
            s,
            q,
            [k, v],
            dim,
            head.scale(),
            #[inline(always)]
            |token, factor, row| {
                let at = (sequence.first + token) * width + column;
                // SAFETY: the row lies inside the head's part, which the caller lends to this call.
                unsafe { store_row(s, factor, row, self.out, at) };
            },
        );
    }
}

/// Stores `factor` times `src` to `dst` from `offset` on.
///
/// # Safety
/// No other thread uses these elements.
#[inline(always)]
pub(super) unsafe fn store_row<S: Simd>(
    s: S,
    factor: f32,
    src: &[f32],
    dst: &SharedOutput<'_>,
    offset: usize,
) {
    let factor = s.splat(factor);
    with_elements!(SharedOutput, dst, dst => {
        // SAFETY: by the caller's promise.
        let dst = unsafe { dst.part(offset, src.len()) };
        for_vectors(
            s,
            src.len(),
            #[inline(always)]
            |range| Element::store(s, s.mul(factor, s.load(&src[range.clone()])), &mut dst[range]),
        );
    });
}
