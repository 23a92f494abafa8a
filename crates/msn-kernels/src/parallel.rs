//! Work shared among threads without a trace in the result.
//!
//! Kernels cut their work into slices by the shapes alone, each element of a result is computed inside
//! one slice, and sums over slices are taken in the order of the slices. The bits are therefore the same
//! with any number of threads, whichever of them takes a slice.

use rayon::prelude::*;

use crate::isa;

/// Runs `f` on a thread of the current rayon pool, where it is not already on one.
///
/// For sequences of kernels, such as a training step. Any other thread has to hand each kernel over to the pool, sleep, and
/// be woken when it is done: with its hundreds of kernels that took a twentieth of a step on two cores.
pub fn on_worker<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    match isa::forced() {
        None => rayon::scope(|_| f()),
        Some(isa) => rayon::scope(|_| isa::with_isa(isa, f)).expect("checked when it was forced"),
    }
}

/// Calls `f` with 0, 1, ..., `n - 1`, on the current rayon pool.
pub(crate) fn for_each(n: usize, f: impl Fn(usize) + Sync + Send) {
    if n == 1 {
        return f(0);
    }
    (0..n).into_par_iter().with_max_len(1).for_each(f);
}
