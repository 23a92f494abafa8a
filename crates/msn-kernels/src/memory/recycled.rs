//! Buffers that kernels overwrite.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;

use super::{Number, zeros};
use crate::Bf16;

/// Numbers of no meaning, for a kernel to overwrite all of them: activations and gradients. Dropping it keeps its memory for the
/// next one, so that nothing clears it in between, which is 3% to 4% of the time of a small encoder's step.
///
/// Without optimisation they are NaN, lest a test take what was there before for a result.
#[derive(Debug)]
pub struct Recycled<T: Number> {
    numbers: Vec<T>,
    count: usize,
}

impl<T: Number> Recycled<T> {
    /// `count` numbers.
    pub fn new(count: usize) -> Self {
        let idle = take(&mut T::idle().lock().unwrap_or_else(PoisonError::into_inner), count);
        let mut numbers = idle.unwrap_or_else(|| zeros(count));
        if cfg!(debug_assertions) {
            numbers.fill(T::NAN);
        }
        Self { numbers, count }
    }
}

impl<T: Number> Deref for Recycled<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.numbers[..self.count]
    }
}

impl<T: Number> DerefMut for Recycled<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.numbers[..self.count]
    }
}

impl<T: Number> Drop for Recycled<T> {
    fn drop(&mut self) {
        T::idle().lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.numbers));
    }
}

/// The smallest idle buffer that has room, unless it is more than twice as large. Where there is none, idle memory makes room
/// for a new one, lest sizes that are of no use any more add up.
fn take<T>(idle: &mut Vec<Vec<T>>, count: usize) -> Option<Vec<T>> {
    let fits = |buffer: &Vec<T>| (count..=2 * count).contains(&buffer.len());
    let fitting =
        idle.iter().enumerate().filter(|(_, buffer)| fits(buffer)).min_by_key(|(_, buffer)| buffer.len());
    if let Some((index, _)) = fitting {
        return Some(idle.remove(index));
    }
    give_back(idle, size_of::<T>() * count);
    None
}

/// Gives at least `bytes` of memory back to the allocator that dropped [`Recycled`] have kept, if they have as much: for what
/// takes its place, such as the gradients of weights, which grow in number as the activations become fewer.
pub fn give_back_recycled(bytes: usize) {
    fn of<T: Number>(bytes: usize) -> usize {
        give_back(&mut T::idle().lock().unwrap_or_else(PoisonError::into_inner), bytes)
    }
    let halves = of::<Bf16>(bytes);
    of::<f32>(bytes.saturating_sub(halves));
}

/// Frees buffers, what was dropped first first, until they had `bytes`; how many they had.
fn give_back<T>(idle: &mut Vec<Vec<T>>, bytes: usize) -> usize {
    let mut freed = 0;
    let enough = idle.iter().take_while(|buffer| {
        let more = freed < bytes;
        freed += if more { size_of::<T>() * buffer.len() } else { 0 };
        more
    });
    let count = enough.count();
    idle.drain(..count);
    freed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(idle: &[Vec<f32>]) -> Vec<usize> {
        idle.iter().map(Vec::len).collect()
    }

    fn idle(lengths: &[usize]) -> Vec<Vec<f32>> {
        lengths.iter().map(|&count| vec![0.0; count]).collect()
    }

    #[test]
    fn the_smallest_buffer_that_fits_serves() {
        let mut buffers = idle(&[12, 9, 10, 30, 10]);
        assert_eq!(take(&mut buffers, 10).map(|buffer| buffer.len()), Some(10));
        assert_eq!(lengths(&buffers), [12, 9, 30, 10]);
        assert_eq!(take(&mut buffers, 6).map(|buffer| buffer.len()), Some(9));
        assert_eq!(take(&mut buffers, 15).map(|buffer| buffer.len()), Some(30), "twice as large");
        assert_eq!(lengths(&buffers), [12, 10]);
        assert_eq!(take(&mut buffers, 12).map(|buffer| buffer.len()), Some(12));
    }

    #[test]
    fn a_new_buffer_takes_the_place_of_the_oldest_idle_ones() {
        let mut buffers = idle(&[3, 4, 50, 60]);
        assert_eq!(take(&mut buffers, 5), None);
        assert_eq!(lengths(&buffers), [50, 60]);
        assert_eq!(take(&mut buffers, 24), None, "more than twice as large");
        assert_eq!(lengths(&buffers), [60]);
        assert_eq!(take(&mut buffers, 1000), None);
        assert!(buffers.is_empty());
    }

    #[test]
    fn as_much_is_given_back_as_is_asked_for() {
        let mut buffers = idle(&[3, 4, 50]);
        assert_eq!(give_back(&mut buffers, 0), 0);
        assert_eq!(give_back(&mut buffers, 13), 28, "one byte more than the first has");
        assert_eq!(lengths(&buffers), [50]);
        assert_eq!(give_back(&mut buffers, usize::MAX), 200);
        assert!(buffers.is_empty());
    }
}
