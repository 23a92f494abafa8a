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
    pub(crate) buffer: Buffer<'a>,
    /// Adds to what is in the buffer.
    pub(crate) accumulate: bool,
}

/// Where a tile lies in memory.
pub(crate) struct Buffer<'a> {
    /// Row-major.
    pub(crate) elements: &'a mut [f32],
    /// Elements from a row to the next.
    pub(crate) stride: usize,
}

/// What becomes of the sums of a tile.
pub(crate) trait Finish {
    /// Called [`EARLY`] steps before the end.
    fn prepare<S: Simd>(&self, s: S);
    /// `M` rows of `N` vectors; `tile` is where they came from if they were added to.
    fn finish<S: Simd, const M: usize, const N: usize>(self, s: S, sums: &[[S::V; N]; M], tile: Buffer<'_>);
}

/// A step of 12 rows and two vectors takes 24 cycles on Zen 4: memory that is asked for so many steps before the end is
/// there in time, and what is asked for at the start of a long tile may have left the first-level cache when it ends.
const EARLY: usize = 64;

/// The sums go to the tile's buffer.
pub(crate) struct Keep;

impl Finish for Keep {
    #[inline(always)]
    fn prepare<S: Simd>(&self, _s: S) {}

    #[inline(always)]
    fn finish<S: Simd, const M: usize, const N: usize>(self, s: S, sums: &[[S::V; N]; M], tile: Buffer<'_>) {
        let Buffer { elements, stride } = tile;
        assert!((M - 1) * stride + N * S::LANES <= elements.len());
        let out = elements.as_mut_ptr();
        for (i, row) in sums.iter().enumerate() {
            for (v, sum) in row.iter().enumerate() {
                // SAFETY: i < M and v < N, inside the elements by the assertion.
                unsafe { s.store_ptr(*sum, out.add(i * stride + v * S::LANES)) };
            }
        }
    }
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

/// Computes `rows` (at most `MR`) rows and one (`!wide`) or two vectors of columns, into the tile's buffer. The rows after
/// them, up to `MR`, may be overwritten with numbers of no meaning.
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
                (..=$small, false) => s.call(Micro::<P, Keep, $small, 1, ROW, STEP>::new(apart, tile, Keep)),
                (..=$small, true) => s.call(Micro::<P, Keep, $small, 2, ROW, STEP>::new(apart, tile, Keep)),
                (..=$medium, false) => {
                    s.call(Micro::<P, Keep, $medium, 1, ROW, STEP>::new(apart, tile, Keep))
                }
                (..=$medium, true) => s.call(Micro::<P, Keep, $medium, 2, ROW, STEP>::new(apart, tile, Keep)),
                (_, false) => s.call(Micro::<P, Keep, $large, 1, ROW, STEP>::new(apart, tile, Keep)),
                (_, true) => s.call(Micro::<P, Keep, $large, 2, ROW, STEP>::new(apart, tile, Keep)),
            }
        };
    }
    if S::MR == 12 {
        enter!(12, 8, 4);
    } else {
        enter!(6, 4, 2);
    }
}

/// Computes a whole tile, `MR` rows of two vectors, and finishes it while it is in registers.
///
/// # Panics
/// As [`multiply`].
#[inline(always)]
pub(crate) fn multiply_whole<S: Simd, P: Product, F: Finish>(
    s: S,
    layout: Layout,
    tile: Tile<'_>,
    finish: F,
) {
    #[inline(always)]
    fn sized<S: Simd, P: Product, F: Finish, const ROW: usize, const STEP: usize>(
        s: S,
        apart: usize,
        tile: Tile<'_>,
        finish: F,
    ) {
        if S::MR == 12 {
            s.call(Micro::<P, F, 12, 2, ROW, STEP>::new(apart, tile, finish));
        } else {
            s.call(Micro::<P, F, 6, 2, ROW, STEP>::new(apart, tile, finish));
        }
    }
    match layout {
        Layout::Rows => sized::<S, P, F, ROW_STRIDE, 1>(s, ROW_STRIDE, tile, finish),
        Layout::InPlace(stride) => sized::<S, P, F, ANY, 1>(s, stride, tile, finish),
        Layout::Columns(step) => sized::<S, P, F, 1, ANY>(s, step, tile, finish),
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
struct Micro<'a, P, F, const M: usize, const N: usize, const ROW: usize, const STEP: usize> {
    apart: usize,
    tile: Tile<'a>,
    finish: F,
    product: PhantomData<P>,
}

impl<'a, P, F, const M: usize, const N: usize, const ROW: usize, const STEP: usize>
    Micro<'a, P, F, M, N, ROW, STEP>
{
    #[inline(always)]
    fn new(apart: usize, tile: Tile<'a>, finish: F) -> Self {
        Self { apart, tile, finish, product: PhantomData }
    }
}

impl<P: Product, F: Finish, const M: usize, const N: usize, const ROW: usize, const STEP: usize> Task
    for Micro<'_, P, F, M, N, ROW, STEP>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Tile { steps, a, b, buffer, accumulate } = self.tile;
        let row_stride = if ROW == ANY { self.apart } else { ROW };
        let step = if STEP == ANY { self.apart } else { STEP };
        assert!(steps == 0 || (M - 1) * row_stride + (steps - 1) * step < a.len());
        assert!(steps * N * S::LANES <= b.len());
        let mut acc = [[s.splat(0.0); N]; M];
        if accumulate {
            let Buffer { elements, stride } = &buffer;
            assert!((M - 1) * stride + N * S::LANES <= elements.len());
            for (i, row) in acc.iter_mut().enumerate() {
                for (v, acc) in row.iter_mut().enumerate() {
                    // SAFETY: i < M and v < N, inside the elements by the third assertion.
                    *acc = unsafe { s.load_ptr(elements.as_ptr().add(i * stride + v * S::LANES)) };
                }
            }
        }
        let (mut a, mut b) = (a.as_ptr(), b.as_ptr());
        let early = EARLY.min(steps);
        for (part, steps) in [steps - early, early].into_iter().enumerate() {
            if part == 1 {
                self.finish.prepare(s);
            }
            for _ in 0..steps {
                // SAFETY: this is step p < steps of both parts together, so that `b` points at N vectors inside its slice
                // by the second assertion, and word i * row_stride of `a` for i < M lies inside its slice by the first.
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
        }
        self.finish.finish(s, &acc, buffer);
    }
}
