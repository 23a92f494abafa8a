//! Small matrix products inside one task.

use std::marker::PhantomData;

use crate::element::{Element, SharedMut};
use crate::gemm::kernel::{self, Buffer, KC, Layout, Tile, tile_rows};
use crate::gemm::pack::{self, InnerRows, Panels, panel_width, panels_len};
use crate::gemm::product::Product;
use crate::scratch::Scratch;
use crate::simd::Simd;

/// Rows of a matrix, `ld` elements apart.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a, E> {
    pub(super) src: &'a [E],
    pub(super) ld: usize,
    pub(super) rows: usize,
}

impl<'a, E> Strided<'a, E> {
    /// `rows` of the rows, from row `first` on.
    #[inline(always)]
    pub(super) fn part(self, first: usize, rows: usize) -> Self {
        Self { src: &self.src[first * self.ld..], ld: self.ld, rows }
    }
}

/// An operand A: rows where they are, if they are stored as they would be packed, or packed.
pub(super) enum Rows<'a> {
    InPlace { words: &'a [u32], stride: usize },
    Packed { words: Scratch, stride: usize },
}

impl<'a> Rows<'a> {
    /// Rows of `k` elements; behind them may stand others, which are then read in vain.
    #[inline(always)]
    pub(super) fn new<S: Simd, P: Product, E: Element>(s: S, matrix: Strided<'a, E>, k: usize) -> Self {
        let Strided { src, ld, rows } = matrix;
        if let Some((words, stride)) = pack::rows_in_place::<P, E>(src, ld, [tile_rows::<S>(rows), k])
            && !kernel::rows_share_sets(stride)
        {
            return Self::InPlace { words, stride };
        }
        let mut packed = Self::room::<S, P>(rows, k);
        for row in 0..rows {
            P::pack_row(s, &src[row * ld..][..k], packed.row(row, 0, k.div_ceil(P::PER_WORD)));
        }
        packed
    }

    /// Room for `rows` rows of `k` elements, with arbitrary contents.
    pub(super) fn room<S: Simd, P: Product>(rows: usize, k: usize) -> Self {
        let stride = k.div_ceil(P::PER_WORD).next_multiple_of(S::LANES) + S::LANES;
        Self::Packed { words: Scratch::new(tile_rows::<S>(rows) * stride), stride }
    }

    /// `count` words of a packed row, from word `from` on.
    ///
    /// # Panics
    /// If the rows are not packed.
    #[inline(always)]
    pub(super) fn row(&mut self, row: usize, from: usize, count: usize) -> &mut [u32] {
        match self {
            Self::InPlace { .. } => unreachable!("borrowed rows are not written"),
            Self::Packed { words, stride } => &mut words.words()[row * *stride + from..][..count],
        }
    }

    /// The rows from `first` on, for a tile.
    #[inline(always)]
    pub(super) fn from(&mut self, first: usize) -> (Layout, &[u32]) {
        match self {
            Self::InPlace { words, stride } => (Layout::InPlace(*stride), &words[first * *stride..]),
            Self::Packed { words, stride } => (Layout::InPlace(*stride), &words.words()[first * *stride..]),
        }
    }
}

/// A packed operand B.
pub(super) struct Operand<P> {
    packed: Scratch,
    columns: usize,
    words: usize,
    product: PhantomData<P>,
}

impl<P: Product> Operand<P> {
    /// Packs rows of `n` elements, the rows being the inner dimension.
    #[inline(always)]
    pub(super) fn straight<S: Simd, E: Element>(s: S, matrix: Strided<'_, E>, n: usize) -> Self {
        let Strided { src, ld, rows: k } = matrix;
        let words = k.div_ceil(P::PER_WORD);
        let mut packed = Scratch::new(panels_len::<S>(n, words));
        let panels = Panels { n, width: S::NR, words };
        let rows = InnerRows { src, ld, count: k, scale: None };
        // SAFETY: `packed` is used here alone.
        unsafe {
            let dst = SharedMut::new(packed.words());
            pack::columns::<S, P, E>(s, rows, panels, &dst, 0);
        }
        Self { packed, columns: n, words, product: PhantomData }
    }

    /// Packs rows of `k` elements, the rows being the columns of B. Lanes beyond the last column are arbitrary.
    #[inline(always)]
    pub(super) fn transposed<S: Simd, E: Element>(s: S, matrix: Strided<'_, E>, k: usize) -> Self {
        let Strided { src, ld, rows: n } = matrix;
        let words = k.div_ceil(P::PER_WORD);
        let mut packed = Scratch::new(panels_len::<S>(n, words));
        for panel in 0..n.div_ceil(S::NR) {
            let dst = &mut packed.words()[panel * S::NR * words..];
            pack::transposed_panel::<S, P, E>(s, src, ld, [n, k], panel, dst);
        }
        Self { packed, columns: n, words, product: PhantomData }
    }

    /// The product of `rows` (at most `MR`) rows of A with the whole inner dimension. `out` has `MR` rows of
    /// [`padded`] columns.
    #[inline(always)]
    pub(super) fn multiply<S: Simd>(
        &mut self,
        s: S,
        (layout, a): (Layout, &[u32]),
        rows: usize,
        out: &mut [f32],
        accumulate: bool,
    ) {
        let stride = padded::<S>(self.columns);
        let step = match layout {
            Layout::Columns(step) => step,
            Layout::Rows | Layout::InPlace(_) => 1,
        };
        for (panel, column) in (0..self.columns).step_by(S::NR).enumerate() {
            let width = panel_width::<S>(self.columns, panel);
            for from in (0..self.words).step_by(KC) {
                let b = &self.packed.words()[column * self.words + from * width..];
                let steps = KC.min(self.words - from);
                let (a, accumulate) = (&a[from * step..], accumulate || from > 0);
                let buffer = Buffer { elements: &mut out[column..], stride };
                let tile = Tile { steps, a, b, buffer, accumulate };
                kernel::multiply::<S, P>(s, layout, rows, width == S::NR, tile);
            }
        }
    }

    /// The product of `count` rows of A with column panel `panel` alone, whose width it gives. `out` has rows of that
    /// width, their number rounded up to `MR`.
    #[inline(always)]
    pub(super) fn multiply_panel<S: Simd>(
        &mut self,
        s: S,
        rows: &mut Rows<'_>,
        count: usize,
        panel: usize,
        out: &mut [f32],
    ) -> usize {
        let (width, column) = (panel_width::<S>(self.columns, panel), panel * S::NR);
        let b = &self.packed.words()[column * self.words..];
        for first in (0..count).step_by(S::MR) {
            let (layout, a) = rows.from(first);
            let out = &mut out[first * width..];
            for from in (0..self.words).step_by(KC) {
                let (steps, accumulate) = (KC.min(self.words - from), from > 0);
                let (a, b) = (&a[from..], &b[from * width..]);
                let buffer = Buffer { elements: &mut *out, stride: width };
                let tile = Tile { steps, a, b, buffer, accumulate };
                kernel::multiply::<S, P>(s, layout, S::MR.min(count - first), width == S::NR, tile);
            }
        }
        width
    }
}

/// The columns of a buffer for products with `n` columns: whole vectors.
pub(super) fn padded<S: Simd>(n: usize) -> usize {
    n.next_multiple_of(S::LANES)
}

/// Packs `k` rows of `width` (one vector or two) elements as words of an operand A with [`Layout::Columns`] of `width`.
#[inline(always)]
pub(super) fn pack_as_columns<S: Simd, P: Product>(
    s: S,
    src: &[f32],
    [k, width]: [usize; 2],
    dst: &mut [u32],
) {
    let panels = Panels { n: width, width, words: k.div_ceil(P::PER_WORD) };
    let rows = InnerRows { src, ld: width, count: k, scale: None };
    let dst = SharedMut::new(dst);
    // SAFETY: `dst` is borrowed by this call alone.
    unsafe { pack::columns::<S, P, f32>(s, rows, panels, &dst, 0) };
}
