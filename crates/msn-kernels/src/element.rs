//! Slices whose elements are `f32` or bf16.

use std::marker::PhantomData;

use crate::bf16::{self, Bf16};
use crate::simd::{Simd, for_vectors};

/// A number that is stored in memory and computed with as `f32`.
pub(crate) trait Element: Copy + Default + Send + Sync + 'static {
    /// Up to `LANES` elements from the start of `src`, zeros after its end.
    fn load<S: Simd>(s: S, src: &[Self]) -> S::V;
    /// [`Element::load`], rounded to bf16.
    fn load_as_bf16<S: Simd>(s: S, src: &[Self]) -> S::V;
    /// As many lanes as `dst` has elements, rounded.
    fn store<S: Simd>(s: S, v: S::V, dst: &mut [Self]);
    /// Words of two bf16: of `lo` in the lower halves, of `hi` in the upper.
    fn pair<S: Simd>(s: S, lo: &[Self], hi: &[Self]) -> S::W;
    /// Rounds `src` into the start of `dst`.
    fn narrow<S: Simd>(s: S, src: &[Self], dst: &mut [Bf16]);
    fn from_f32(x: f32) -> Self;
    fn to_f32(self) -> f32;
    /// The numbers as words, if they are `f32`.
    fn f32_words(src: &[Self]) -> Option<&[u32]>;
    /// The numbers as words of two, if they are an even number of bf16 that starts at a word.
    fn bf16_words(src: &[Self]) -> Option<&[u32]>;
}

impl Element for f32 {
    #[inline(always)]
    fn load<S: Simd>(s: S, src: &[Self]) -> S::V {
        s.load(src)
    }
    #[inline(always)]
    fn load_as_bf16<S: Simd>(s: S, src: &[Self]) -> S::V {
        s.round_to_bf16(s.load(src))
    }
    #[inline(always)]
    fn store<S: Simd>(s: S, v: S::V, dst: &mut [Self]) {
        s.store(v, dst);
    }
    #[inline(always)]
    fn pair<S: Simd>(s: S, lo: &[Self], hi: &[Self]) -> S::W {
        s.pair(s.load(lo), s.load(hi))
    }
    #[inline(always)]
    fn narrow<S: Simd>(s: S, src: &[Self], dst: &mut [Bf16]) {
        for_vectors(
            s,
            src.len(),
            #[inline(always)]
            |range| s.store_bf16(s.load(&src[range.clone()]), &mut dst[range]),
        );
    }
    fn from_f32(x: f32) -> Self {
        x
    }
    fn to_f32(self) -> f32 {
        self
    }
    fn f32_words(src: &[Self]) -> Option<&[u32]> {
        Some(f32_words(src))
    }
    fn bf16_words(_: &[Self]) -> Option<&[u32]> {
        None
    }
}

impl Element for Bf16 {
    #[inline(always)]
    fn load<S: Simd>(s: S, src: &[Self]) -> S::V {
        s.load_bf16(src)
    }
    #[inline(always)]
    fn load_as_bf16<S: Simd>(s: S, src: &[Self]) -> S::V {
        s.load_bf16(src)
    }
    #[inline(always)]
    fn store<S: Simd>(s: S, v: S::V, dst: &mut [Self]) {
        s.store_bf16(v, dst);
    }
    #[inline(always)]
    fn pair<S: Simd>(s: S, lo: &[Self], hi: &[Self]) -> S::W {
        s.pair_bf16(lo, hi)
    }
    #[inline(always)]
    fn narrow<S: Simd>(_s: S, src: &[Self], dst: &mut [Bf16]) {
        dst[..src.len()].copy_from_slice(src);
    }
    fn from_f32(x: f32) -> Self {
        Self::from_f32(x)
    }
    fn to_f32(self) -> f32 {
        self.to_f32()
    }
    fn f32_words(_: &[Self]) -> Option<&[u32]> {
        None
    }
    fn bf16_words(src: &[Self]) -> Option<&[u32]> {
        bf16::words(src)
    }
}

/// Numbers to read, in either type.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Half the memory, 8 bits of precision.
    Bf16(&'a [Bf16]),
}

/// Numbers to write, in either type; results are rounded to it.
#[derive(Debug)]
pub enum Output<'a> {
    /// Single precision.
    F32(&'a mut [f32]),
    /// Half the memory, 8 bits of precision.
    Bf16(&'a mut [Bf16]),
}

impl<'a> From<&'a [f32]> for Source<'a> {
    fn from(slice: &'a [f32]) -> Self {
        Self::F32(slice)
    }
}

impl<'a> From<&'a [Bf16]> for Source<'a> {
    fn from(slice: &'a [Bf16]) -> Self {
        Self::Bf16(slice)
    }
}

impl<'a> From<&'a mut [f32]> for Output<'a> {
    fn from(slice: &'a mut [f32]) -> Self {
        Self::F32(slice)
    }
}

impl<'a> From<&'a mut [Bf16]> for Output<'a> {
    fn from(slice: &'a mut [Bf16]) -> Self {
        Self::Bf16(slice)
    }
}

/// Runs `$body` with `$slice` bound to the slice inside a [`Source`] or [`Output`], once a type.
macro_rules! with_elements {
    ($kind:ident, $value:expr, $slice:ident => $body:expr) => {
        match $value {
            $kind::F32($slice) => $body,
            $kind::Bf16($slice) => $body,
        }
    };
}
pub(crate) use with_elements;

impl Source<'_> {
    /// The number of elements.
    pub fn len(&self) -> usize {
        with_elements!(Source, self, slice => slice.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element `i`, widened.
    pub(crate) fn get(&self, i: usize) -> f32 {
        with_elements!(Source, self, slice => slice[i].to_f32())
    }
}

impl Output<'_> {
    /// The number of elements.
    pub fn len(&self) -> usize {
        with_elements!(Output, self, slice => slice.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets element `i`, rounded.
    pub(crate) fn set(&mut self, i: usize, x: f32) {
        with_elements!(Output, self, slice => slice[i] = Element::from_f32(x));
    }
}

/// A slice that several threads write disjoint parts of.
pub(crate) struct SharedMut<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for the mutable slice that it was made of, whose parts may be sent to other threads
// if T may; `part` makes its callers promise that no two parts in use overlap.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The part of `len` elements from `offset` on.
    ///
    /// # Safety
    /// While it is in use, no other part that overlaps it is.
    ///
    /// # Panics
    /// If the part reaches past the end.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "the caller promises that parts in use are disjoint")]
    pub(crate) unsafe fn part(&self, offset: usize, len: usize) -> &mut [T] {
        assert!(offset <= self.len && len <= self.len - offset);
        // SAFETY: inside the slice by the assertion; not aliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(offset), len) }
    }

    /// The address of an element, for prefetching alone.
    #[inline(always)]
    pub(crate) fn address(&self, offset: usize) -> *const T {
        self.start.wrapping_add(offset)
    }
}

/// An [`Output`] that several threads write disjoint parts of.
pub(crate) enum SharedOutput<'a> {
    F32(SharedMut<'a, f32>),
    Bf16(SharedMut<'a, Bf16>),
}

impl<'a> From<Output<'a>> for SharedOutput<'a> {
    fn from(output: Output<'a>) -> Self {
        match output {
            Output::F32(slice) => Self::F32(SharedMut::new(slice)),
            Output::Bf16(slice) => Self::Bf16(SharedMut::new(slice)),
        }
    }
}

fn f32_words(src: &[f32]) -> &[u32] {
    // SAFETY: an f32 has the size and the alignment of a u32, and every pattern of 32 bits is a u32.
    unsafe { std::slice::from_raw_parts(src.as_ptr().cast(), src.len()) }
}
