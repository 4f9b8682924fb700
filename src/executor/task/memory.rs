//! Memory for tasks: each thread keeps some freed blocks, so that spawning in a steady state allocates
//! nothing.
//!
//! Called by `task`. A spawn and join pays a third of its instructions to malloc and free; see
//! `docs/decisions.md`. With `--cfg runtime_plain_memory` nothing is kept, so that sanitizers and valgrind
//! see each task come and go.
//!
//! # Invariants
//!
//! 1. A block on a list is owned by the list, was allocated with that class's layout, and holds nothing
//!    but the link to the next one.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;

/// Sizes of blocks lie this far apart.
const GRAIN: usize = 16;
/// Blocks are smaller than a multiple of the grain by what the allocator puts before them.
const SMALLER_BY: usize = 8;
/// Larger alignments are not kept.
const ALIGNMENT: usize = 8;
/// Tasks above `GRAIN * (CLASSES - 1) - SMALLER_BY` bytes are not kept.
const CLASSES: usize = 32;
/// How many blocks of a size are kept.
const KEPT: u32 = 128;

/// A freed block.
struct Free {
    next: Option<NonNull<Self>>,
}

/// The freed blocks of one size.
struct Class {
    first: Cell<Option<NonNull<Free>>>,
    length: Cell<u32>,
}

struct Cache {
    classes: [Class; CLASSES],
}

thread_local! {
    static CACHE: Cache = const {
        Cache {
            classes: [const {
                Class {
                    first: Cell::new(None),
                    length: Cell::new(0),
                }
            }; CLASSES],
        }
    };
}

/// Allocates memory for a `T`.
#[inline]
pub(super) fn allocate<T>() -> NonNull<T> {
    if let Some(class) = const { class(Layout::new::<T>()) }
        && let Ok(Some(block)) = CACHE.try_with(|cache| cache.classes[class].take())
    {
        return block.cast();
    }
    let layout = const { layout(Layout::new::<T>()) };
    // SAFETY: the size must not be zero: a task has a header.
    match NonNull::new(unsafe { alloc(layout) }) {
        Some(block) => block.cast(),
        None => handle_alloc_error(layout),
    }
}

/// Gives memory back.
///
/// # Safety
///
/// `block` came from [`allocate`] with the same `T`, holds nothing that needs a drop, and is not used
/// again.
#[inline]
pub(super) unsafe fn free<T>(block: NonNull<T>) {
    if let Some(class) = const { class(Layout::new::<T>()) } {
        // SAFETY: the block must be unused and of the class's layout: the caller's, and `allocate`'s.
        let kept = CACHE.try_with(|cache| unsafe { cache.classes[class].keep(block.cast()) });
        if kept == Ok(true) {
            return;
        }
    }
    let layout = const { layout(Layout::new::<T>()) };
    // SAFETY: the block must have been allocated with this layout: by `allocate`, for the same `T`.
    unsafe { dealloc(block.cast().as_ptr(), layout) };
}

/// Which list blocks of this layout are kept on; none if they are not kept.
const fn class(layout: Layout) -> Option<usize> {
    let class = (layout.size() + SMALLER_BY).div_ceil(GRAIN);
    let is_kept = !cfg!(runtime_plain_memory);
    if is_kept && layout.align() <= ALIGNMENT && class < CLASSES {
        Some(class)
    } else {
        None
    }
}

/// What is allocated for this layout: the whole of its class, if it has one.
const fn layout(layout: Layout) -> Layout {
    match class(layout) {
        Some(class) => class_layout(class),
        None => layout,
    }
}

const fn class_layout(class: usize) -> Layout {
    match Layout::from_size_align(class * GRAIN - SMALLER_BY, ALIGNMENT) {
        Ok(layout) => layout,
        Err(_) => panic!("class sizes are small"),
    }
}

impl Class {
    #[inline]
    fn take(&self) -> Option<NonNull<Free>> {
        let block = self.first.get()?;
        // SAFETY: the pointer must be valid for reads: invariant 1.
        self.first.set(unsafe { block.as_ref() }.next);
        self.length.set(self.length.get() - 1);
        Some(block)
    }

    /// Puts a block on the list; false if the list is full.
    ///
    /// # Safety
    ///
    /// The block has this class's layout and belongs to nobody else.
    #[inline]
    unsafe fn keep(&self, block: NonNull<Free>) -> bool {
        if self.length.get() == KEPT {
            return false;
        }
        let free = Free {
            next: self.first.get(),
        };
        // SAFETY: the pointer must be valid for writes: the caller's; a grain has room for a link.
        unsafe { block.write(free) };
        self.first.set(Some(block));
        self.length.set(self.length.get() + 1);
        true
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        for (number, class) in self.classes.iter().enumerate() {
            while let Some(block) = class.take() {
                // SAFETY: the block must have been allocated with this layout: invariant 1.
                unsafe { dealloc(block.cast().as_ptr(), class_layout(number)) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(not(runtime_plain_memory))]
    fn a_freed_block_is_used_again_for_the_same_size() {
        let first = allocate::<[u64; 6]>();
        // SAFETY: it came from `allocate` with this type, and is not used again.
        unsafe { free(first) };
        let second = allocate::<[u64; 7]>();
        assert_eq!(first.addr(), second.addr());
        // SAFETY: it came from `allocate` with this type, and is not used again.
        unsafe { free(second) };
    }

    #[test]
    fn blocks_beyond_what_is_kept_and_odd_layouts_are_freed() {
        #[repr(align(64))]
        struct Wide(#[expect(dead_code, reason = "for its size")] [u8; 64]);
        let many: [_; 300] = std::array::from_fn(|_| allocate::<[u64; 4]>());
        for block in many {
            // SAFETY: it came from `allocate` with this type, and is not used again.
            unsafe { free(block) };
        }
        let wide = allocate::<Wide>();
        assert!(wide.addr().get().is_multiple_of(64) && class(Layout::new::<Wide>()).is_none());
        // SAFETY: it came from `allocate` with this type, and is not used again.
        unsafe { free(wide) };
        let large = allocate::<[u8; 4096]>();
        // SAFETY: it came from `allocate` with this type, and is not used again.
        unsafe { free(large) };
    }
}
