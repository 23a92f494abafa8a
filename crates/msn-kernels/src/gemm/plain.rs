//! The readable twin: three loops, sums in `f64`.

use super::{Dims, Epilogue, Precision};
use crate::Bf16;
use crate::element::Source;

/// An operand as it is multiplied.
pub(crate) fn operand(precision: Precision, x: f32) -> f64 {
    match precision {
        Precision::F32 => f64::from(x),
        Precision::Bf16 => f64::from(Bf16::from_f32(x).to_f32()),
    }
}

pub(super) fn rows(
    precision: Precision,
    Dims { m, n, k }: Dims,
    a: Source<'_>,
    b: Source<'_>,
    b_transposed: bool,
    mut epilogue: Epilogue<'_>,
) {
    for i in 0..m {
        for j in 0..n {
            let mut sum = 0.0;
            for p in 0..k {
                let b = b.get(if b_transposed { j * k + p } else { p * n + j });
                sum += operand(precision, a.get(i * k + p)) * operand(precision, b);
            }
            epilogue.apply_plain(i, j, n, sum as f32);
        }
    }
}

pub(super) fn columns(
    precision: Precision,
    Dims { m, n, k }: Dims,
    a: Source<'_>,
    b: Source<'_>,
    row_scale: Option<&[f32]>,
    column_sums: Option<&mut [f32]>,
    out: &mut [f32],
) {
    let a = |p: usize, i: usize| a.get(p * m + i) * row_scale.map_or(1.0, |scale| scale[p]);
    for i in 0..m {
        for j in 0..n {
            let products = (0..k).map(|p| operand(precision, a(p, i)) * operand(precision, b.get(p * n + j)));
            out[i * n + j] = products.sum::<f64>() as f32;
        }
    }
    for (i, sum) in column_sums.into_iter().flatten().enumerate() {
        *sum = (0..k).map(|p| f64::from(a(p, i))).sum::<f64>() as f32;
    }
}
