//! Work shared among threads without a trace in the result.
//!
//! Each element of a result is computed inside one slice of the work, in an order of its own, so that it does not matter how
//! the work is cut. Sums over slices are taken in the order of the slices, and what is summed is cut by the shapes alone. The
//! bits are therefore the same with any number of threads, whichever of them takes a slice.

use rayon::prelude::*;

use crate::isa;

/// Runs `f` on a thread of the current rayon pool, where it is not already on one.
///
/// For sequences of kernels, such as a training step. Any other thread has to hand each kernel over to the pool, sleep, and
/// be woken when it is done: with its hundreds of kernels that took a twentieth of a step on two cores.
pub fn on_worker<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    let forced = isa::forced();
    rayon::scope(|_| isa::with_forced(forced, f))
}

/// Runs two sequences of kernels that do not depend on each other, at the same time where the pool has threads for both.
///
/// A thread that finds no slice left in one sequence takes slices of the other, where it would wait for the end of the
/// kernel.
pub fn join<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    let forced = isa::forced();
    rayon::join(|| isa::with_forced(forced, a), || isa::with_forced(forced, b))
}

/// [`join`] of a sequence of kernels for each of the items.
pub fn join_all<T: Send>(items: Vec<T>, f: impl Fn(T) + Sync) {
    let forced = isa::forced();
    items.into_par_iter().with_max_len(1).for_each(|item| isa::with_forced(forced, || f(item)));
}

/// Slices that a kernel should cut its work into, at least, so that all threads have some until shortly before its end.
pub(crate) fn min_slices() -> usize {
    16.max(4 * rayon::current_num_threads())
}

/// Calls `f` with 0, 1, ..., `n - 1`, on the current rayon pool.
pub(crate) fn for_each(n: usize, f: impl Fn(usize) + Sync + Send) {
    if n == 1 {
        return f(0);
    }
    (0..n).into_par_iter().with_max_len(1).for_each(f);
}
