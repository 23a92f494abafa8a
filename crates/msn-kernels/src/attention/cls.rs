//! Attention of the first token alone: one query a sequence and head, so dot products and sums of rows
//! rather than matrix products.

use super::forward::store_row;
use super::{Attention, Sequence};
use crate::element::{Element, SharedOutput};
use crate::scratch::Scratch;
use crate::simd::{Simd, Task, for_vectors};
use crate::softmax::vectors as softmax;

/// The dot product of two rows of a head.
#[inline(always)]
fn dot<S: Simd, A: Element, B: Element>(s: S, a: &[A], b: &[B]) -> f32 {
    let mut sum = s.splat(0.0);
    for_vectors(
        s,
        a.len(),
        #[inline(always)]
        |range| sum = s.mul_add(A::load(s, &a[range.clone()]), B::load(s, &b[range]), sum),
    );
    s.sum(sum)
}

/// `sum += factor * row`.
#[inline(always)]
fn add_scaled<S: Simd, E: Element>(s: S, sum: &mut [f32], factor: f32, row: &[E]) {
    let factor = s.splat(factor);
    for_vectors(
        s,
        sum.len(),
        #[inline(always)]
        |range| {
            let sum = &mut sum[range.clone()];
            s.store(s.mul_add(factor, E::load(s, &row[range]), s.load(sum)), sum);
        },
    );
}

/// One sequence, all heads.
pub(super) struct Forward<'a, Q, E> {
    pub(super) attention: &'a Attention<'a>,
    pub(super) index: usize,
    pub(super) sequence: Sequence,
    /// `[S, D]`
    pub(super) q: &'a [Q],
    /// `[N, 2 D]`
    pub(super) kv: &'a [E],
    /// `[S, D]`
    pub(super) out: &'a SharedOutput<'a>,
}

impl<Q: Element, E: Element> Task for Forward<'_, Q, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let &Attention { heads, head_dim: dim, .. } = self.attention;
        let Sequence { first, tokens } = self.sequence;
        let width = heads * dim;
        let (mut p, mut out) = (Scratch::new(tokens), Scratch::new(dim));
        let (p, out) = (p.floats(), out.floats());
        for head in 0..heads {
            let at = self.index * width + head * dim;
            let q = &self.q[at..][..dim];
            let row = |token: usize| (first + token) * 2 * width + head * dim;
            for (token, p) in p.iter_mut().enumerate() {
                *p = dot(s, q, &self.kv[row(token)..][..dim]);
            }
            let factor = softmax::exponentials(s, p, 1.0 / (dim as f32).sqrt());
            out.fill(0.0);
            for (token, p) in p.iter().enumerate() {
                add_scaled(s, out, p * factor, &self.kv[row(token) + width..][..dim]);
            }
            // SAFETY: no other task has this sequence.
            unsafe { store_row(s, 1.0, out, self.out, at) };
        }
    }
}

/// One sequence, all heads.
pub(super) struct Backward<'a, Q, E, G> {
    pub(super) attention: &'a Attention<'a>,
    pub(super) index: usize,
    pub(super) sequence: Sequence,
    /// `[S, D]`
    pub(super) q: &'a [Q],
    /// `[N, 2 D]`
    pub(super) kv: &'a [E],
    /// `[S, D]`
    pub(super) d_out: &'a [G],
    /// `[S, D]`
    pub(super) d_q: &'a SharedOutput<'a>,
    /// `[N, 2 D]`
    pub(super) d_kv: &'a SharedOutput<'a>,
}

impl<Q: Element, E: Element, G: Element> Task for Backward<'_, Q, E, G> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let &Attention { heads, head_dim: dim, .. } = self.attention;
        let Sequence { first, tokens } = self.sequence;
        let width = heads * dim;
        let scale = 1.0 / (dim as f32).sqrt();
        let (mut p, mut dp) = (Scratch::new(tokens), Scratch::new(tokens));
        let (mut d_q, mut d_row) = (Scratch::new(dim), Scratch::new(dim));
        let (p, dp, d_q, d_row) = (p.floats(), dp.floats(), d_q.floats(), d_row.floats());
        for head in 0..heads {
            let at = self.index * width + head * dim;
            let (q, d_out) = (&self.q[at..][..dim], &self.d_out[at..][..dim]);
            let row = |token: usize| (first + token) * 2 * width + head * dim;
            for (token, (p, dp)) in p.iter_mut().zip(&mut *dp).enumerate() {
                *p = dot(s, q, &self.kv[row(token)..][..dim]);
                *dp = dot(s, d_out, &self.kv[row(token) + width..][..dim]);
            }
            let factor = softmax::exponentials(s, p, scale);
            softmax::multiply(s, p, factor);
            let mean = dot(s, p, dp);
            d_q.fill(0.0);
            for (token, (p, dp)) in p.iter().zip(&*dp).enumerate() {
                let d_score = p * scale * (dp - mean);
                add_scaled(s, d_q, d_score, &self.kv[row(token)..][..dim]);
                d_row.fill(0.0);
                add_scaled(s, d_row, d_score, q);
                // SAFETY: no other task has this sequence.
                unsafe { store_row(s, 1.0, d_row, self.d_kv, row(token)) };
                d_row.fill(0.0);
                add_scaled(s, d_row, *p, d_out);
                // SAFETY: no other task has this sequence.
                unsafe { store_row(s, 1.0, d_row, self.d_kv, row(token) + width) };
            }
            // SAFETY: no other task has this sequence.
            unsafe { store_row(s, 1.0, d_q, self.d_q, at) };
        }
    }
}
