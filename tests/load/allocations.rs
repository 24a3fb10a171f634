//! Counts what tests allocate; a test that names this module has its allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD_BYTES: Cell<i64> = const { Cell::new(0) };
}

/// Counts what the current thread asks for, and hands it on to the system.
struct Counting;

/// A thread that is ending has no counters any more, and nothing that is measured.
fn count_one(bytes: i64) {
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
    count_bytes(bytes);
}

fn count_bytes(bytes: i64) {
    let _ = HELD_BYTES.try_with(|held| held.set(held.get() + bytes));
}

/// No allocation is larger than the largest `isize`.
const fn signed(bytes: usize) -> i64 {
    bytes as i64
}

// SAFETY: every call goes unchanged to the system's allocator; counting neither allocates nor unwinds.
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

/// How often the current thread asked for memory while it did this.
#[allow(dead_code, reason = "not every test that names this module measures both")]
pub fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

/// Bytes that the current thread holds beyond what it held before it did this.
#[allow(dead_code, reason = "not every test that names this module measures both")]
pub fn bytes_held_by<T>(work: impl FnOnce() -> T) -> (i64, T) {
    let before = HELD_BYTES.with(Cell::get);
    let made = work();
    (HELD_BYTES.with(Cell::get) - before, made)
}
