//! C = A op(B), with A row-major: the products of the forward pass and of the gradients of activations.

use std::marker::PhantomData;

use super::epilogue::Shared;
use super::kernel::{self, KC, Layout, ROW_STRIDE};
use super::macro_kernel::{Chunk, RowPanels};
use super::pack::{self, InnerRows, Panels, panel_width, panels_len};
use super::product::{F32Product, Product};
use super::{Dims, Precision};
use crate::element::{Element, SharedMut, Source, with_elements};
use crate::parallel;
use crate::scratch::Scratch;
use crate::simd::{Simd, Task};

/// Rows of C that one thread computes at a time, at most.
const MAX_ROWS: usize = 120;
/// Rows of an untransposed B that one thread packs at a time.
const PACKED_ROWS: usize = 32;

/// The whole product.
pub(super) struct RowsProduct<'a> {
    pub(super) precision: Precision,
    pub(super) dims: Dims,
    /// `[m, k]`
    pub(super) a: Source<'a>,
    /// `[n, k]` if `b_transposed`, else `[k, n]`
    pub(super) b: Source<'a>,
    pub(super) b_transposed: bool,
    pub(super) epilogue: Shared<'a>,
}

impl Task for RowsProduct<'_> {
    type Output = ();

    fn run<S: Simd>(self, s: S) {
        match self.precision {
            Precision::F32 => multiply::<S, F32Product>(s, &self),
            Precision::Bf16 => multiply::<S, S::Bf16Product>(s, &self),
        }
    }
}

fn multiply<S: Simd, P: Product>(s: S, problem: &RowsProduct<'_>) {
    let Dims { m, n, k } = problem.dims;
    let words = k.div_ceil(P::PER_WORD);
    let mut b = Scratch::new(panels_len::<S>(n, words));
    with_elements!(Source, problem.b, source => {
        let b = b.words();
        if problem.b_transposed {
            pack_transposed::<S, P, _>(s, source, [n, k], b);
        } else {
            pack_straight::<S, P, _>(s, source, [n, k], b);
        }
    });
    let b = &*b.words();

    let in_cache = (S::CACHED_WORDS / words.max(1)).clamp(S::MR, MAX_ROWS);
    let min_parts = parallel::min_slices();
    let for_cores = m.div_ceil(min_parts).next_multiple_of(S::MR);
    let chunk_rows = (in_cache / S::MR * S::MR).min(for_cores);
    let chunks = m.div_ceil(chunk_rows);
    let panels = n.div_ceil(S::NR);
    let group_panels = panels.div_ceil(min_parts.div_ceil(chunks).min(panels));
    let groups = panels.div_ceil(group_panels);
    parallel::for_each(chunks * groups, |part| {
        let (chunk, group) = (part / groups, part % groups);
        let (row, panel) = (chunk * chunk_rows, group * group_panels);
        let task = RowChunk::<P> {
            problem,
            b,
            rows: row..m.min(row + chunk_rows),
            panels: panel..panels.min(panel + group_panels),
            product: PhantomData,
        };
        s.call(task);
    });
}

/// Packs its rows of A, then multiplies them.
struct RowChunk<'a, P> {
    problem: &'a RowsProduct<'a>,
    b: &'a [u32],
    rows: std::ops::Range<usize>,
    panels: std::ops::Range<usize>,
    product: PhantomData<P>,
}

impl<P: Product> Task for RowChunk<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Dims { k, .. } = self.problem.dims;
        let words = k.div_ceil(P::PER_WORD);
        if let Some(a) = self.in_place::<S>() {
            return self.multiply(s, a);
        }
        let block_stride = S::MR * ROW_STRIDE;
        let panel_stride = words.div_ceil(KC) * block_stride;
        let mut packed = Scratch::new(self.rows.len().div_ceil(S::MR) * panel_stride);
        let packed = packed.words();
        with_elements!(Source, self.problem.a, a => {
            for (q, row) in self.rows.clone().step_by(S::MR).enumerate() {
                let count = S::MR.min(self.rows.end - row);
                for (block, k0) in (0..k).step_by(KC * P::PER_WORD).enumerate() {
                    let depth = (KC * P::PER_WORD).min(k - k0);
                    let dst = &mut packed[q * panel_stride + block * block_stride..];
                    pack::rows::<S, P, _>(s, &a[row * k + k0..], k, count, depth, dst);
                }
            }
        });
        self.multiply(s, RowPanels { words: packed, layout: Layout::Rows, panel_stride, block_stride });
    }
}

impl<P: Product> RowChunk<'_, P> {
    /// The rows where they are, if they are stored as they would be packed, in whole tiles, and do not share cache sets.
    #[inline(always)]
    fn in_place<S: Simd>(&self) -> Option<RowPanels<'_>> {
        let Dims { k, .. } = self.problem.dims;
        let stride = k / P::PER_WORD;
        let whole_tiles = kernel::tile_rows::<S>(self.rows.len()) == self.rows.len();
        if !whole_tiles || kernel::rows_share_sets(stride) {
            return None;
        }
        let words = with_elements!(Source, self.problem.a, a => P::words_of(&a[self.rows.start * k..], k))?;
        let layout = Layout::InPlace(stride);
        Some(RowPanels { words, layout, panel_stride: S::MR * stride, block_stride: KC })
    }

    #[inline(always)]
    fn multiply<S: Simd>(&self, s: S, a: RowPanels<'_>) {
        let Dims { n, k, .. } = self.problem.dims;
        let words = k.div_ceil(P::PER_WORD);
        let chunk = Chunk::<P> {
            a,
            b: self.b,
            words,
            panel_words: words,
            rows: self.rows.clone(),
            panels: self.panels.clone(),
            n,
            epilogue: &self.problem.epilogue,
            product: PhantomData,
        };
        // SAFETY: each task of `multiply` has rows or panels that no other has.
        unsafe { chunk.run(s) };
    }
}

/// Packs B `[n, k]`, a panel a task.
fn pack_transposed<S: Simd, P: Product, E: Element>(s: S, src: &[E], [n, k]: [usize; 2], dst: &mut [u32]) {
    struct PackPanel<'a, P, E> {
        src: &'a [E],
        size: [usize; 2],
        panel: usize,
        dst: &'a mut [u32],
        product: PhantomData<P>,
    }
    impl<P: Product, E: Element> Task for PackPanel<'_, P, E> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let [_, k] = self.size;
            pack::transposed_panel::<S, P, E>(s, self.src, k, self.size, self.panel, self.dst);
        }
    }
    let words = k.div_ceil(P::PER_WORD);
    let dst = SharedMut::new(dst);
    parallel::for_each(n.div_ceil(S::NR), |panel| {
        let len = panel_width::<S>(n, panel) * words;
        // SAFETY: panels do not overlap.
        let dst = unsafe { dst.part(panel * S::NR * words, len) };
        s.call(PackPanel::<P, E> { src, size: [n, k], panel, dst, product: PhantomData });
    });
}

/// Packs B `[k, n]`, a slice of rows a task.
fn pack_straight<S: Simd, P: Product, E: Element>(s: S, src: &[E], [n, k]: [usize; 2], dst: &mut [u32]) {
    struct PackRows<'a, P, E> {
        src: &'a [E],
        first_row: usize,
        rows: usize,
        panels: Panels,
        dst: &'a SharedMut<'a, u32>,
        product: PhantomData<P>,
    }
    impl<P: Product, E: Element> Task for PackRows<'_, P, E> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let n = self.panels.n;
            let src = &self.src[self.first_row * n..];
            let rows = InnerRows { src, ld: n, count: self.rows, scale: None };
            let first_word = self.first_row / P::PER_WORD;
            // SAFETY: each task has rows, and so words, of its own.
            unsafe {
                pack::columns::<S, P, E>(s, rows, self.panels, self.dst, first_word);
            }
        }
    }
    let panels = Panels { n, width: S::NR, words: k.div_ceil(P::PER_WORD) };
    let dst = &SharedMut::new(dst);
    parallel::for_each(k.div_ceil(PACKED_ROWS), |slice| {
        let first_row = slice * PACKED_ROWS;
        let rows = PACKED_ROWS.min(k - first_row);
        s.call(PackRows::<P, E> { src, first_row, rows, panels, dst, product: PhantomData });
    });
}
