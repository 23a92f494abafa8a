//! Where memory starts, and buffers that are used again.

#![expect(unsafe_code, reason = "an allocator's interface")]

use std::alloc::{GlobalAlloc, Layout};

use msn_kernels::{Bf16, LineAligned, Number, Recycled, give_back_recycled};

/// Bytes of a cache line.
const LINE: usize = 64;
/// Bytes from which on memory starts at a line.
const LARGE: usize = 16 << 10;

fn layouts() -> impl Iterator<Item = Layout> {
    let sizes = [1, 15, 64, LARGE - 1, LARGE, LARGE + 1, 100_003];
    let aligns = [1, 2, 8, 16, 64, 128, 4096];
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
        for size in [1, LARGE - 1, LARGE, 2 * LARGE + 7] {
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

/// Where a buffer of `count` numbers is.
fn place<T: Number>(count: usize) -> *const T {
    Recycled::<T>::new(count).as_ptr()
}

// One test, since all buffers of a type come from the same place.
#[test]
fn a_dropped_buffer_serves_the_next_one_that_it_fits() {
    let first = place::<f32>(1000);
    assert_eq!(place::<f32>(1000), first);
    assert_eq!(place::<f32>(500), first, "half of it");
    assert_ne!(place::<f32>(499), first, "more than twice as large");
    // That gave back the larger one, which was idle.
    let two = [Recycled::<f32>::new(499), Recycled::new(499)];
    assert_ne!(two[0].as_ptr(), two[1].as_ptr());
    drop(two);
    assert_eq!(Recycled::<f32>::new(300).len(), 300);

    // Memory is given back in the order in which it was dropped, and no more than is asked for.
    give_back_recycled(usize::MAX);
    let [small, large] = [Recycled::<f32>::new(100), Recycled::new(250)];
    let places = [small.as_ptr(), large.as_ptr()];
    drop(small);
    drop(large);
    give_back_recycled(100 * size_of::<f32>());
    let _in_its_place = [vec![0.0_f32; 100], vec![0.0; 250]];
    assert_ne!(place::<f32>(100), places[0]);
    assert_eq!(place::<f32>(250), places[1]);
    give_back_recycled(usize::MAX);
    let _in_its_place = vec![0.0_f32; 250];
    assert_ne!(place::<f32>(250), places[1]);

    let half = place::<Bf16>(64);
    assert_eq!(place::<Bf16>(64), half);

    if cfg!(debug_assertions) {
        Recycled::<f32>::new(499).fill(1.0);
        assert!(Recycled::<f32>::new(499).iter().all(|x| x.is_nan()), "what was there before");
        assert!(Recycled::<Bf16>::new(64).iter().all(|x| x.to_f32().is_nan()));
    }
    assert!(Recycled::<f32>::new(0).is_empty());
}
