//! Counts allocations of tests. A test that includes this module uses its global allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD_BYTES: Cell<i64> = const { Cell::new(0) };
}

/// An allocator that counts the allocations of the current thread and forwards them to the system's.
struct Counting;

/// The counters of a thread that is ending are gone; it is not measured.
fn count_one(bytes: i64) {
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
    count_bytes(bytes);
}

fn count_bytes(bytes: i64) {
    let _ = HELD_BYTES.try_with(|held| held.set(held.get() + bytes));
}

/// Allocations are never larger than `isize::MAX`.
const fn signed(bytes: usize) -> i64 {
    bytes as i64
}

// SAFETY: every call is forwarded unchanged to the system's allocator, and counting neither allocates nor unwinds.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_one(signed(layout.size()));
        System.alloc(layout)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_one(signed(layout.size()));
        System.alloc_zeroed(layout)
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count_one(signed(new_size) - signed(layout.size()));
        System.realloc(pointer, layout, new_size)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count_bytes(-signed(layout.size()));
        System.dealloc(pointer, layout);
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Number of allocations of the current thread during `work`.
#[allow(dead_code, reason = "not every test that includes this module uses both")]
pub fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

/// Number of bytes that the current thread holds after `work` in addition to those before, with the result.
#[allow(dead_code, reason = "not every test that includes this module uses both")]
pub fn bytes_held_by<T>(work: impl FnOnce() -> T) -> (i64, T) {
    let before = HELD_BYTES.with(Cell::get);
    let result = work();
    (HELD_BYTES.with(Cell::get) - before, result)
}
