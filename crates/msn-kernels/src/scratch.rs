//! Working memory, kept between kernels.

use std::cell::Cell;

use crate::memory::pool::{self, Line};

thread_local! {
    /// Buffers that are not in use on this thread.
    static IDLE: Cell<Vec<Vec<Line>>> = const { Cell::new(Vec::new()) };
}

/// Buffers of more lines than this come from the pool that all threads share: whole packed operands, which any thread may need
/// that begins a kernel, and of which each would come to keep its own. Smaller ones are taken by every slice of work, which
/// should not wait for a lock.
const SHARED_LINES: usize = (1 << 20) / size_of::<Line>();

/// A buffer of words aligned to a cache line, with arbitrary contents. Dropping it keeps its memory for
/// the next one.
pub(crate) struct Scratch {
    lines: Vec<Line>,
    words: usize,
}

impl Scratch {
    /// A buffer of at least `words` words.
    pub(crate) fn new(words: usize) -> Self {
        let needed = words.div_ceil(16);
        let lines = if needed > SHARED_LINES { pool::take(needed) } else { take_own(needed) };
        Self { lines, words }
    }

    pub(crate) fn words(&mut self) -> &mut [u32] {
        // SAFETY: a Line is 16 words without padding, and `lines` holds at least `words` words.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.words) }
    }

    pub(crate) fn halves(&mut self) -> &mut [i16] {
        // SAFETY: as in `words`; every pattern of 16 bits is an i16, of which a word has two.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), 2 * self.words) }
    }

    pub(crate) fn floats(&mut self) -> &mut [f32] {
        // SAFETY: as in `words`; every pattern of 32 bits is an f32.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.words) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        if lines.len() > SHARED_LINES {
            return pool::put(lines);
        }
        let mut idle = IDLE.take();
        idle.push(lines);
        IDLE.set(idle);
    }
}

/// The buffer that this thread gave back last, or a larger one in its place. Buffers are dropped in the reverse order of their
/// making, so a kernel that runs again finds each of its own. Searching for one that fits took a tenth of the time of attention.
fn take_own(needed: usize) -> Vec<Line> {
    // Taken and put back whole, so that a kernel that runs on this thread while another one waits (work stealing) finds what
    // is left and allocates the rest.
    let mut idle = IDLE.take();
    let lines = idle.pop().unwrap_or_default();
    IDLE.set(idle);
    // Not grown in place, which would copy the old contents.
    if lines.len() < needed { vec![Line::ZERO; needed] } else { lines }
}
