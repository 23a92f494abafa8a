//! Work shared among threads without a trace in the result.
//!
//! Kernels cut their work into slices by the shapes alone, each element of a result is computed inside
//! one slice, and sums over slices are taken in the order of the slices. The bits are therefore the same
//! with any number of threads, whichever of them takes a slice.

use rayon::prelude::*;

/// Calls `f` with 0, 1, ..., `n - 1`, on the current rayon pool.
pub(crate) fn for_each(n: usize, f: impl Fn(usize) + Sync + Send) {
    if n == 1 {
        return f(0);
    }
    (0..n).into_par_iter().with_max_len(1).for_each(f);
}
