//! Working memory, kept by each thread between kernels.

use std::cell::Cell;

/// A cache line, used through pointers to its words.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line {
    _words: [u32; 16],
}

thread_local! {
    /// Buffers that are not in use on this thread.
    static IDLE: Cell<Vec<Vec<Line>>> = const { Cell::new(Vec::new()) };
}

/// A buffer of words aligned to a cache line, with arbitrary contents. Dropping it keeps its memory for
/// the next one of this thread.
pub(crate) struct Scratch {
    lines: Vec<Line>,
    words: usize,
}

impl Scratch {
    /// A buffer of at least `words` words.
    pub(crate) fn new(words: usize) -> Self {
        // Taken and put back whole, so that a kernel that runs on this thread while another one waits
        // (work stealing) finds what is left and allocates the rest.
        let mut idle = IDLE.take();
        let needed = words.div_ceil(16);
        // The one given back last. Buffers are dropped in the reverse order of their making, so a kernel that runs
        // again finds each of its own. Searching for one that fits took a tenth of the time of attention.
        let mut lines = idle.pop().unwrap_or_default();
        IDLE.set(idle);
        if lines.len() < needed {
            // Not grown in place, which would copy the old contents.
            lines = vec![Line { _words: [0; 16] }; needed];
        }
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
        let mut idle = IDLE.take();
        idle.push(std::mem::take(&mut self.lines));
        IDLE.set(idle);
    }
}
