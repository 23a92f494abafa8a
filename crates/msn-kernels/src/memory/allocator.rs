//! Where large allocations start.

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, but that whatever is large starts at a cache line.
///
/// A vector register of AVX-512 is as long as a line. Where a matrix starts between two lines, as most do that the system
/// hands out, each load and store of it touches two, and each row of a register tile three where two would do. A program
/// asks for it with `#[global_allocator]`; without, results are the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct LineAligned;

impl LineAligned {
    /// Bytes of a cache line.
    const LINE: usize = 64;
    /// Bytes from which on an allocation counts as large.
    const LARGE: usize = 16 << 10;
    /// Bytes before the line, which hold the address that the system gave.
    const HEADER: usize = size_of::<*mut u8>();

    /// What is asked of the system instead of something large: a line more, in which the address that it gives fits.
    ///
    /// Not a larger alignment: the C library cuts such pieces out of larger ones, and takes a seventh more memory for the
    /// activations of a ViT-S.
    fn with_room(layout: Layout) -> Option<Layout> {
        let large = layout.size() >= Self::LARGE && layout.align() <= Self::LINE;
        large.then(|| Layout::from_size_align(layout.size().checked_add(Self::LINE)?, Self::HEADER).ok())?
    }

    /// The first line of `memory` that leaves room for the header: at most [`Self::LINE`] bytes from its start, since both are
    /// multiples of the header's size.
    fn first_line(memory: *mut u8) -> *mut u8 {
        memory.map_addr(|address| (address + Self::HEADER).next_multiple_of(Self::LINE))
    }

    /// [`Self::first_line`], with the address of `memory` before it; null of null.
    ///
    /// # Safety
    /// `memory` is null, or the system's memory of a layout by [`Self::with_room`].
    unsafe fn start(memory: *mut u8) -> *mut u8 {
        if memory.is_null() {
            return memory;
        }
        let line = Self::first_line(memory);
        // SAFETY: the line is at least a header and at most a line after the start of `memory`, which is that much longer than
        // what was asked for, and aligned as a pointer is.
        unsafe { line.sub(Self::HEADER).cast::<*mut u8>().write(memory) };
        line
    }

    /// The system's memory, in which something large starts at `line`.
    ///
    /// # Safety
    /// `line` comes from [`Self::start`] and is not null.
    unsafe fn system_memory(line: *mut u8) -> *mut u8 {
        // SAFETY: `start` wrote it there.
        unsafe { line.cast::<*mut u8>().sub(1).read() }
    }

    /// Something large that becomes shorter or longer and stays large, where it is if the system can do that.
    ///
    /// # Safety
    /// That of [`GlobalAlloc::realloc`], for memory of these two layouts by [`Self::with_room`].
    unsafe fn resize(line: *mut u8, old: Layout, new: Layout) -> *mut u8 {
        // SAFETY: `line` comes from `alloc` by the caller's promise, so from `start`; its memory has the layout `old`; both
        // places lie in memory that is at least as long as the shorter content and a line; it is copied before a header is
        // written over what is not part of it any more.
        unsafe {
            let before = Self::system_memory(line);
            let offset = line.addr() - before.addr();
            let memory = System.realloc(before, old, new.size());
            if memory.is_null() {
                return memory;
            }
            let (from, to) = (memory.add(offset), Self::first_line(memory));
            if from != to {
                from.copy_to(to, old.size().min(new.size()) - Self::LINE);
            }
            Self::start(memory)
        }
    }
}

// SAFETY: layouts without room (small, overaligned, or so large that nothing has that much) are the system's allocator alone.
// Others get memory of their own, of the size that they ask for and at least their alignment, by `start`, and give back the
// address written there with the layout that it came with, which depends on their own alone.
unsafe impl GlobalAlloc for LineAligned {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no layout that is asked for here is empty, by the caller's promise or by its room; `start` gets null or memory
        // with room.
        unsafe {
            match Self::with_room(layout) {
                Some(roomy) => Self::start(System.alloc(roomy)),
                None => System.alloc(layout),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe {
            match Self::with_room(layout) {
                Some(roomy) => Self::start(System.alloc_zeroed(roomy)),
                None => System.alloc_zeroed(layout),
            }
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that `memory` came from here with this layout, which says by which of the two ways.
        unsafe {
            match Self::with_room(layout) {
                Some(roomy) => System.dealloc(Self::system_memory(memory), roomy),
                None => System.dealloc(memory, layout),
            }
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size, rounded up to the alignment, is at most `isize::MAX`.
        let new_layout = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (Self::with_room(layout), Self::with_room(new_layout)) {
            // SAFETY: the caller's promise; both are the system's alone.
            (None, None) => unsafe { System.realloc(memory, layout, size) },
            // SAFETY: the caller's promise.
            (Some(old), Some(new)) => unsafe { Self::resize(memory, old, new) },
            _ => {
                // SAFETY: the caller promises that the size is not zero.
                let new = unsafe { self.alloc(new_layout) };
                if !new.is_null() {
                    // SAFETY: both are at least as long as the shorter, and apart; the old one is given back as the caller asks.
                    unsafe {
                        new.copy_from_nonoverlapping(memory, layout.size().min(size));
                        self.dealloc(memory, layout);
                    }
                }
                new
            }
        }
    }
}
