//! Attention of the first token alone, without keys and values: all heads of a sequence are queries to its tokens
//! themselves.

use std::marker::PhantomData;

use super::backward::attend_backward;
use super::forward::{attend, store_row};
use super::operand::Strided;
use super::{Attention, Sequence, scale};
use crate::element::{Element, SharedMut, SharedOutput};
use crate::gemm::product::Product;
use crate::simd::{Simd, Task, for_vectors};

/// One sequence: rows (head, index) of the queries, and its tokens. `EachCls` makes one task of each index, so that no two
/// tasks share any of them.
#[derive(Clone, Copy)]
pub(super) struct Cls<'a, P, E> {
    pub(super) attention: &'a Attention<'a>,
    pub(super) index: usize,
    pub(super) sequence: Sequence,
    /// `[heads, S, D]`
    pub(super) queries: &'a [f32],
    /// `[N, D]`
    pub(super) tokens: &'a [E],
    pub(super) product: PhantomData<P>,
}

impl<'a, P, E: Copy> Cls<'a, P, E> {
    fn width(&self) -> usize {
        self.attention.width()
    }

    /// Of a matrix `[heads, S, D]`, the start of the row for a head.
    fn row(&self, head: usize) -> usize {
        (head * self.attention.lengths.len() + self.index) * self.width()
    }

    /// The sequence's rows of a matrix `[heads, S, D]`.
    fn heads<'b>(&self, matrix: &'b [f32]) -> Strided<'b, f32> {
        let ld = self.attention.lengths.len() * self.width();
        Strided { src: &matrix[self.row(0)..], ld, rows: self.attention.heads }
    }

    fn sequence(&self) -> Strided<'a, E> {
        let Sequence { first, tokens } = self.sequence;
        Strided { src: &self.tokens[first * self.width()..], ld: self.width(), rows: tokens }
    }
}

pub(super) struct Forward<'a, P, E> {
    pub(super) cls: Cls<'a, P, E>,
    /// `[heads, S, D]`
    pub(super) out: &'a SharedOutput<'a>,
}

impl<P: Product, E: Element> Task for Forward<'_, P, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { cls, out } = self;
        attend::<S, P, f32, E>(
            s,
            cls.heads(cls.queries),
            [cls.sequence(); 2],
            cls.width(),
            scale(cls.attention.head_dim),
            #[inline(always)]
            |head, factor, row| {
                // SAFETY: no other task has this sequence.
                unsafe { store_row(s, factor, row, out, cls.row(head)) };
            },
        );
    }
}

pub(super) struct Backward<'a, P, E> {
    pub(super) cls: Cls<'a, P, E>,
    /// `[heads, S, D]`
    pub(super) d_out: &'a [f32],
    /// `[heads, S, D]`
    pub(super) d_queries: &'a SharedOutput<'a>,
    /// `[N, D]`
    pub(super) d_tokens: &'a SharedMut<'a, f32>,
}

impl<P: Product, E: Element> Task for Backward<'_, P, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { cls, d_out, d_queries, d_tokens } = self;
        attend_backward::<S, P, f32, E, f32>(
            s,
            (cls.heads(cls.queries), [cls.sequence(); 2], cls.heads(d_out)),
            cls.width(),
            scale(cls.attention.head_dim),
            #[inline(always)]
            |head, d_query| {
                // SAFETY: no other task has this sequence.
                unsafe { store_row(s, 1.0, d_query, d_queries, cls.row(head)) };
            },
            // Each token is both key and value.
            #[inline(always)]
            |token, d_key, d_value| {
                let at = (cls.sequence.first + token) * d_key.len();
                // SAFETY: no other task has this sequence.
                let d_token = unsafe { d_tokens.part(at, d_key.len()) };
                for_vectors(
                    s,
                    d_key.len(),
                    #[inline(always)]
                    |range| {
                        let sum = s.add(s.load(&d_key[range.clone()]), s.load(&d_value[range.clone()]));
                        s.store(sum, &mut d_token[range]);
                    },
                );
            },
        );
    }
}
