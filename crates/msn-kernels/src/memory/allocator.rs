//! Where large allocations start.

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, but that whatever is large starts at a cache line.
///
/// A vector register of AVX-512 is as long as a line. Where a matrix starts between two lines, as most do that the system
/// hands out, each load and store of it touches two, and each register tile of a product three where two would do. A program
/// asks for it with `#[global_allocator]`; without, results are the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct LineAligned;

impl LineAligned {
    /// Bytes of a cache line.
    const LINE: usize = 64;
    /// Bytes from which on an allocation counts as large.
    const LARGE: usize = 16 << 10;

    /// What is asked of the system instead of something large: a line more, in which the address that it gives fits.
    ///
    /// Not a larger alignment: the C library cuts such pieces out of larger ones, and takes a seventh more memory for the
    /// activations of a ViT-S.
    fn with_room(layout: Layout) -> Option<Layout> {
        let large = layout.size() >= Self::LARGE && layout.align() <= Self::LINE;
        large.then(|| {
            Layout::from_size_align(layout.size().checked_add(Self::LINE)?, size_of::<*mut u8>()).ok()
        })?
    }

    /// The first line inside `memory`, with the address of `memory` before it.
    ///
    /// # Safety
    /// `memory` is null, or of a layout by [`Self::with_room`].
    unsafe fn first_line(memory: *mut u8) -> *mut u8 {
        if memory.is_null() {
            return memory;
        }
        let header = size_of::<*mut u8>();
        let line = memory.map_addr(|address| (address + header).next_multiple_of(Self::LINE));
        // SAFETY: `memory` is aligned as a pointer is and so, like `line`, a multiple of `header`; so `line` is at least
        // `header` and at most a line after it, and what the caller asked for ends inside the room.
        unsafe { line.sub(header).cast::<*mut u8>().write(memory) };
        line
    }
}

// SAFETY: small and overaligned layouts are the system's allocator alone. Others get memory of their own, of the size that they
// ask for and at least their alignment, by `first_line`, and give back the address written there with the layout that it
// came with, which depends on their own alone.
unsafe impl GlobalAlloc for LineAligned {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no layout that is asked for here is empty, by the caller's promise or by its room.
        unsafe {
            match Self::with_room(layout) {
                Some(roomy) => Self::first_line(System.alloc(roomy)),
                None => System.alloc(layout),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe {
            match Self::with_room(layout) {
                Some(roomy) => Self::first_line(System.alloc_zeroed(roomy)),
                None => System.alloc_zeroed(layout),
            }
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that `memory` came from here with this layout; so where that has room, the system's
        // address is written before it, and the system's layout was this one.
        unsafe {
            match Self::with_room(layout) {
                Some(roomy) => System.dealloc(memory.cast::<*mut u8>().sub(1).read(), roomy),
                None => System.dealloc(memory, layout),
            }
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size, rounded up to the alignment, does not overflow.
        let new_layout = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if Self::with_room(layout).or(Self::with_room(new_layout)).is_none() {
            // SAFETY: the caller's promise; both are the system's alone.
            return unsafe { System.realloc(memory, layout, size) };
        }
        // SAFETY: the caller promises that the size is not zero.
        let new = unsafe { self.alloc(new_layout) };
        if !new.is_null() {
            // SAFETY: both are as long as the shorter one and apart; the old one is given back as the caller asks.
            unsafe {
                new.copy_from_nonoverlapping(memory, layout.size().min(size));
                self.dealloc(memory, layout);
            }
        }
        new
    }
}
