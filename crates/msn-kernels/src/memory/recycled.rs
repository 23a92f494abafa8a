//! Buffers that kernels overwrite.

use std::alloc::Layout;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use super::Number;
use super::pool::{self, Line};

/// Numbers of no meaning, for a kernel to overwrite all of them: activations and gradients. Dropping it keeps its memory for the
/// next one, so that nothing clears it in between, which took 4% of the time of a step of ViT-Ti and 2.5% of one of ViT-S.
///
/// With debug assertions, as in `cargo test`, they are NaN, lest a test take what was there before for a result.
#[derive(Debug)]
pub struct Recycled<T: Number> {
    lines: Vec<Line>,
    count: usize,
    numbers: PhantomData<T>,
}

impl<T: Number> Recycled<T> {
    /// `count` numbers. They may hold on to as much memory as twice as many take.
    ///
    /// # Panics
    /// If no memory holds as many, which would be more than `isize::MAX` bytes.
    pub fn new(count: usize) -> Self {
        let Ok(layout) = Layout::array::<T>(count) else {
            panic!("{count} numbers are too many for any memory")
        };
        let lines = pool::take(layout.size().div_ceil(size_of::<Line>()));
        let mut recycled = Self { lines, count, numbers: PhantomData };
        if cfg!(debug_assertions) {
            recycled.fill(T::NAN);
        }
        recycled
    }
}

impl<T: Number> Deref for Recycled<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the lines are initialised, have room for `count` numbers by `new`, where their bytes are counted without
        // wrapping, are aligned to 64 bytes, and every pattern of bits is a number (`Number` is sealed to such types).
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.count) }
    }
}

impl<T: Number> DerefMut for Recycled<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; and every pattern of bits that a number has is one of lines of integers.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.count) }
    }
}

impl<T: Number> Drop for Recycled<T> {
    fn drop(&mut self) {
        pool::put(std::mem::take(&mut self.lines));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bf16;

    // One test: no other of this program takes from the pool.
    #[test]
    fn a_dropped_buffer_serves_the_next_one_of_either_type() {
        fn place<T: Number>(count: usize) -> *const u8 {
            let mut buffer = Recycled::<T>::new(count);
            assert_eq!(buffer.len(), count);
            buffer.fill(T::ZERO);
            buffer.as_ptr().cast()
        }
        let first = place::<f32>(1000);
        assert_eq!(first.addr() % 64, 0);
        assert_eq!(place::<f32>(1000), first);
        assert_eq!(place::<f32>(700), first);
        assert_eq!(place::<Bf16>(2000), first);
        let both = [Recycled::<f32>::new(1000), Recycled::new(1000)];
        assert_ne!(both[0].as_ptr(), both[1].as_ptr());
        drop(both);
        assert!(Recycled::<f32>::new(0).is_empty());

        // 1000 numbers take 62.5 lines, 1600 take 100.
        pool::give_back(usize::MAX);
        drop(Recycled::<f32>::new(1600));
        let lines = || Recycled::<f32>::new(1000).lines.len();
        assert_eq!(lines(), 100, "those of the buffer before");
        pool::give_back(usize::MAX);
        assert_eq!(lines(), 63, "nothing was left");
    }
}
