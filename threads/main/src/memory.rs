//! What keeps the heap of the C library's allocator small.

/// Size in bytes from which a block of memory has a mapping of its own, which goes back to the system when the block is freed.
/// It is glibc's initial value.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES_MIN: libc::c_int = 128 << 10;

/// Fixes the size from which blocks have mappings of their own. Must run before other threads start.
///
/// Otherwise glibc raises it, up to 32 MiB, to the size of the largest block freed, and with it the free memory that each heap
/// keeps. Responses of peers and LMDB's tables then leave heaps of many MiB, mostly unused.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the environment variable, the only other way, must be set before the process starts")]
pub fn return_large_blocks() {
    // SAFETY: mallopt takes integers and locks the heap.
    let is_set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN) };
    debug_assert_eq!(is_set, 1, "glibc accepts up to 32 MiB");
}

/// Returns free pages between blocks that are in use to the system. By itself glibc returns only those at the end of a heap: a
/// few small blocks that are in use would keep all that floods of peers have ever occupied.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "there is no other way")]
pub fn return_free_pages() {
    // SAFETY: malloc_trim locks one heap after the other.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn return_large_blocks() {}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn return_free_pages() {}
