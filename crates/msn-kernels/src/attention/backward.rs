//! The backward pass of one head. With P the probabilities and `dP = dO V^T`:
//!
//! ```text
//! dV = P^T dO
//! dS = P (dP - rowsum(P dP)) / sqrt(head_dim)     element by element
//! dQ = dS K
//! dK = dS^T Q
//! ```
//!
//! A block of queries at a time, so that P and dS never exist for a whole long sequence.

use super::forward::store_row;
use super::operand::{Operand, pack_transposed_a, padded};
use super::{Head, HeadKernel};
use crate::element::{Element, SharedOutput};
use crate::gemm::kernel::{Layout, Product};
use crate::scratch::Scratch;
use crate::simd::{Simd, for_vectors, sum_vectors};
use crate::softmax::vectors as softmax;

/// Register tiles of queries in a block.
const BLOCK_TILES: usize = 8;

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

        let mut keys_t = Operand::<P>::transposed(s, k, ld, [tokens, dim]);
        let mut values_t = Operand::<P>::transposed(s, v, ld, [tokens, dim]);
        let mut keys = Operand::<P>::straight(s, k, ld, [tokens, dim]);

        let block_rows = tokens.min(BLOCK_TILES * S::MR);
        let (score_ld, head_ld) = (padded::<S>(tokens), padded::<S>(dim));
        let score_len = block_rows.next_multiple_of(S::MR) * score_ld;
        let (mut p, mut ds) = (Scratch::new(score_len), Scratch::new(score_len));
        let (p, ds) = (p.floats(), ds.floats());
        let mut dq = Scratch::new(S::MR * head_ld);
        let dq = dq.floats();
        let key_tiles = tokens.div_ceil(S::MR);
        let (mut dk, mut dv) =
            (Scratch::new(key_tiles * S::MR * head_ld), Scratch::new(key_tiles * S::MR * head_ld));
        let mut packed = Scratch::new(key_tiles * S::MR * block_rows.div_ceil(P::PER_WORD));

        for block in (0..tokens).step_by(block_rows) {
            let block_end = tokens.min(block + block_rows);
            for first in (block..block_end).step_by(S::MR) {
                let rows = S::MR.min(block_end - first);
                let (p, ds) = (&mut p[(first - block) * score_ld..], &mut ds[(first - block) * score_ld..]);
                keys_t.multiply_rows(s, (&q[first * ld..], ld, rows), dim, p);
                values_t.multiply_rows(s, (&d_out[first * width..], width, rows), dim, ds);
                for (p, ds) in p.chunks_exact_mut(score_ld).zip(ds.chunks_exact_mut(score_ld)).take(rows) {
                    score_gradient(s, &mut p[..tokens], &mut ds[..tokens], head.scale());
                }
                keys.multiply_rows(s, (&*ds, score_ld, rows), tokens, dq);
                for (i, dq) in dq.chunks_exact(head_ld).take(rows).enumerate() {
                    // SAFETY: the row lies inside the head's part, which the caller lends to this call.
                    unsafe { store_row(s, &dq[..dim], self.d_qkv, start + (first + i) * ld) };
                }
            }
            let depth = block_end - block;
            for (left, right, sum) in [
                (&*ds, Operand::<P>::straight(s, &q[block * ld..], ld, [depth, dim]), dk.floats()),
                (&*p, Operand::straight(s, &d_out[block * width..], width, [depth, dim]), dv.floats()),
            ] {
                let mut right = right;
                let packed = packed.words();
                pack_transposed_a::<S, P>(s, left, score_ld, [depth, tokens], packed);
                let panel_len = S::MR * depth.div_ceil(P::PER_WORD);
                for (tile, sum) in sum.chunks_exact_mut(S::MR * head_ld).enumerate() {
                    let rows = S::MR.min(tokens - tile * S::MR);
                    let a = (Layout::Columns, &packed[tile * panel_len..], rows);
                    right.multiply(s, a, 0, sum, block > 0);
                }
            }
        }
        for (sum, part) in [(dk.floats(), 1), (dv.floats(), 2)] {
            for (i, row) in sum.chunks_exact(head_ld).take(tokens).enumerate() {
                // SAFETY: the row lies inside the head's part, which the caller lends to this call.
                unsafe { store_row(s, &row[..dim], self.d_qkv, start + i * ld + part * width) };
            }
        }
    }
}

/// Replaces a row of scores by probabilities and the gradients of the probabilities in `d` by those of
/// the products `q k`, before their scaling.
#[inline(always)]
fn score_gradient<S: Simd>(s: S, scores: &mut [f32], d: &mut [f32], scale: f32) {
    let factor = softmax::exponentials(s, scores, scale);
    let sums = sum_vectors(
        s,
        scores.len(),
        #[inline(always)]
        |sum, range| s.mul_add(s.load(&scores[range.clone()]), s.load(&d[range]), sum),
    );
    let mean = s.splat(s.sum(sums) * factor);
    let (factor, scale) = (s.splat(factor), s.splat(scale));
    for_vectors(
        s,
        scores.len(),
        #[inline(always)]
        |range| {
            let (e, d) = (&mut scores[range.clone()], &mut d[range]);
            let p = s.mul(s.load(e), factor);
            s.store(s.mul(s.mul(p, scale), s.sub(s.load(d), mean)), d);
            s.store(p, e);
        },
    );
}
