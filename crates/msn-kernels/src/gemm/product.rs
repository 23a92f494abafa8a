//! What a matrix product multiplies, and how its operands become words.

use crate::element::Element;
use crate::simd::{Simd, for_vectors, math};
use crate::{Bf16, bf16};

/// What numbers are multiplied; how they are packed into words.
pub(crate) trait Product: Copy + Send + Sync + 'static {
    /// Elements of the inner dimension in a word.
    const PER_WORD: usize;

    /// `acc + a * b`, over all elements of the words.
    fn step<S: Simd>(s: S, acc: S::V, a: S::W, b: S::W) -> S::V;

    /// `e^(scale (x - largest))` for x up to `largest`, of a magnitude up to 2^14, and scales up to 1: as exact as operands of the
    /// product are, but for a factor within 0.1% of 1 that all x of one `largest` share.
    fn exp<S: Simd>(s: S, x: S::V, largest: S::V, scale: f32) -> S::V;

    /// Words of numbers of two consecutive rows of the inner dimension, of the first alone if a word holds one.
    fn word<S: Simd>(s: S, even: S::V, odd: S::V) -> S::W;

    /// Rows of `k` elements as words, where they are stored as they would be packed.
    fn words_of<E: Element>(rows: &[E], k: usize) -> Option<&[u32]>;

    /// Packs `src`, contiguous in the inner dimension; the last word is filled up with zeros.
    fn pack_row<S: Simd, E: Element>(s: S, src: &[E], dst: &mut [u32]);

    /// Packs up to `LANES` columns of the rows of one word: `odd` is empty beyond the last row and
    /// without meaning if a word holds one element. Rows are first multiplied by their `scale`.
    fn pack_columns<S: Simd, E: Element>(
        s: S,
        even: &[E],
        odd: &[E],
        scale: Option<[f32; 2]>,
        dst: &mut [u32],
    );
}

/// Products of `f32`.
#[derive(Clone, Copy)]
pub(crate) struct F32Product;

impl Product for F32Product {
    const PER_WORD: usize = 1;

    #[inline(always)]
    fn step<S: Simd>(s: S, acc: S::V, a: S::W, b: S::W) -> S::V {
        s.mul_add(s.words_as_floats(a), s.words_as_floats(b), acc)
    }

    #[inline(always)]
    fn exp<S: Simd>(s: S, x: S::V, largest: S::V, scale: f32) -> S::V {
        // The largest is subtracted before the scaling, so that numbers near it keep all their digits.
        math::exp(s, s.mul(s.splat(scale), s.sub(x, largest)))
    }

    #[inline(always)]
    fn word<S: Simd>(s: S, even: S::V, _odd: S::V) -> S::W {
        s.floats_as_words(even)
    }

    fn words_of<E: Element>(rows: &[E], _k: usize) -> Option<&[u32]> {
        E::f32_words(rows)
    }

    #[inline(always)]
    fn pack_row<S: Simd, E: Element>(s: S, src: &[E], dst: &mut [u32]) {
        for_vectors(
            s,
            src.len(),
            #[inline(always)]
            |range| s.store_words(s.floats_as_words(E::load(s, &src[range.clone()])), &mut dst[range]),
        );
    }

    #[inline(always)]
    fn pack_columns<S: Simd, E: Element>(
        s: S,
        even: &[E],
        _odd: &[E],
        scale: Option<[f32; 2]>,
        dst: &mut [u32],
    ) {
        let mut v = E::load(s, even);
        if let Some([scale, _]) = scale {
            v = s.mul(v, s.splat(scale));
        }
        s.store_words(s.floats_as_words(v), dst);
    }
}

/// Products of bf16, summed in `f32`, where the processor has instructions for words of two; `f32` operands are rounded.
#[derive(Clone, Copy)]
pub(crate) struct Bf16Product;

impl Product for Bf16Product {
    const PER_WORD: usize = 2;

    #[inline(always)]
    fn step<S: Simd>(s: S, acc: S::V, a: S::W, b: S::W) -> S::V {
        s.dot_bf16(acc, a, b)
    }

    #[inline(always)]
    fn exp<S: Simd>(s: S, x: S::V, largest: S::V, scale: f32) -> S::V {
        let scale = s.splat(scale * std::f32::consts::LOG2_E);
        // The shared factor is the rounding of this product, of 2^-10 at most.
        let least = s.mul(largest, scale);
        math::exp2_coarse(s, s.mul_add(x, scale, s.sub(s.splat(0.0), least)))
    }

    #[inline(always)]
    fn word<S: Simd>(s: S, even: S::V, odd: S::V) -> S::W {
        s.pair(even, odd)
    }

    fn words_of<E: Element>(rows: &[E], k: usize) -> Option<&[u32]> {
        if k.is_multiple_of(2) { E::bf16_words(rows) } else { None }
    }

    #[inline(always)]
    fn pack_row<S: Simd, E: Element>(s: S, src: &[E], dst: &mut [u32]) {
        let halves = &mut bf16::halves_mut(dst)[..src.len().next_multiple_of(2)];
        if let Some(last) = halves.last_mut() {
            *last = Bf16::ZERO;
        }
        E::narrow(s, src, halves);
    }

    #[inline(always)]
    fn pack_columns<S: Simd, E: Element>(
        s: S,
        even: &[E],
        odd: &[E],
        scale: Option<[f32; 2]>,
        dst: &mut [u32],
    ) {
        let words = match scale {
            None => E::pair(s, even, odd),
            Some([first, second]) => {
                s.pair(s.mul(E::load(s, even), s.splat(first)), s.mul(E::load(s, odd), s.splat(second)))
            }
        };
        s.store_words(words, dst);
    }
}

/// Products of bf16 where the processor multiplies nothing narrower than `f32`: words of one number, widened when it is
/// packed, so that the innermost loop is that of `f32`.
#[derive(Clone, Copy)]
pub(crate) struct WidenedBf16Product;

impl Product for WidenedBf16Product {
    const PER_WORD: usize = 1;

    #[inline(always)]
    fn step<S: Simd>(s: S, acc: S::V, a: S::W, b: S::W) -> S::V {
        F32Product::step(s, acc, a, b)
    }

    #[inline(always)]
    fn exp<S: Simd>(s: S, x: S::V, largest: S::V, scale: f32) -> S::V {
        Bf16Product::exp(s, x, largest, scale)
    }

    #[inline(always)]
    fn word<S: Simd>(s: S, even: S::V, _odd: S::V) -> S::W {
        s.floats_as_words(s.round_to_bf16(even))
    }

    fn words_of<E: Element>(_rows: &[E], _k: usize) -> Option<&[u32]> {
        None
    }

    #[inline(always)]
    fn pack_row<S: Simd, E: Element>(s: S, src: &[E], dst: &mut [u32]) {
        for_vectors(
            s,
            src.len(),
            #[inline(always)]
            |range| {
                s.store_words(s.floats_as_words(E::load_as_bf16(s, &src[range.clone()])), &mut dst[range])
            },
        );
    }

    #[inline(always)]
    fn pack_columns<S: Simd, E: Element>(
        s: S,
        even: &[E],
        _odd: &[E],
        scale: Option<[f32; 2]>,
        dst: &mut [u32],
    ) {
        let v = match scale {
            None => E::load_as_bf16(s, even),
            Some([scale, _]) => s.round_to_bf16(s.mul(E::load(s, even), s.splat(scale))),
        };
        s.store_words(s.floats_as_words(v), dst);
    }
}
