//! Activations that the backward pass needs, in the precision of the products.

use msn_kernels::{Bf16, Output, Precision, Source, zeros};

/// A matrix in `f32` or bf16, row-major.
#[derive(Debug)]
pub(super) enum Buffer {
    F32(Vec<f32>),
    Bf16(Vec<Bf16>),
}

impl Buffer {
    /// `count` zeros. Products in bf16 round their operands anyway, so keeping those in bf16 loses nothing.
    pub(super) fn zeros(precision: Precision, count: usize) -> Self {
        match precision {
            Precision::F32 => Self::F32(zeros(count)),
            Precision::Bf16 => Self::Bf16(zeros(count)),
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

    /// The given rows of a matrix of `width` columns.
    pub(super) fn rows(&self, rows: impl Iterator<Item = usize>, width: usize) -> Self {
        match self {
            Self::F32(data) => Self::F32(gather(data, rows, width)),
            Self::Bf16(data) => Self::Bf16(gather(data, rows, width)),
        }
    }
}

/// The given rows of a matrix of `width` columns.
pub(super) fn gather<T: Copy>(data: &[T], rows: impl Iterator<Item = usize>, width: usize) -> Vec<T> {
    rows.flat_map(|row| &data[row * width..(row + 1) * width]).copied().collect()
}

/// Adds the rows of `from` to the given rows of `onto`, both of `width` columns.
pub(super) fn scatter_add(onto: &mut [f32], rows: impl Iterator<Item = usize>, from: &[f32], width: usize) {
    for (row, from) in rows.zip(from.chunks_exact(width)) {
        let onto = &mut onto[row * width..(row + 1) * width];
        onto.iter_mut().zip(from).for_each(|(onto, from)| *onto += from);
    }
}
