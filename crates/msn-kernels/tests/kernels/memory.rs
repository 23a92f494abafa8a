//! Where memory starts, and buffers that are used again.

#![expect(unsafe_code, reason = "an allocator's interface")]

use std::alloc::{GlobalAlloc, Layout};

use msn_kernels::{Bf16, LineAligned, Recycled};

/// Bytes of a cache line.
const LINE: usize = 64;
/// Bytes from which on memory starts at a line.
const LARGE: usize = 16 << 10;

fn layouts() -> impl Iterator<Item = Layout> {
    let sizes = [1, 15, 64, LARGE - 1, LARGE, LARGE + 1, LARGE + 4099];
    let aligns = [1, 2, 8, 16, 32, 64, 128, 4096];
    let layout = |size, align| Layout::from_size_align(size, align).expect("small");
    sizes.into_iter().flat_map(move |size| aligns.map(|align| layout(size, align)))
}

fn assert_placed(memory: *mut u8, layout: Layout) {
    let align = if layout.size() < LARGE { layout.align() } else { layout.align().max(LINE) };
    assert!(!memory.is_null() && memory.addr().is_multiple_of(align), "{layout:?}: {memory:?}");
}

#[test]
fn large_memory_starts_at_a_line_and_is_as_long_as_asked() {
    for layout in layouts() {
        // SAFETY: no layout is empty; each allocation is written inside its size and given back once, with its layout.
        unsafe {
            let kept: Vec<*mut u8> = (0..3).map(|_| LineAligned.alloc(layout)).collect();
            for (fill, &memory) in (1..).zip(&kept) {
                assert_placed(memory, layout);
                memory.write_bytes(fill, layout.size());
            }
            for (fill, &memory) in (1..).zip(&kept) {
                let bytes = std::slice::from_raw_parts(memory, layout.size());
                assert!(bytes.iter().all(|&byte| byte == fill), "{layout:?}");
            }
            kept.into_iter().for_each(|memory| LineAligned.dealloc(memory, layout));
        }
    }
}

#[test]
fn memory_asked_for_as_zeros_is_zero_after_other_bytes_were_there() {
    for layout in layouts() {
        // SAFETY: as above; zeroed memory may be read.
        unsafe {
            let before = LineAligned.alloc(layout);
            before.write_bytes(255, layout.size());
            LineAligned.dealloc(before, layout);
            let memory = LineAligned.alloc_zeroed(layout);
            assert_placed(memory, layout);
            let bytes = std::slice::from_raw_parts(memory, layout.size());
            assert!(bytes.iter().all(|&byte| byte == 0), "{layout:?}");
            LineAligned.dealloc(memory, layout);
        }
    }
}

#[test]
fn memory_that_grows_or_shrinks_keeps_its_bytes() {
    for from in layouts() {
        for size in [1, LARGE - 1, LARGE, LARGE + 100, 2 * LARGE + 7] {
            let to = Layout::from_size_align(size, from.align()).expect("small");
            // SAFETY: no layout is empty; memory is given back once, with the layout that it has by then.
            unsafe {
                let memory = LineAligned.alloc(from);
                (0..from.size()).for_each(|i| memory.add(i).write(i as u8));
                let memory = LineAligned.realloc(memory, from, size);
                assert_placed(memory, to);
                assert!(
                    (0..from.size().min(size)).all(|i| memory.add(i).read() == i as u8),
                    "{from:?} {to:?}"
                );
                LineAligned.dealloc(memory, to);
            }
        }
    }
}

#[test]
fn memory_that_nobody_has_is_refused_and_what_there_was_stays() {
    // So little below the largest layout that no line more fits in one, and what does not fit in any machine.
    for size in [isize::MAX as usize - 8, isize::MAX as usize / 2] {
        let huge = Layout::from_size_align(size, 1).expect("at most isize::MAX");
        // SAFETY: not empty.
        assert!(unsafe { LineAligned.alloc(huge) }.is_null());
        for size in [100, LARGE + 100] {
            let layout = Layout::from_size_align(size, 1).expect("small");
            // SAFETY: no layout is empty; memory that was not moved keeps its layout.
            unsafe {
                let memory = LineAligned.alloc(layout);
                memory.write_bytes(7, size);
                assert!(LineAligned.realloc(memory, layout, huge.size()).is_null());
                assert!((0..size).all(|i| memory.add(i).read() == 7));
                LineAligned.dealloc(memory, layout);
            }
        }
    }
}

#[test]
fn recycled_buffers_are_as_long_as_asked_and_apart() {
    for count in [0, 1, 999, 500, 999] {
        let mut buffers = [Recycled::<f32>::new(count), Recycled::new(count)];
        for (buffer, number) in buffers.iter_mut().zip([1.0, 2.0]) {
            // Nothing that an earlier buffer held passes for a result in tests.
            assert!(!cfg!(debug_assertions) || buffer.iter().all(|x| x.is_nan()));
            buffer.fill(number);
        }
        assert_eq!([&buffers[0][..], &buffers[1][..]], [&vec![1.0; count][..], &vec![2.0; count][..]]);
    }
    let half = Recycled::<Bf16>::new(7);
    assert!(!cfg!(debug_assertions) || half.iter().all(|x| x.to_f32().is_nan()));
    assert_eq!(half.len(), 7);
}

#[test]
#[should_panic(expected = "numbers are too many for any memory")]
fn a_buffer_whose_bytes_wrap_is_refused() {
    Recycled::<f32>::new(usize::MAX / size_of::<f32>() + 2);
}

#[test]
#[should_panic(expected = "numbers are too many for any memory")]
fn a_buffer_of_more_bytes_than_a_slice_may_have_is_refused() {
    Recycled::<Bf16>::new(isize::MAX as usize / size_of::<Bf16>() + 1);
}
