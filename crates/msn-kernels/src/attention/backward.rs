//! The backward pass of one head. With P the probabilities and `dP = dO V^T`:
//!
//! ```text
//! dV = P^T dO
//! dS = P (dP - rowsum(P dP)) / sqrt(head_dim)     element by element
//! dQ = dS K
//! dK = dS^T Q
//! ```
//!
//! P and dS are computed transposed, keys down and queries across, a panel of queries at a time. A block of panels is
//! kept for dK and dV, so that they never exist for a whole long sequence.

use super::forward::store_row;
use super::operand::{Operand, Rows, pack_as_columns, padded};
use super::{Head, HeadKernel, scores};
use crate::element::{Element, SharedOutput};
use crate::gemm::kernel::Layout;
use crate::gemm::product::Product;
use crate::scratch::Scratch;
use crate::simd::Simd;

/// Panels of queries in a block.
const BLOCK_PANELS: usize = 8;

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
        let (tokens, ld) = (sequence.tokens, 3 * width);
        let start = sequence.first * ld + column;
        let q = &self.qkv[start..];
        let (k, v) = (&q[width..], &q[2 * width..]);
        let d_out = &self.d_out[sequence.first * width + column..];

        let mut queries = Operand::<P>::transposed(s, q, ld, [tokens, dim]);
        let mut d_out_t = Operand::<P>::transposed(s, d_out, width, [tokens, dim]);
        let mut keys = Rows::new::<S, P, E>(s, k, ld, [tokens, dim]);
        let mut values = Rows::new::<S, P, E>(s, v, ld, [tokens, dim]);
        let mut keys_straight = Operand::<P>::straight(s, k, ld, [tokens, dim]);

        let block_queries = (BLOCK_PANELS * S::NR).min(padded::<S>(tokens));
        let panel_len = tokens.next_multiple_of(S::MR) * S::NR;
        let (mut p, mut ds) = (Scratch::new(panel_len), Scratch::new(panel_len));
        let (p, ds) = (p.floats(), ds.floats());
        let mut columns = Scratch::new(tokens.div_ceil(P::PER_WORD) * S::NR);
        let columns = columns.words();
        let mut p_rows = Rows::room::<S, P>(tokens, block_queries);
        let mut ds_rows = Rows::room::<S, P>(tokens, block_queries);
        let head_ld = padded::<S>(dim);
        let mut dq = Scratch::new(S::MR * head_ld);
        let dq = dq.floats();
        let sums_len = tokens.next_multiple_of(S::MR) * head_ld;
        let (mut dk, mut dv) = (Scratch::new(sums_len), Scratch::new(sums_len));
        let (dk, dv) = (dk.floats(), dv.floats());

        for block in (0..tokens).step_by(block_queries) {
            let depth = block_queries.min(tokens - block);
            for first in (block..block + depth).step_by(S::NR) {
                let (panel, count) = (first / S::NR, S::NR.min(tokens - first));
                let lanes = queries.multiply_panel(s, &mut keys, tokens, panel, p);
                d_out_t.multiply_panel(s, &mut values, tokens, panel, ds);
                let (p, ds) = (&mut p[..tokens * lanes], &mut ds[..tokens * lanes]);
                scores::gradients::<S, P>(s, p, ds, lanes, head.scale());
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
                    for (i, dq) in dq.chunks_exact(head_ld).take(rows).enumerate() {
                        let at = start + (first + row + i) * ld;
                        // SAFETY: the row lies inside the head's part, which the caller lends to this call.
                        unsafe { store_row(s, 1.0, &dq[..dim], self.d_qkv, at) };
                    }
                }
            }
            let q = Operand::<P>::straight(s, &q[block * ld..], ld, [depth, dim]);
            let d_out = Operand::<P>::straight(s, &d_out[block * width..], width, [depth, dim]);
            for (left, mut right, sums) in [(&mut ds_rows, q, &mut *dk), (&mut p_rows, d_out, &mut *dv)] {
                for first in (0..tokens).step_by(S::MR) {
                    let rows = S::MR.min(tokens - first);
                    right.multiply(s, left.from(first), rows, &mut sums[first * head_ld..], block > 0);
                }
            }
        }
        for (sums, part) in [(dk, 1), (dv, 2)] {
            for (i, row) in sums.chunks_exact(head_ld).take(tokens).enumerate() {
                // SAFETY: the row lies inside the head's part, which the caller lends to this call.
                unsafe { store_row(s, 1.0, &row[..dim], self.d_qkv, start + i * ld + part * width) };
            }
        }
    }
}
