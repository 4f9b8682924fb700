//! The memory that the process uses: what is allocated, to the byte, and what is resident.

#![expect(unsafe_code, reason = "an allocator, and calls to the one below it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, with a count of what is alive.
struct Counted;

#[global_allocator]
static COUNTED: Counted = Counted;

/// Bytes that were allocated and not freed.
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: what it returns must be as the layout asks: the system's allocator answers.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the layout's size must not be zero: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the block must come from this allocator, with this layout: the caller's.
        unsafe { System.dealloc(block, layout) };
    }
}

/// Larger blocks are given back to the system when they are freed.
const LARGE: libc::c_int = 128 * 1024;

/// Keeps what is resident from being scattered: over heaps for each thread, and between large tables.
pub(crate) fn keep_together() {
    // SAFETY: it may be called at any time.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    // SAFETY: as above.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

/// How many bytes are allocated.
pub(crate) fn allocated() -> usize {
    ALLOCATED.load(Ordering::Relaxed)
}

/// The resident memory, in KiB, without what the allocator only keeps for later.
pub(crate) fn resident() -> usize {
    // SAFETY: it may be called at any time, from any thread.
    unsafe { libc::malloc_trim(0) };
    let status = fs::read_to_string("/proc/self/status").expect("procfs is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("the kernel tells the resident memory")
}
