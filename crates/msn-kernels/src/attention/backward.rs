//! The backward pass of one head. With P the probabilities and `dP = dO V^T`:
//!
//! ```text
//! dV = P^T dO
//! dS = P (dP - rowsum(P dP)) scale     element by element
//! dQ = dS K
//! dK = dS^T Q
//! ```
//!
//! P and dS are computed transposed, keys down and queries across, a panel of queries at a time. A block of panels is
//! kept for dK and dV, so that they never exist for a whole long sequence.

use super::forward::store_row;
use super::operand::{Operand, Rows, Strided, pack_as_columns, padded};
use super::{Head, HeadKernel, scores};
use crate::element::{Element, SharedOutput};
use crate::gemm::kernel::Layout;
use crate::gemm::product::Product;
use crate::scratch::Scratch;
use crate::simd::Simd;

/// Panels of queries in a block.
const BLOCK_PANELS: usize = 8;

/// The gradients of [`attend`](super::forward::attend): calls `store_query` with that of each query, `store_key_value` with
/// those of each key and value.
#[inline(always)]
pub(super) fn attend_backward<S: Simd, P: Product, Q: Element, E: Element, G: Element>(
    s: S,
    (q, [k, v], d_out): (Strided<'_, Q>, [Strided<'_, E>; 2], Strided<'_, G>),
    dim: usize,
    scale: f32,
    mut store_query: impl FnMut(usize, &[f32]),
    mut store_key_value: impl FnMut(usize, &[f32], &[f32]),
) {
    let tokens = k.rows;
    let mut queries = Operand::<P>::transposed(s, q, dim);
    let mut d_out_t = Operand::<P>::transposed(s, d_out, dim);
    let mut keys = Rows::new::<S, P, E>(s, k, dim);
    let mut values = Rows::new::<S, P, E>(s, v, dim);
    let mut keys_straight = Operand::<P>::straight(s, k, dim);

    let block_queries = (BLOCK_PANELS * S::NR).min(padded::<S>(q.rows));
    let panel_len = tokens.next_multiple_of(S::MR) * S::NR;
    let (mut p, mut ds) = (Scratch::new(panel_len), Scratch::new(panel_len));
    let (p, ds) = (p.floats(), ds.floats());
    let mut columns = Scratch::new(tokens.div_ceil(P::PER_WORD) * S::NR);
    let columns = columns.words();
    let mut p_rows = Rows::room::<S, P>(tokens, block_queries);
    let mut ds_rows = Rows::room::<S, P>(tokens, block_queries);
    let row_len = padded::<S>(dim);
    let mut dq = Scratch::new(S::MR * row_len);
    let dq = dq.floats();
    let sums_len = tokens.next_multiple_of(S::MR) * row_len;
    let (mut dk, mut dv) = (Scratch::new(sums_len), Scratch::new(sums_len));
    let (dk, dv) = (dk.floats(), dv.floats());

    for block in (0..q.rows).step_by(block_queries) {
        let depth = block_queries.min(q.rows - block);
        for first in (block..block + depth).step_by(S::NR) {
            let (panel, count) = (first / S::NR, S::NR.min(q.rows - first));
            let lanes = queries.multiply_panel(s, &mut keys, tokens, panel, p);
            d_out_t.multiply_panel(s, &mut values, tokens, panel, ds);
            let (p, ds) = (&mut p[..tokens * lanes], &mut ds[..tokens * lanes]);
            scores::gradients::<S, P>(s, p, ds, lanes, scale);
            let from = (first - block) / P::PER_WORD;
            for (panel, rows) in [(&mut *p, &mut p_rows), (ds, &mut ds_rows)] {
                for (key, row) in panel.chunks_exact_mut(lanes).enumerate() {
                    // The last word may reach beyond the last query, where there are arbitrary numbers.
                    row[count..count.next_multiple_of(P::PER_WORD)].fill(0.0);
                    P::pack_row(s, row, rows.row(key, from, lanes / P::PER_WORD));
                }
            }
            pack_as_columns::<S, P>(s, ds, [tokens, lanes], columns);
            for row in (0..count).step_by(S::MR) {
                let rows = S::MR.min(count - row);
                keys_straight.multiply(s, (Layout::Columns(lanes), &columns[row..]), rows, dq, false);
                for (i, dq) in dq.chunks_exact(row_len).take(rows).enumerate() {
                    store_query(first + row + i, &dq[..dim]);
                }
            }
        }
        let q = Operand::<P>::straight(s, q.part(block, depth), dim);
        let d_out = Operand::<P>::straight(s, d_out.part(block, depth), dim);
        for (left, mut right, sums) in [(&mut ds_rows, q, &mut *dk), (&mut p_rows, d_out, &mut *dv)] {
            for first in (0..tokens).step_by(S::MR) {
                let rows = S::MR.min(tokens - first);
                right.multiply(s, left.from(first), rows, &mut sums[first * row_len..], block > 0);
            }
        }
    }
    for (token, (dk, dv)) in dk.chunks_exact(row_len).zip(dv.chunks_exact(row_len)).take(tokens).enumerate() {
        store_key_value(token, &dk[..dim], &dv[..dim]);
    }
}

pub(super) struct Backward<'a, E, G> {
    /// `[N, 3 D]`
    pub(super) qkv: &'a [E],
    /// `[N, D]`
    pub(super) d_out: &'a [G],
    /// `[N, 3 D]`
    pub(super) d_qkv: &'a SharedOutput<'a>,
}

impl<E: Element, G: Element> HeadKernel for Backward<'_, E, G> {
    #[inline(always)]
    unsafe fn run<S: Simd, P: Product>(&self, s: S, head: Head) {
        let Head { sequence, column, dim, width } = head;
        let [q, k, v] = head.parts(self.qkv);
        let d_out = &self.d_out[sequence.first * width + column..];
        let d_out = Strided { src: d_out, ld: width, rows: sequence.tokens };
        let at = |token: usize, part: usize| (sequence.first + token) * 3 * width + part * width + column;
        attend_backward::<S, P, E, E, G>(
            s,
            (q, [k, v], d_out),
            dim,
            head.scale(),
            #[inline(always)]
            |token, dq| {
                // SAFETY: the row lies inside the head's part, which the caller lends to this call.
                unsafe { store_row(s, 1.0, dq, self.d_qkv, at(token, 0)) };
            },
            #[inline(always)]
            |token, dk, dv| {
                // SAFETY: as above.
                unsafe { store_row(s, 1.0, dk, self.d_qkv, at(token, 1)) };
                // SAFETY: as above.
                unsafe { store_row(s, 1.0, dv, self.d_qkv, at(token, 2)) };
            },
        );
    }
}
