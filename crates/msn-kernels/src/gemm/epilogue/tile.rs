//! An [`Epilogue`] applied to a finished tile, in registers or in a buffer.

use super::super::kernel::{Buffer, Finish, Keep};
use super::{Base, Epilogue};
use crate::element::{Element, SharedMut, SharedOutput, Source, with_elements};
use crate::simd::{Simd, Task, math};

/// An [`Epilogue`] whose outputs several threads write, each its own tiles.
pub(in crate::gemm) enum Shared<'a> {
    Store { bias: Option<&'a [f32]>, row_scale: Option<&'a [f32]>, out: SharedOutput<'a> },
    Add { bias: Option<&'a [f32]>, row_scale: Option<&'a [f32]>, base: Base<'a>, out: SharedMut<'a, f32> },
    Gelu { bias: Option<&'a [f32]>, pre: Option<SharedOutput<'a>>, act: SharedOutput<'a> },
    GeluGrad { pre: Source<'a>, row_scale: Option<&'a [f32]>, out: SharedOutput<'a>, act: SharedOutput<'a> },
}

impl<'a> From<Epilogue<'a>> for Shared<'a> {
    fn from(epilogue: Epilogue<'a>) -> Self {
        match epilogue {
            Epilogue::Store { bias, row_scale, out } => Self::Store { bias, row_scale, out: out.into() },
            Epilogue::Add { bias, row_scale, base, out } => {
                Self::Add { bias, row_scale, base, out: SharedMut::new(out) }
            }
            Epilogue::Gelu { bias, pre, act } => {
                Self::Gelu { bias, pre: pre.map(Into::into), act: act.into() }
            }
            Epilogue::GeluGrad { pre, row_scale, out, act } => {
                Self::GeluGrad { pre, row_scale, out: out.into(), act: act.into() }
            }
        }
    }
}

/// A finished tile of the product: where it stands, and what becomes of it.
#[derive(Clone, Copy)]
pub(in crate::gemm) struct Finished<'a> {
    /// The first row and column.
    at: [usize; 2],
    /// Rows and columns.
    size: [usize; 2],
    /// Columns of the whole product.
    n: usize,
    epilogue: &'a Shared<'a>,
}

impl<'a> Finished<'a> {
    /// # Safety
    /// As long as it or a copy of it exists, no other thread uses this rectangle of the outputs.
    pub(in crate::gemm) unsafe fn new(
        epilogue: &'a Shared<'a>,
        n: usize,
        at: [usize; 2],
        size: [usize; 2],
    ) -> Self {
        Self { at, size, n, epilogue }
    }

    /// Whether it takes so little work that it is best done on the sums in their registers; what takes more would be
    /// written out once for each register.
    pub(in crate::gemm) fn suits_registers(&self) -> bool {
        matches!(self.epilogue, Shared::Store { .. } | Shared::Add { .. })
    }

    /// With its elements in a buffer of its own: rows of `NR` elements, whatever the number of columns.
    pub(in crate::gemm) fn in_buffer(self, tile: &'a [f32]) -> InBuffer<'a> {
        InBuffer { finished: self, tile }
    }
}

/// Keeps the sums of a tile in its buffer, for [`InBuffer`].
pub(in crate::gemm) struct IntoBuffer<'a>(pub(in crate::gemm) Finished<'a>);

impl Finish for IntoBuffer<'_> {
    #[inline(always)]
    fn prepare<S: Simd>(&self, s: S) {
        self.0.prepare(s);
    }

    #[inline(always)]
    fn finish<S: Simd, const M: usize, const N: usize>(self, s: S, sums: &[[S::V; N]; M], tile: Buffer<'_>) {
        Keep.finish(s, sums, tile);
    }
}

/// A finished tile in a buffer.
pub(in crate::gemm) struct InBuffer<'a> {
    finished: Finished<'a>,
    tile: &'a [f32],
}

/// The two vectors of a row of a tile.
type Row<V> = [V; 2];

/// At most two vectors of elements, zeros after the end of `src`.
#[inline(always)]
fn load_row<S: Simd, E: Element>(s: S, src: &[E]) -> Row<S::V> {
    let (first, second) = src.split_at(src.len().min(S::LANES));
    [E::load(s, first), E::load(s, second)]
}

/// As many elements as `dst` has, at most two vectors.
#[inline(always)]
fn store_row<S: Simd, E: Element>(s: S, [first, second]: Row<S::V>, dst: &mut [E]) {
    let (dst, rest) = dst.split_at_mut(dst.len().min(S::LANES));
    E::store(s, first, dst);
    E::store(s, second, rest);
}

/// [`store_row`] to `columns` elements of `out` from `offset` on.
///
/// # Safety
/// No other thread uses these elements.
#[inline(always)]
unsafe fn store_part<S: Simd>(s: S, row: Row<S::V>, out: &SharedOutput<'_>, offset: usize, columns: usize) {
    with_elements!(SharedOutput, out, out => {
        // SAFETY: by the caller's promise.
        store_row(s, row, unsafe { out.part(offset, columns) });
    });
}

#[inline(always)]
fn add<S: Simd>(s: S, a: Row<S::V>, b: Row<S::V>) -> Row<S::V> {
    [s.add(a[0], b[0]), s.add(a[1], b[1])]
}

#[inline(always)]
fn biased<S: Simd>(s: S, x: Row<S::V>, bias: Option<Row<S::V>>) -> Row<S::V> {
    if let Some(bias) = bias { add(s, x, bias) } else { x }
}

#[inline(always)]
fn scaled<S: Simd>(s: S, x: Row<S::V>, row_scale: Option<&[f32]>, row: usize) -> Row<S::V> {
    let Some(scale) = row_scale else { return x };
    let scale = s.splat(scale[row]);
    [s.mul(x[0], scale), s.mul(x[1], scale)]
}

/// The rows of a tile.
trait Rows<S: Simd>: Copy {
    /// Calls `f` with the index of each row and its elements.
    fn for_each(self, f: impl FnMut(usize, Row<S::V>));
}

/// Rows in a buffer.
#[derive(Clone, Copy)]
struct BufferRows<'a, S> {
    s: S,
    tile: &'a [f32],
    count: usize,
}

impl<S: Simd> Rows<S> for BufferRows<'_, S> {
    #[inline(always)]
    fn for_each(self, mut f: impl FnMut(usize, Row<S::V>)) {
        for (i, row) in self.tile.chunks_exact(S::NR).take(self.count).enumerate() {
            f(i, load_row(self.s, row));
        }
    }
}

/// Rows in registers, so that [`Rows::for_each`] is a sequence of its body, once for each.
#[derive(Clone, Copy)]
struct RegisterRows<'a, V, const M: usize, const N: usize>(&'a [[V; N]; M]);

impl<S: Simd, const M: usize, const N: usize> Rows<S> for RegisterRows<'_, S::V, M, N> {
    #[inline(always)]
    fn for_each(self, mut f: impl FnMut(usize, Row<S::V>)) {
        // Written out: a loop over registers would first put them into memory, and the compiler unrolls small bodies alone.
        macro_rules! rows {
            ($($i:literal)*) => {$(
                if $i < M {
                    f($i, [self.0[$i % M][0], self.0[$i % M][1]]);
                }
            )*};
        }
        const { assert!(M <= 12 && N == 2) };
        rows!(0 1 2 3 4 5 6 7 8 9 10 11);
    }
}

impl Task for InBuffer<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { finished, tile } = self;
        let [count, columns] = finished.size;
        let rows = BufferRows { s, tile, count };
        // With a width that the compiler knows no mask is computed. Nearly all tiles have it.
        match columns {
            columns if columns == S::NR => finished.apply(s, S::NR, rows),
            columns => finished.apply(s, columns, rows),
        }
    }
}

/// Whole tiles, in registers.
impl Finish for Finished<'_> {
    #[inline(always)]
    fn prepare<S: Simd>(&self, s: S) {
        self.epilogue.prefetch(s, self.at, self.size[0], self.n);
    }

    #[inline(always)]
    fn finish<S: Simd, const M: usize, const N: usize>(self, s: S, sums: &[[S::V; N]; M], _tile: Buffer<'_>) {
        assert!(self.size == [M, S::NR], "a tile in registers is whole");
        self.apply_light(s, S::NR, RegisterRows(sums));
    }
}

impl Finished<'_> {
    /// The offset in the outputs of row `i` of the tile.
    #[inline(always)]
    fn offset(&self, i: usize) -> usize {
        (self.at[0] + i) * self.n + self.at[1]
    }

    #[inline(always)]
    fn bias<S: Simd>(&self, s: S, bias: Option<&[f32]>, columns: usize) -> Option<Row<S::V>> {
        Some(load_row(s, &bias?[self.at[1]..][..columns]))
    }

    /// Calls `f` with the offset of each row in the outputs and its `row_scale (C + bias)`.
    #[inline(always)]
    fn affine<S: Simd>(
        &self,
        s: S,
        columns: usize,
        rows: impl Rows<S>,
        [bias, row_scale]: [Option<&[f32]>; 2],
        mut f: impl FnMut(usize, Row<S::V>),
    ) {
        let bias = self.bias(s, bias, columns);
        rows.for_each(
            #[inline(always)]
            |i, c| f(self.offset(i), scaled(s, biased(s, c, bias), row_scale, self.at[0] + i)),
        );
    }

    /// The epilogues that suit registers.
    #[inline(always)]
    fn apply_light<S: Simd>(&self, s: S, columns: usize, rows: impl Rows<S>) {
        match self.epilogue {
            &Shared::Store { bias, row_scale, ref out } => {
                with_elements!(SharedOutput, out, out => self.affine(
                    s,
                    columns,
                    rows,
                    [bias, row_scale],
                    #[inline(always)]
                    |offset, x| {
                        // SAFETY: inside the rectangle that `new` was promised.
                        store_row(s, x, unsafe { out.part(offset, columns) });
                    },
                ))
            }
            &Shared::Add { bias, row_scale, base, ref out } => self.affine(
                s,
                columns,
                rows,
                [bias, row_scale],
                #[inline(always)]
                |offset, x| {
                    // SAFETY: inside the rectangle that `new` was promised.
                    let out = unsafe { out.part(offset, columns) };
                    let x = match base {
                        Base::Zero => x,
                        Base::Output => add(s, load_row(s, out), x),
                        Base::Slice(base) => add(s, load_row(s, &base[offset..][..columns]), x),
                    };
                    store_row(s, x, out);
                },
            ),
            Shared::Gelu { .. } | Shared::GeluGrad { .. } => unreachable!("they do not suit registers"),
        }
    }

    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, columns: usize, rows: BufferRows<'_, S>) {
        match self.epilogue {
            Shared::Store { .. } | Shared::Add { .. } => self.apply_light(s, columns, rows),
            Shared::Gelu { bias, pre, act } => {
                let bias = self.bias(s, *bias, columns);
                rows.for_each(
                    #[inline(always)]
                    |i, c| {
                        let x = biased(s, c, bias);
                        let value = match act {
                            SharedOutput::F32(_) => [math::gelu(s, x[0]), math::gelu(s, x[1])],
                            SharedOutput::Bf16(_) => [math::gelu_coarse(s, x[0]), math::gelu_coarse(s, x[1])],
                        };
                        // SAFETY: inside the rectangle that `new` was promised.
                        unsafe {
                            if let Some(pre) = pre {
                                store_part(s, x, pre, self.offset(i), columns);
                            }
                            store_part(s, value, act, self.offset(i), columns);
                        }
                    },
                );
            }
            Shared::GeluGrad { pre, row_scale, out, act } => rows.for_each(
                #[inline(always)]
                |i, c| {
                    let (row, offset) = (self.at[0] + i, self.offset(i));
                    let x = scaled(s, c, *row_scale, row);
                    let pre = with_elements!(Source, pre, pre => load_row(s, &pre[offset..][..columns]));
                    let [first, second] = match (out, act) {
                        (SharedOutput::Bf16(_), SharedOutput::Bf16(_)) => {
                            [math::gelu_and_grad_coarse(s, pre[0]), math::gelu_and_grad_coarse(s, pre[1])]
                        }
                        _ => [math::gelu_and_grad(s, pre[0]), math::gelu_and_grad(s, pre[1])],
                    };
                    let d_pre = [s.mul(x[0], first.1), s.mul(x[1], second.1)];
                    // SAFETY: inside the rectangle that `new` was promised.
                    unsafe {
                        store_part(s, d_pre, out, offset, columns);
                        store_part(s, [first.0, second.0], act, offset, columns);
                    }
                },
            ),
        }
    }
}

impl Shared<'_> {
    /// Asks for the memory that a tile of `rows` rows from (`row`, `column`) on will touch, so that it
    /// arrives while the tile is computed.
    #[inline(always)]
    pub(in crate::gemm) fn prefetch<S: Simd>(&self, s: S, [row, column]: [usize; 2], rows: usize, n: usize) {
        let output = |out: &SharedOutput<'_>, offset: usize| match out {
            SharedOutput::F32(out) => lines(s, out.address(offset)),
            SharedOutput::Bf16(out) => s.prefetch(out.address(offset)),
        };
        for offset in (row..row + rows).map(|row| row * n + column) {
            match self {
                Self::Store { out, .. } => output(out, offset),
                Self::Add { base, out, .. } => {
                    lines(s, out.address(offset));
                    if let Base::Slice(base) = base {
                        lines(s, base.as_ptr().wrapping_add(offset));
                    }
                }
                Self::Gelu { pre, act, .. } => {
                    output(act, offset);
                    if let Some(pre) = pre {
                        output(pre, offset);
                    }
                }
                Self::GeluGrad { pre, out, act, .. } => {
                    output(out, offset);
                    output(act, offset);
                    match pre {
                        Source::F32(pre) => lines(s, pre.as_ptr().wrapping_add(offset)),
                        Source::Bf16(pre) => s.prefetch(pre.as_ptr().wrapping_add(offset)),
                    }
                }
            }
        }
    }
}

/// Asks for the two cache lines that the 32 columns of a tile of AVX-512 span; narrower tiles ask for the next one's
/// as well.
#[inline(always)]
fn lines<S: Simd>(s: S, p: *const f32) {
    s.prefetch(p);
    s.prefetch(p.wrapping_add(16));
}
