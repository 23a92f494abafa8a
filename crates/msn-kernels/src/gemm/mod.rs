//! Matrix products, in the three forms that a linear layer with weights `[out, in]` needs.
//!
//! | form | product | use |
//! |---|---|---|
//! | [`nt`] | `A B^T` | forward: activations by weights |
//! | [`nn`] | `A B` | gradient of the activations: gradients by weights |
//! | [`tn`] | `A^T B` | gradient of the weights: gradients by activations |
//!
//! All matrices are row-major without gaps. Operands may be `f32` or bf16, each for itself; a product in
//! [`Precision::F32`] widens bf16, one in [`Precision::Bf16`] rounds `f32` while packing. Sums are `f32`.
//!
//! The scheme is that of Goto and van de Geijn (2008): both operands are packed into panels; a block of a
//! panel of B stays in the first-level cache while a chunk of A in the second-level cache passes by it;
//! the innermost loop holds a tile of C in registers. Here the words of a panel are 32 bits whatever the
//! precision (an `f32`, or two bf16 where the processor multiplies those), so that only the packing and one
//! multiplication know of it.

pub(crate) mod kernel;
pub(crate) mod pack;
pub(crate) mod product;

mod columns;
mod epilogue;
mod macro_kernel;
mod plain;
mod rows;

pub use epilogue::{Base, Epilogue};
pub(crate) use plain::operand;

use crate::element::Source;
use crate::isa::{self, Isa};
use crate::shape::check;
use crate::simd;

/// The precision in which operands are multiplied; sums are `f32` in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Single precision.
    F32,
    /// Operands rounded to bf16.
    Bf16,
}

/// The dimensions of a product: C is `[m, n]`, and `k` is the inner dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// Terms in the sum for each element of C.
    pub k: usize,
}

/// `C = A B^T`, finished by `epilogue`.
///
/// `a`: `[m, k]`; `b`: `[n, k]`.
///
/// # Panics
/// If a slice does not have the length of its shape.
pub fn nt<'a>(
    precision: Precision,
    dims: Dims,
    a: impl Into<Source<'a>>,
    b: impl Into<Source<'a>>,
    epilogue: Epilogue<'a>,
) {
    rows_product(precision, dims, a.into(), b.into(), true, epilogue);
}

/// `C = A B`, finished by `epilogue`.
///
/// `a`: `[m, k]`; `b`: `[k, n]`.
///
/// # Panics
/// If a slice does not have the length of its shape.
pub fn nn<'a>(
    precision: Precision,
    dims: Dims,
    a: impl Into<Source<'a>>,
    b: impl Into<Source<'a>>,
    epilogue: Epilogue<'a>,
) {
    rows_product(precision, dims, a.into(), b.into(), false, epilogue);
}

fn rows_product<'a>(
    precision: Precision,
    dims: Dims,
    a: Source<'a>,
    b: Source<'a>,
    b_transposed: bool,
    epilogue: Epilogue<'a>,
) {
    let Dims { m, n, k } = dims;
    check("gemm", "A", a.len(), &[m, k]);
    check("gemm", "B", b.len(), &if b_transposed { [n, k] } else { [k, n] });
    epilogue.check(m, n);
    if m == 0 || n == 0 {
        return;
    }
    match isa::current() {
        Isa::Plain => plain::rows(precision, dims, a, b, b_transposed, epilogue),
        isa => {
            let epilogue = epilogue.into();
            simd::dispatch(isa, rows::RowsProduct { precision, dims, a, b, b_transposed, epilogue });
        }
    }
}

/// What [`tn`] does besides the product.
#[derive(Debug, Default)]
pub struct TnOptions<'a> {
    /// `[k]`: multiplies the rows of `a` first.
    pub row_scale: Option<&'a [f32]>,
    /// `[m]`: receives the sums over the rows of `a`, scaled: the gradient of the bias.
    pub column_sums: Option<&'a mut [f32]>,
}

/// `out = (row_scale A)^T B`.
///
/// `a`: `[k, m]`; `b`: `[k, n]`; `out`: `[m, n]`, overwritten.
///
/// # Panics
/// If a slice does not have the length of its shape.
pub fn tn<'a>(
    precision: Precision,
    dims: Dims,
    a: impl Into<Source<'a>>,
    b: impl Into<Source<'a>>,
    options: TnOptions<'_>,
    out: &mut [f32],
) {
    columns_product(precision, dims, a.into(), b.into(), options, out);
}

fn columns_product(
    precision: Precision,
    dims: Dims,
    a: Source<'_>,
    b: Source<'_>,
    options: TnOptions<'_>,
    out: &mut [f32],
) {
    let Dims { m, n, k } = dims;
    let TnOptions { row_scale, column_sums } = options;
    check("gemm", "A", a.len(), &[k, m]);
    check("gemm", "B", b.len(), &[k, n]);
    check("gemm", "the output", out.len(), &[m, n]);
    if let Some(scale) = row_scale {
        check("gemm", "the row scale", scale.len(), &[k]);
    }
    if let Some(sums) = &column_sums {
        check("gemm", "the column sums", sums.len(), &[m]);
    }
    match isa::current() {
        Isa::Plain => plain::columns(precision, dims, a, b, row_scale, column_sums, out),
        _ if m == 0 => {}
        isa => {
            let product = columns::ColumnsProduct { precision, dims, a, b, row_scale, column_sums, out };
            simd::dispatch(isa, product);
        }
    }
}
