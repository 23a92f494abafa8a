//! How the process gets memory, and holds on to it.

mod allocator;
pub(crate) mod pool;
mod recycled;

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::Bf16;

pub use allocator::LineAligned;
pub use pool::give_back;
pub use recycled::Recycled;

/// Bytes that one thread writes at a time, so many that small buffers are left to one.
const CHUNK_BYTES: usize = 512 << 10;

mod any_bits {
    /// Types for which every pattern of bits is a value.
    pub trait AnyBits: Copy + Send + Sync + 'static {}

    impl AnyBits for f32 {}
    impl AnyBits for crate::Bf16 {}
}

/// What buffers hold: `f32` and [`Bf16`].
pub trait Number: any_bits::AnyBits {
    /// Zero.
    const ZERO: Self;
    /// Not a number.
    const NAN: Self;
}

impl Number for f32 {
    const ZERO: Self = 0.0;
    const NAN: Self = Self::NAN;
}

impl Number for Bf16 {
    const ZERO: Self = Self::ZERO;
    const NAN: Self = Self::NAN;
}

/// `count` zeros, written by all threads of the current rayon pool: activations and gradients are large, and memory is
/// fetched from the system by the thread that writes it first.
pub fn zeros<T: Number>(count: usize) -> Vec<T> {
    filled(count, T::ZERO)
}

fn filled<T: Copy + Send + Sync>(count: usize, element: T) -> Vec<T> {
    let mut filled = Vec::with_capacity(count);
    let memory = &mut filled.spare_capacity_mut()[..count];
    memory
        .par_chunks_mut(CHUNK_BYTES / size_of::<T>())
        .for_each(|chunk| chunk.fill(MaybeUninit::new(element)));
    // SAFETY: the capacity is at least `count`, and the first `count` elements have been written.
    unsafe { filled.set_len(count) };
    filled
}

/// Asks the C library to keep freed memory for the next allocation, rather than to give it back to the system.
///
/// A training step allocates the same activations and gradients again and again. By default each of them is fetched
/// from the system anew, which clears it page by page on the one thread that touches it first: a tenth of the step of a
/// ViT-S. The process stays as large as it once was, which is what its next step needs anyway.
///
/// Does nothing where the C library is not glibc. To be called once, before the first large allocation.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// Bytes by which the heap grows, at least.
        const GROWTH: i32 = 64 << 20;
        let settings = [
            // Large allocations come from the heap; of their own they would be unmapped when they are freed.
            (libc::M_MMAP_MAX, 0),
            // Never shrinks.
            (libc::M_TRIM_THRESHOLD, -1),
            (libc::M_TOP_PAD, GROWTH),
            // One heap: those of further threads could not hold large allocations.
            (libc::M_ARENA_MAX, 1),
        ];
        for (parameter, value) in settings {
            // SAFETY: `mallopt` takes any parameter and value, and locks the allocator meanwhile. It refuses what it does
            // not know, which leaves the default.
            unsafe { libc::mallopt(parameter, value) };
        }
    }
}
