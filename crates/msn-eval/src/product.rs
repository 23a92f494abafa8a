//! Matrix products, cut into tiles of fixed size so that the result is the same for any number of threads.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::real::Real;

/// Rows of a block, a thread's unit of work.
pub(crate) const ROW_BLOCK: usize = 512;
/// Rows of a strip of a transposition: 16 floats are a cache line.
const STRIP: usize = 16;

/// a: [m, k], b: [n, k] -> out = a b^T: [m, n], all row-major.
///
/// The one form of product here: with both factors contiguous along k it runs at twice the speed of a^T b.
pub(crate) fn rows_by_rows<T: Real>(a: &[T], b: &[T], k: usize, out: &mut [T]) {
    let n = b.len() / k;
    let blocks = out.par_chunks_mut(ROW_BLOCK * n).zip(a.par_chunks(ROW_BLOCK * k));
    blocks.for_each(|(out, a)| rows_by_rows_here(a, b, k, out));
}

/// As [`rows_by_rows`], on the calling thread alone.
pub(crate) fn rows_by_rows_here<T: Real>(a: &[T], b: &[T], k: usize, out: &mut [T]) {
    let (m, n) = (a.len() / k, b.len() / k);
    let (left, right) =
        (MatRef::from_row_major_slice(a, m, k), MatRef::from_row_major_slice(b, n, k).transpose());
    let out = MatMut::from_row_major_slice_mut(out, m, n);
    matmul(out, Accum::Replace, left, right, T::narrow(1.0), Par::Seq);
    clear_upper_registers();
}

/// matrix: [m, n] -> [n, m], both row-major.
pub(crate) fn transposed<T: Real>(matrix: &[T], n: usize) -> Vec<T> {
    let m = matrix.len() / n;
    let mut out = vec![T::narrow(0.0); matrix.len()];
    out.par_chunks_mut(ROW_BLOCK * m).enumerate().for_each(|(block, out)| {
        let columns = out.len() / m;
        // A strip of rows at a time, so that their cache lines serve all columns of the block.
        for start in (0..m).step_by(STRIP) {
            let rows = start..m.min(start + STRIP);
            for column in 0..columns {
                for row in rows.clone() {
                    out[column * m + row] = matrix[row * n + block * ROW_BLOCK + column];
                }
            }
        }
    });
    out
}

/// To be called on a thread after faer has worked on it.
///
/// faer's assembly kernels return with the upper halves of the vector registers in use; every scalar instruction
/// after that waits for them, which makes `exp` 50 times slower (250 instead of 5 ns on a Sapphire Rapids).
pub(crate) fn clear_upper_registers() {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        simd.avx._mm256_zeroupper();
    }
}
