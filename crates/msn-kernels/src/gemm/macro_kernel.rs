//! The loops around the register tile: a chunk of rows of C by a range of column panels.

use std::marker::PhantomData;
use std::ops::Range;

use super::epilogue::{Finished, IntoBuffer, Shared};
use super::kernel::{self, Buffer, KC, Layout, Tile};
use super::pack::panel_width;
use super::product::Product;
use crate::scratch::Scratch;
use crate::simd::Simd;

/// Panels of A for one chunk of rows, packed or in place.
pub(super) struct RowPanels<'a> {
    pub(super) words: &'a [u32],
    pub(super) layout: Layout,
    /// Words from a panel to the next.
    pub(super) panel_stride: usize,
    /// Words from a block of [`KC`] words of inner dimension to the next, in one panel.
    pub(super) block_stride: usize,
}

/// A part of the product C that one thread computes.
pub(super) struct Chunk<'a, P> {
    /// The rows.
    pub(super) a: RowPanels<'a>,
    /// All panels of B.
    pub(super) b: &'a [u32],
    /// Words of the inner dimension.
    pub(super) words: usize,
    /// Words of the inner dimension that a panel of B has room for.
    pub(super) panel_words: usize,
    /// Rows of C.
    pub(super) rows: Range<usize>,
    /// Column panels of C.
    pub(super) panels: Range<usize>,
    /// Columns of C in all.
    pub(super) n: usize,
    pub(super) epilogue: &'a Shared<'a>,
    pub(super) product: PhantomData<P>,
}

impl<P: Product> Chunk<'_, P> {
    /// Computes the chunk and applies the epilogue.
    ///
    /// Panel by panel of B, block by block of the inner dimension, all panels of A: so the block of B
    /// stays in the first-level cache, and the packed rows in the second-level one.
    ///
    /// # Safety
    /// Meanwhile no other thread uses these rows and columns of the outputs.
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd>(&self, s: S) {
        let count = self.rows.len().div_ceil(S::MR);
        let tile_len = S::MR * S::NR;
        // At least one block, so that an empty inner dimension gives zeros.
        let blocks = self.words.div_ceil(KC).max(1);
        // A tile that one block finishes makes room for the next at once, in the first-level cache.
        let unfinished = if blocks == 1 { 1 } else { count };
        let mut tiles = Scratch::new(unfinished * tile_len);
        let tiles = tiles.floats();
        for j in self.panels.clone() {
            let column = j * S::NR;
            let width = panel_width::<S>(self.n, j);
            let columns = width.min(self.n - column);
            let b = &self.b[column * self.panel_words..][..width * self.panel_words];
            for block in 0..blocks {
                let steps = KC.min(self.words - block * KC);
                let last = block + 1 == blocks;
                for q in 0..count {
                    let tile = &mut tiles[q % unfinished * tile_len..][..tile_len];
                    let row = self.rows.start + q * S::MR;
                    let rows = S::MR.min(self.rows.end - row);
                    let a = &self.a.words[q * self.a.panel_stride + block * self.a.block_stride..];
                    if block == 0 {
                        self.ask_for_next(s, j, q + count);
                    }
                    let b = &b[block * KC * width..];
                    let size = [rows, columns];
                    // SAFETY: inside the chunk, which the caller lends to this call.
                    let finished = unsafe { Finished::new(self.epilogue, self.n, [row, column], size) };
                    let whole = size == [S::MR, S::NR];
                    let buffer = Buffer { elements: &mut *tile, stride: S::NR };
                    let product = Tile { steps, a, b, buffer, accumulate: block > 0 };
                    if last && whole && finished.suits_registers() {
                        kernel::multiply_whole::<S, P, _>(s, self.a.layout, product, finished);
                        continue;
                    }
                    if last && whole {
                        kernel::multiply_whole::<S, P, _>(s, self.a.layout, product, IntoBuffer(finished));
                    } else {
                        kernel::multiply::<S, P>(s, self.a.layout, rows, width == S::NR, product);
                    }
                    if last {
                        s.call(finished.in_buffer(tile));
                    }
                }
            }
        }
    }

    /// Asks for the share of column panel `j` of panel `q` of A, which is one of the next chunk's. The thread that computes
    /// this chunk takes that one next, most of the time, and would wait for the first touch of its rows.
    #[inline(always)]
    fn ask_for_next<S: Simd>(&self, s: S, j: usize, q: usize) {
        const LINE_WORDS: usize = 16;
        let (rows, row_stride, words) = match self.a.layout {
            // Packed just before it is needed.
            Layout::Rows => return,
            Layout::InPlace(stride) => (S::MR, stride, self.words),
            Layout::Columns(_) => (1, 0, S::MR * self.words),
        };
        let panel = self.a.words.as_ptr().wrapping_add(q * self.a.panel_stride);
        let lines = words.div_ceil(LINE_WORDS);
        let (share, shares) = (j - self.panels.start, self.panels.len());
        for line in lines * share / shares..lines * (share + 1) / shares {
            for row in 0..rows {
                s.prefetch_l2(panel.wrapping_add(row * row_stride + line * LINE_WORDS));
            }
        }
    }
}
