//! Small matrix products inside one task, of panels packed there.

use std::marker::PhantomData;

use crate::element::{Element, SharedMut};
use crate::gemm::kernel::{self, KC, Layout, Product, Tile};
use crate::gemm::pack::{self, InnerRows, Panels, panel_width, panels_len};
use crate::scratch::Scratch;
use crate::simd::Simd;

/// A packed operand B.
pub(super) struct Operand<P> {
    packed: Scratch,
    columns: usize,
    words: usize,
    product: PhantomData<P>,
}

impl<P: Product> Operand<P> {
    /// Packs `k` rows of `n` elements, the rows being the inner dimension.
    #[inline(always)]
    pub(super) fn straight<S: Simd, E: Element>(s: S, src: &[E], ld: usize, [k, n]: [usize; 2]) -> Self {
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

    /// Packs `n` rows of `k` elements, the rows being the columns of B.
    #[inline(always)]
    pub(super) fn transposed<S: Simd, E: Element>(s: S, src: &[E], ld: usize, [n, k]: [usize; 2]) -> Self {
        let words = k.div_ceil(P::PER_WORD);
        let mut packed = Scratch::new(panels_len::<S>(n, words));
        for panel in 0..n.div_ceil(S::NR) {
            let dst = &mut packed.words()[panel * S::NR * words..];
            pack::transposed_panel::<S, P, E>(s, src, ld, [n, k], panel, dst);
        }
        Self { packed, columns: n, words, product: PhantomData }
    }

    /// The product of `rows` (at most `MR`) rows of A, packed in `a`, with the words of the inner
    /// dimension from `from` on, at most [`KC`]. `out` has `MR` rows of [`padded`] columns.
    #[inline(always)]
    pub(super) fn multiply<S: Simd>(
        &mut self,
        s: S,
        (layout, a, rows): (Layout, &[u32], usize),
        from: usize,
        out: &mut [f32],
        accumulate: bool,
    ) {
        let steps = KC.min(self.words - from);
        let stride = padded::<S>(self.columns);
        for (panel, column) in (0..self.columns).step_by(S::NR).enumerate() {
            let width = panel_width::<S>(self.columns, panel);
            let b = &self.packed.words()[column * self.words + from * width..];
            let tile = Tile { steps, a, b, out: &mut out[column..], stride, accumulate };
            kernel::multiply::<S, P>(s, layout, rows, width == S::NR, tile);
        }
    }

    /// The product with `rows` (at most `MR`) rows of A that are not packed yet, `ld` apart, with the
    /// whole inner dimension.
    #[inline(always)]
    pub(super) fn multiply_rows<S: Simd, E: Element>(
        &mut self,
        s: S,
        (a, ld, rows): (&[E], usize, usize),
        k: usize,
        out: &mut [f32],
    ) {
        let mut panel = Scratch::new(S::MR * kernel::ROW_STRIDE);
        let panel = panel.words();
        for from in (0..self.words).step_by(KC) {
            let k0 = from * P::PER_WORD;
            let depth = (KC * P::PER_WORD).min(k - k0);
            pack::rows::<S, P, E>(s, &a[k0..], ld, rows, depth, panel);
            self.multiply(s, (Layout::Rows, panel, rows), from, out, from > 0);
        }
    }
}

/// The columns of a buffer for products with `n` columns: whole vectors.
pub(super) fn padded<S: Simd>(n: usize) -> usize {
    n.next_multiple_of(S::LANES)
}

/// Packs all columns of `k` rows (at most [`KC`] words) as panels of `MR` rows of a transposed A.
#[inline(always)]
pub(super) fn pack_transposed_a<S: Simd, P: Product>(
    s: S,
    src: &[f32],
    ld: usize,
    [k, columns]: [usize; 2],
    dst: &mut [u32],
) {
    let panels = Panels { n: columns, width: S::MR, words: k.div_ceil(P::PER_WORD) };
    let rows = InnerRows { src, ld, count: k, scale: None };
    let dst = SharedMut::new(dst);
    // SAFETY: `dst` is borrowed by this call alone.
    unsafe { pack::columns::<S, P, f32>(s, rows, panels, &dst, 0) };
}
