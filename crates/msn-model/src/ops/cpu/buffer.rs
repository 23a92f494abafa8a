//! Activations that the backward pass needs, in the precision of the products.

use msn_kernels::{Bf16, Number, Output, Precision, Recycled, Source};

/// A matrix in `f32` or bf16, row-major.
#[derive(Debug)]
pub(super) enum Buffer {
    F32(Recycled<f32>),
    Bf16(Recycled<Bf16>),
}

impl Buffer {
    /// `count` numbers, for a kernel to overwrite all of them. Products in bf16 round their operands anyway, so keeping those
    /// in bf16 loses nothing.
    pub(super) fn new(precision: Precision, count: usize) -> Self {
        match precision {
            Precision::F32 => Self::F32(Recycled::new(count)),
            Precision::Bf16 => Self::Bf16(Recycled::new(count)),
        }
    }

    pub(super) fn source(&self) -> Source<'_> {
        match self {
            Self::F32(data) => Source::F32(data),
            Self::Bf16(data) => Source::Bf16(data),
        }
    }

    pub(super) fn output(&mut self) -> Output<'_> {
        match self {
            Self::F32(data) => Output::F32(data),
            Self::Bf16(data) => Output::Bf16(data),
        }
    }

    /// Parts of `len` numbers each, one after the other.
    pub(super) fn parts(&self, len: usize) -> Vec<Source<'_>> {
        match self {
            Self::F32(data) => data.chunks_exact(len).map(Source::F32).collect(),
            Self::Bf16(data) => data.chunks_exact(len).map(Source::Bf16).collect(),
        }
    }

    /// [`Buffer::parts`] to overwrite.
    pub(super) fn parts_mut(&mut self, len: usize) -> Vec<Output<'_>> {
        match self {
            Self::F32(data) => data.chunks_exact_mut(len).map(Output::F32).collect(),
            Self::Bf16(data) => data.chunks_exact_mut(len).map(Output::Bf16).collect(),
        }
    }

    /// [R, D] -> [heads, R, D / heads]
    pub(super) fn heads_first(&self, dim: usize, heads: usize) -> Self {
        match self {
            Self::F32(data) => Self::F32(transposed(data, heads, dim / heads)),
            Self::Bf16(data) => Self::Bf16(transposed(data, heads, dim / heads)),
        }
    }

    /// [heads, R, D / heads] -> [R, D]
    pub(super) fn heads_last(&self, dim: usize, heads: usize) -> Self {
        match self {
            Self::F32(data) => Self::F32(transposed(data, data.len() / dim, dim / heads)),
            Self::Bf16(data) => Self::Bf16(transposed(data, data.len() / dim, dim / heads)),
        }
    }

    /// The given rows of a matrix of `width` columns.
    pub(super) fn rows(&self, rows: impl Iterator<Item = usize>, width: usize) -> Self {
        match self {
            Self::F32(data) => Self::F32(gather(data, rows, width)),
            Self::Bf16(data) => Self::Bf16(gather(data, rows, width)),
        }
    }
}

/// A matrix of pieces of `len` numbers, transposed: [R, columns, len] -> [columns, R, len].
fn transposed<T: Number>(data: &[T], columns: usize, len: usize) -> Recycled<T> {
    let rows = data.len() / (columns * len);
    let mut out = Recycled::new(data.len());
    for (to, piece) in out.chunks_exact_mut(len).enumerate() {
        let (column, row) = (to / rows, to % rows);
        piece.copy_from_slice(&data[(row * columns + column) * len..][..len]);
    }
    out
}

/// The given rows of a matrix of `width` columns.
pub(super) fn gather<T: Number>(data: &[T], rows: impl Iterator<Item = usize>, width: usize) -> Recycled<T> {
    let rows: Vec<usize> = rows.collect();
    let mut gathered = Recycled::new(rows.len() * width);
    for (to, row) in gathered.chunks_exact_mut(width).zip(rows) {
        to.copy_from_slice(&data[row * width..(row + 1) * width]);
    }
    gathered
}

/// Adds the rows of `from` to the given rows of `onto`, both of `width` columns.
pub(super) fn scatter_add(onto: &mut [f32], rows: impl Iterator<Item = usize>, from: &[f32], width: usize) {
    for (row, from) in rows.zip(from.chunks_exact(width)) {
        let onto = &mut onto[row * width..(row + 1) * width];
        onto.iter_mut().zip(from).for_each(|(onto, from)| *onto += from);
    }
}
