//! The innermost loops: a register tile of the product of a packed panel of A and one of B.

use std::marker::PhantomData;

use super::product::Product;
use crate::simd::{Simd, Task};

/// Words of the inner dimension in a block: a block of a B panel (32 columns) takes 32 KiB, of an A panel
/// (12 rows) 12 KiB, which together fit the first-level cache of today's processors.
pub(crate) const KC: usize = 256;

/// Words from a row to the next in a row-major A panel. Not a power of two, lest rows share cache sets.
pub(crate) const ROW_STRIDE: usize = KC + 16;

/// A tile of the product over one block of the inner dimension.
pub(crate) struct Tile<'a> {
    /// Words of the inner dimension, at most [`KC`].
    pub(crate) steps: usize,
    /// A panel of A, from the first word of the block.
    pub(crate) a: &'a [u32],
    /// A panel of B, from the first word of the block: one or two vectors a word.
    pub(crate) b: &'a [u32],
    /// The tile, row-major.
    pub(crate) out: &'a mut [f32],
    /// Elements from a row of `out` to the next.
    pub(crate) stride: usize,
    /// Adds to `out` rather than overwriting it.
    pub(crate) accumulate: bool,
}

/// Where a word lies in a panel of A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Row by row, [`ROW_STRIDE`] words apart.
    Rows,
    /// Row by row, this many words apart: a matrix that is read where it is.
    InPlace(usize),
    /// Word by word of the inner dimension, this many words apart: those of all rows side by side.
    Columns(usize),
}

/// Computes `rows` (at most `MR`) rows and one (`!wide`) or two vectors of columns. The rows of `out`
/// after them, up to `MR`, may be overwritten with numbers of no meaning.
///
/// # Panics
/// If the panels or the tile are shorter than that takes.
#[inline(always)]
pub(crate) fn multiply<S: Simd, P: Product>(s: S, layout: Layout, rows: usize, wide: bool, tile: Tile<'_>) {
    match layout {
        Layout::Rows => sized::<S, P, ROW_STRIDE, 1>(s, rows, wide, ROW_STRIDE, tile),
        Layout::InPlace(stride) => sized::<S, P, ANY, 1>(s, rows, wide, stride, tile),
        Layout::Columns(step) => sized::<S, P, 1, ANY>(s, rows, wide, step, tile),
    }
}

#[inline(always)]
fn sized<S: Simd, P: Product, const ROW: usize, const STEP: usize>(
    s: S,
    rows: usize,
    wide: bool,
    apart: usize,
    tile: Tile<'_>,
) {
    /// Enters the smallest tile that has the rows.
    macro_rules! enter {
        ($large:literal, $medium:literal, $small:literal) => {
            match (rows, wide) {
                (..=$small, false) => s.call(Micro::<P, $small, 1, ROW, STEP>::new(apart, tile)),
                (..=$small, true) => s.call(Micro::<P, $small, 2, ROW, STEP>::new(apart, tile)),
                (..=$medium, false) => s.call(Micro::<P, $medium, 1, ROW, STEP>::new(apart, tile)),
                (..=$medium, true) => s.call(Micro::<P, $medium, 2, ROW, STEP>::new(apart, tile)),
                (_, false) => s.call(Micro::<P, $large, 1, ROW, STEP>::new(apart, tile)),
                (_, true) => s.call(Micro::<P, $large, 2, ROW, STEP>::new(apart, tile)),
            }
        };
    }
    if S::MR == 12 {
        enter!(12, 8, 4);
    } else {
        enter!(6, 4, 2);
    }
}

/// The rows that a tile reads for `rows` rows: a multiple of a third of `MR`.
pub(crate) fn tile_rows<S: Simd>(rows: usize) -> usize {
    rows.next_multiple_of(S::MR / 3)
}

/// Whether rows this many words apart meet in the sets of a first-level cache, if not every row then every other.
pub(crate) fn rows_share_sets(stride: usize) -> bool {
    const SET_PERIOD: usize = 2048;
    (stride * size_of::<u32>()).is_multiple_of(SET_PERIOD)
}

/// Words from a row, or from a word of the inner dimension, to the next, where they are not known when the loop is
/// compiled.
const ANY: usize = 0;

/// A tile of `M` rows and `N` vectors; words of A are `ROW` apart from row to row, `STEP` from one to the next of the
/// inner dimension; `apart` where either is [`ANY`].
struct Micro<'a, P, const M: usize, const N: usize, const ROW: usize, const STEP: usize> {
    apart: usize,
    tile: Tile<'a>,
    product: PhantomData<P>,
}

impl<'a, P, const M: usize, const N: usize, const ROW: usize, const STEP: usize>
    Micro<'a, P, M, N, ROW, STEP>
{
    #[inline(always)]
    fn new(apart: usize, tile: Tile<'a>) -> Self {
        Self { apart, tile, product: PhantomData }
    }
}

impl<P: Product, const M: usize, const N: usize, const ROW: usize, const STEP: usize> Task
    for Micro<'_, P, M, N, ROW, STEP>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Tile { steps, a, b, out, stride, accumulate } = self.tile;
        let row_stride = if ROW == ANY { self.apart } else { ROW };
        let step = if STEP == ANY { self.apart } else { STEP };
        assert!(steps == 0 || (M - 1) * row_stride + (steps - 1) * step < a.len());
        assert!(steps * N * S::LANES <= b.len());
        assert!((M - 1) * stride + N * S::LANES <= out.len());
        let out = out.as_mut_ptr();
        let mut acc = [[s.splat(0.0); N]; M];
        if accumulate {
            for (i, row) in acc.iter_mut().enumerate() {
                for (v, acc) in row.iter_mut().enumerate() {
                    // SAFETY: i < M and v < N, inside `out` by the third assertion.
                    *acc = unsafe { s.load_ptr(out.add(i * stride + v * S::LANES)) };
                }
            }
        }
        let (mut a, mut b) = (a.as_ptr(), b.as_ptr());
        for _ in 0..steps {
            // SAFETY: this is step p < steps, so that `b` points at N vectors inside its slice by the
            // second assertion, and word i * row_stride of `a` for i < M lies inside its slice by the first.
            // After the last step the pointers are not read.
            unsafe {
                let mut column = [s.load_words(b); N];
                for (v, column) in column.iter_mut().enumerate().skip(1) {
                    *column = s.load_words(b.add(v * S::LANES));
                }
                for (i, row) in acc.iter_mut().enumerate() {
                    let word = s.splat_word(a.add(i * row_stride));
                    for (acc, column) in row.iter_mut().zip(column) {
                        *acc = P::step(s, *acc, word, column);
                    }
                }
                a = a.wrapping_add(step);
                b = b.wrapping_add(N * S::LANES);
            }
        }
        for (i, row) in acc.iter().enumerate() {
            for (v, acc) in row.iter().enumerate() {
                // SAFETY: i < M and v < N, inside `out` by the third assertion.
                unsafe { s.store_ptr(*acc, out.add(i * stride + v * S::LANES)) };
            }
        }
    }
}
