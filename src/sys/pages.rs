//! Memory straight from the kernel, in aligned chunks (`mmap(2)`, `munmap(2)`).

use std::alloc::{self, Layout};
use std::ptr::{self, NonNull};

use libc::{MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE};

/// The size of a chunk, and what its address is a multiple of.
pub(crate) const CHUNK: usize = 1 << 16;

/// The chunk as the allocator sees it, which takes the kernel's place under Miri: that unmaps no halves.
const LAYOUT: Layout = match Layout::from_size_align(CHUNK, CHUNK) {
    Ok(layout) => layout,
    Err(_) => panic!("the size is a power of two"),
};

/// Maps a chunk of zeroes; `None` if there is no memory.
///
/// The kernel maps next to what it mapped before, so nearly always the first call is aligned.
pub(crate) fn map_chunk() -> Option<NonNull<u8>> {
    if cfg!(miri) {
        // SAFETY: the layout's size must not be zero: it is a chunk's.
        return NonNull::new(unsafe { alloc::alloc_zeroed(LAYOUT) });
    }
    let first = map(CHUNK)?;
    if first.addr().get().is_multiple_of(CHUNK) {
        return Some(first);
    }
    unmap(first, CHUNK);
    let wide = map(2 * CHUNK)?;
    let before = wide.addr().get().next_multiple_of(CHUNK) - wide.addr().get();
    // SAFETY: the offset must stay within the mapping: it is below `CHUNK`, and there are two.
    let chunk = unsafe { wide.byte_add(before) };
    if before > 0 {
        unmap(wide, before);
    }
    // SAFETY: the offset must stay within the mapping or at its end: a chunk begins at `chunk`.
    let after = unsafe { chunk.byte_add(CHUNK) };
    unmap(after, CHUNK - before);
    Some(chunk)
}

/// Gives a chunk back.
///
/// # Safety
///
/// It came from [`map_chunk`], and nothing in it is used again.
pub(crate) unsafe fn unmap_chunk(chunk: NonNull<u8>) {
    if cfg!(miri) {
        // SAFETY: it must be the allocator's, of this layout, and not be used again: the caller's promise.
        return unsafe { alloc::dealloc(chunk.as_ptr(), LAYOUT) };
    }
    unmap(chunk, CHUNK);
}

fn map(size: usize) -> Option<NonNull<u8>> {
    let (access, flags) = (PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that exists.
    let start = unsafe { libc::mmap(ptr::null_mut(), size, access, flags, -1, 0) };
    (start != MAP_FAILED)
        .then_some(start)
        .and_then(|start| NonNull::new(start.cast()))
}

/// Unmaps what this module mapped; a failure, at the limit of mappings, leaves it mapped and unused.
fn unmap(start: NonNull<u8>, size: usize) {
    if size > 0 {
        // SAFETY: the range must hold nothing that is used: it is unused yet, or the caller's promise.
        unsafe { libc::munmap(start.as_ptr().cast(), size) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_aligned_apart_and_writable() {
        let chunks: Vec<_> = (0..64).map(|_| map_chunk().expect("memory")).collect();
        for &chunk in &chunks {
            assert!(chunk.addr().get().is_multiple_of(CHUNK));
            // SAFETY: it must be valid for writing a chunk: it was just mapped.
            unsafe { chunk.write_bytes(0xa5, CHUNK) };
        }
        for (index, &chunk) in chunks.iter().enumerate() {
            assert!(!chunks[..index].contains(&chunk));
            // SAFETY: it was mapped above and is not used again.
            unsafe { unmap_chunk(chunk) };
        }
    }
}
