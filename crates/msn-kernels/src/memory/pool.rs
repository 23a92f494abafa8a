//! Memory that kernels leave to the next ones.

use std::sync::{Mutex, PoisonError};

use super::filled;

/// A cache line, used through pointers to its words.
#[repr(align(64))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    _words: [u32; 16],
}

impl Line {
    pub(crate) const ZERO: Self = Self { _words: [0; 16] };
}

/// Buffers that are not in use.
static POOL: Mutex<Pool> = Mutex::new(Pool { idle: Vec::new(), surplus: 0 });

/// A buffer of at least `lines` lines, with arbitrary contents.
pub(crate) fn take(lines: usize) -> Vec<Line> {
    let idle = with(|pool| pool.take(lines));
    idle.unwrap_or_else(|| filled(lines, Line::ZERO))
}

/// Keeps a buffer for whoever takes one next.
pub(crate) fn put(buffer: Vec<Line>) {
    with(|pool| pool.idle.push(buffer));
}

/// Gives about `bytes` of the memory that kernels keep for each other back to the allocator, if they keep as much: for what
/// takes its place, such as the gradients of weights, of which there are the more the fewer activations are left. `usize::MAX`
/// gives all of it back, for what is computed without kernels.
pub fn give_back(bytes: usize) {
    with(|pool| pool.give_back(bytes.div_ceil(size_of::<Line>())));
}

fn with<T>(f: impl FnOnce(&mut Pool) -> T) -> T {
    // Whole at every place where something could panic.
    f(&mut POOL.lock().unwrap_or_else(PoisonError::into_inner))
}

struct Pool {
    /// In the order in which they came.
    idle: Vec<Vec<Line>>,
    /// Lines that have been given back beyond what was asked for.
    surplus: usize,
}

impl Pool {
    /// The smallest buffer that has room, unless it is more than twice as large. Where there is none, idle memory makes room for
    /// a new one, lest sizes that are of no use any more add up.
    fn take(&mut self, lines: usize) -> Option<Vec<Line>> {
        let fits = |buffer: &Vec<Line>| (lines..=2 * lines).contains(&buffer.len());
        let fitting = self.idle.iter().enumerate().filter(|(_, buffer)| fits(buffer));
        if let Some((index, _)) = fitting.min_by_key(|(_, buffer)| buffer.len()) {
            return Some(self.idle.remove(index));
        }
        self.give_back(lines);
        None
    }

    /// Frees buffers, those that came first first, until they had so many lines. Only whole ones can be freed: what is too much
    /// counts for the next time.
    fn give_back(&mut self, lines: usize) {
        let mut freed = self.surplus;
        let count = self.idle.iter().take_while(|buffer| {
            let more = freed < lines;
            freed += if more { buffer.len() } else { 0 };
            more
        });
        let count = count.count();
        self.idle.drain(..count);
        self.surplus = freed.saturating_sub(lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(lengths: &[usize]) -> Pool {
        Pool { idle: lengths.iter().map(|&lines| vec![Line::ZERO; lines]).collect(), surplus: 0 }
    }

    fn lengths(pool: &Pool) -> Vec<usize> {
        pool.idle.iter().map(Vec::len).collect()
    }

    fn taken(pool: &mut Pool, lines: usize) -> Option<usize> {
        pool.take(lines).map(|buffer| buffer.len())
    }

    #[test]
    fn the_smallest_buffer_that_fits_serves() {
        let mut pool = pool(&[12, 9, 10, 30, 10]);
        assert_eq!(taken(&mut pool, 10), Some(10));
        assert_eq!(lengths(&pool), [12, 9, 30, 10]);
        assert_eq!(taken(&mut pool, 6), Some(9));
        assert_eq!(taken(&mut pool, 15), Some(30), "twice as large");
        assert_eq!(lengths(&pool), [12, 10]);
        assert_eq!(taken(&mut pool, 12), Some(12));
    }

    #[test]
    fn a_new_buffer_takes_the_place_of_the_oldest_idle_ones() {
        let mut pool = pool(&[3, 4, 50, 60]);
        assert_eq!(taken(&mut pool, 5), None);
        assert_eq!(lengths(&pool), [50, 60]);
        assert_eq!(taken(&mut pool, 24), None, "more than twice as large");
        assert_eq!(lengths(&pool), [60]);
        assert_eq!(taken(&mut pool, 1000), None);
        assert!(pool.idle.is_empty());
    }

    #[test]
    fn what_is_given_back_adds_up_to_what_was_asked_for() {
        let mut pool = pool(&[10, 10, 10, 10]);
        pool.give_back(0);
        assert_eq!(lengths(&pool).len(), 4);
        pool.give_back(4);
        assert_eq!((lengths(&pool).len(), pool.surplus), (3, 6));
        pool.give_back(5);
        assert_eq!((lengths(&pool).len(), pool.surplus), (3, 1));
        pool.give_back(12);
        assert_eq!((lengths(&pool).len(), pool.surplus), (1, 9));
        pool.give_back(usize::MAX);
        assert_eq!((lengths(&pool).len(), pool.surplus), (0, 0));
    }
}
