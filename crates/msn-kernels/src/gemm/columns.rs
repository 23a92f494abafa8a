//! C = A^T B, with the inner dimension across the rows of both: the gradients of weights.

use std::marker::PhantomData;

use rayon::prelude::*;

use super::epilogue::{Base, Epilogue, Shared};
use super::kernel::{KC, Layout};
use super::macro_kernel::{Chunk, RowPanels};
use super::pack::{self, InnerRows, Panels, panels_len};
use super::product::{F32Product, Product};
use super::{Dims, Precision};
use crate::element::{Element, SharedMut, Source, with_elements};
use crate::parallel;
use crate::scratch::Scratch;
use crate::simd::{Simd, Task};

/// Words of the inner dimension that are packed at a time. The packed operands of a block stay in the
/// last-level cache; C is read and written once a block.
const BLOCK_WORDS: usize = 3 * KC;
/// Rows that one thread packs at a time.
const PACKED_ROWS: usize = 64;
/// Columns of C that one thread computes at a time, at most: for each, its packed rows of A come from the last-level cache
/// again.
const GROUP_COLUMNS: usize = 192;
/// Rows of C that one thread computes at a time, at most.
const MAX_ROWS: usize = 120;
/// Column sums that one thread adds up at a time.
const SUMMED_COLUMNS: usize = 256;

/// The whole product.
pub(super) struct ColumnsProduct<'a> {
    pub(super) precision: Precision,
    pub(super) dims: Dims,
    /// `[k, m]`
    pub(super) a: Source<'a>,
    /// `[k, n]`
    pub(super) b: Source<'a>,
    /// `[k]`: multiplies the rows of A
    pub(super) row_scale: Option<&'a [f32]>,
    /// `[m]`
    pub(super) column_sums: Option<&'a mut [f32]>,
    /// `[m, n]`
    pub(super) out: &'a mut [f32],
}

impl Task for ColumnsProduct<'_> {
    type Output = ();

    fn run<S: Simd>(self, s: S) {
        match self.precision {
            Precision::F32 => multiply::<S, F32Product>(s, self),
            Precision::Bf16 => multiply::<S, S::Bf16Product>(s, self),
        }
    }
}

fn multiply<S: Simd, P: Product>(s: S, problem: ColumnsProduct<'_>) {
    let Dims { m, n, k } = problem.dims;
    let block_rows = k.min(BLOCK_WORDS * P::PER_WORD);
    let words = block_rows.div_ceil(P::PER_WORD);
    let mut a = Scratch::new(m.next_multiple_of(S::MR) * words);
    let mut b = Scratch::new(panels_len::<S>(n, words));
    let slices = k.div_ceil(PACKED_ROWS);
    let mut sums = Scratch::new(if problem.column_sums.is_some() { slices * m } else { 0 });
    // At least one block, so that an empty inner dimension gives zeros.
    for first_row in (0..k.max(1)).step_by(block_rows.max(1)) {
        let pack = PackBlock {
            problem: &problem,
            first_row,
            rows: block_rows.min(k - first_row),
            words,
            a: SharedMut::new(a.words()),
            b: SharedMut::new(b.words()),
            sums: SharedMut::new(sums.floats()),
        };
        parallel::for_each(2 * pack.rows.div_ceil(PACKED_ROWS), |task| {
            let operand = if task % 2 == 0 { Operand::A } else { Operand::B };
            s.call(PackSlice::<P> { block: &pack, slice: task / 2, operand, product: PhantomData });
        });
        let rows = pack.rows;
        let base = if first_row == 0 { Base::Zero } else { Base::Output };
        let epilogue = Epilogue::Add { bias: None, row_scale: None, base, out: &mut *problem.out };
        let block = Block {
            dims: Dims { m, n, k: rows },
            words,
            a: a.words(),
            b: b.words(),
            epilogue: epilogue.into(),
        };
        if n > 0 {
            block.multiply::<S, P>(s);
        }
    }
    if let Some(column_sums) = problem.column_sums {
        let slices = &*sums.floats();
        column_sums.par_chunks_mut(SUMMED_COLUMNS).enumerate().for_each(|(chunk, column_sums)| {
            column_sums.fill(0.0);
            for slice in slices.chunks_exact(m) {
                let parts = &slice[chunk * SUMMED_COLUMNS..];
                column_sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
            }
        });
    }
}

/// Packing of a block of rows of both operands.
struct PackBlock<'a, 'b> {
    problem: &'a ColumnsProduct<'b>,
    first_row: usize,
    rows: usize,
    /// Words of inner dimension in a panel.
    words: usize,
    a: SharedMut<'a, u32>,
    b: SharedMut<'a, u32>,
    /// `[slices, m]`: column sums of each slice of rows.
    sums: SharedMut<'a, f32>,
}

#[derive(Clone, Copy)]
enum Operand {
    A,
    B,
}

struct PackSlice<'a, 'b, P> {
    block: &'a PackBlock<'a, 'b>,
    slice: usize,
    operand: Operand,
    product: PhantomData<P>,
}

impl<P: Product> Task for PackSlice<'_, '_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let PackBlock { problem, first_row, rows, words, a, b, sums } = self.block;
        let Dims { m, n, .. } = problem.dims;
        let row = self.slice * PACKED_ROWS;
        let count = PACKED_ROWS.min(rows - row);
        let (from, word) = (first_row + row, row / P::PER_WORD);
        match self.operand {
            Operand::A => with_elements!(Source, problem.a, source => {
                let source = &source[from * m..];
                let scale = problem.row_scale.map(|scale| &scale[from..][..count]);
                let panels = Panels { n: m, width: S::MR, words: *words };
                let rows = InnerRows { src: source, ld: m, count, scale };
                // SAFETY: each task has rows of A, and so words, of its own.
                unsafe { pack::columns::<S, P, _>(s, rows, panels, a, word) };
                if problem.column_sums.is_some() {
                    // SAFETY: each task has a slice of its own.
                    let sums = unsafe { sums.part(from / PACKED_ROWS * m, m) };
                    sum_rows(s, source, scale, count, sums);
                }
            }),
            Operand::B => with_elements!(Source, problem.b, source => {
                let panels = Panels { n, width: S::NR, words: *words };
                let rows = InnerRows { src: &source[from * n..], ld: n, count, scale: None };
                // SAFETY: each task has rows of B, and so words, of its own.
                unsafe { pack::columns::<S, P, _>(s, rows, panels, b, word) };
            }),
        }
    }
}

/// Sums of `count` rows of `sums.len()` elements, each times its scale.
#[inline(always)]
fn sum_rows<S: Simd, E: Element>(s: S, src: &[E], scale: Option<&[f32]>, count: usize, sums: &mut [f32]) {
    let m = sums.len();
    for (at, sums) in sums.chunks_mut(S::LANES).enumerate().map(|(v, sums)| (v * S::LANES, sums)) {
        let mut sum = s.splat(0.0);
        for row in 0..count {
            let x = E::load(s, &src[row * m + at..][..sums.len()]);
            sum = match scale {
                Some(scale) => s.mul_add(x, s.splat(scale[row]), sum),
                None => s.add(sum, x),
            };
        }
        s.store(sum, sums);
    }
}

/// The product of a packed block of the inner dimension.
struct Block<'a> {
    dims: Dims,
    words: usize,
    a: &'a [u32],
    b: &'a [u32],
    epilogue: Shared<'a>,
}

impl Block<'_> {
    fn multiply<S: Simd, P: Product>(&self, s: S) {
        let Dims { m, n, .. } = self.dims;
        let panels = n.div_ceil(S::NR);
        let group_panels = (GROUP_COLUMNS / S::NR).min(panels.div_ceil(2));
        let groups = panels.div_ceil(group_panels);
        let for_cores = m.div_ceil(parallel::min_slices().div_ceil(groups)).next_multiple_of(S::MR);
        let chunk_rows = (MAX_ROWS / S::MR * S::MR).min(for_cores);
        let chunks = m.div_ceil(chunk_rows);
        parallel::for_each(groups * chunks, |part| {
            let (group, chunk) = (part / chunks, part % chunks);
            let (row, panel) = (chunk * chunk_rows, group * group_panels);
            s.call(BlockChunk::<P> {
                block: self,
                rows: row..m.min(row + chunk_rows),
                panels: panel..panels.min(panel + group_panels),
                product: PhantomData,
            });
        });
    }
}

struct BlockChunk<'a, P> {
    block: &'a Block<'a>,
    rows: std::ops::Range<usize>,
    panels: std::ops::Range<usize>,
    product: PhantomData<P>,
}

impl<P: Product> Task for BlockChunk<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Block { dims, words, a, b, epilogue } = self.block;
        let chunk = Chunk::<P> {
            a: RowPanels {
                words: &a[self.rows.start * words..],
                layout: Layout::Columns(S::MR),
                panel_stride: S::MR * words,
                block_stride: S::MR * KC,
            },
            b,
            words: dims.k.div_ceil(P::PER_WORD),
            panel_words: *words,
            rows: self.rows,
            panels: self.panels,
            n: dims.n,
            epilogue,
            product: PhantomData,
        };
        // SAFETY: each task of `multiply` has rows or panels that no other has.
        unsafe { chunk.run(s) };
    }
}
