//! Where the parts of a task lie in its block, and where the block comes from.
//!
//! Called by `task`. The header comes first, then the future; the output, and the panic in a box, take the
//! future's place. Each part begins at the first multiple of its own alignment behind the header, so whoever
//! knows an output's type finds it, whatever its future was.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use super::{Header, Payload};
use crate::remote::RuntimeId;

/// Where a `T` lies behind the header.
pub(super) const fn offset_of<T>() -> usize {
    size_of::<Header>().next_multiple_of(align_of::<T>())
}

/// The layout of a task with a future `F` and an output `T`.
pub(super) const fn of<F, T>() -> Layout {
    let layout = Layout::new::<Header>();
    with::<Box<Payload>>(with::<T>(with::<F>(layout))).pad_to_align()
}

/// Makes room for a `T` behind the header, in place of the others.
const fn with<T>(layout: Layout) -> Layout {
    let end = offset_of::<T>() + size_of::<T>();
    checked(
        max(end, layout.size()),
        max(align_of::<T>(), layout.align()),
    )
}

const fn checked(size: usize, align: usize) -> Layout {
    match Layout::from_size_align(size, align) {
        Ok(layout) => layout,
        Err(_) => panic!("the future is larger than memory"),
    }
}

const fn max(one: usize, other: usize) -> usize {
    if one > other { one } else { other }
}

/// The layout of an allocation for a task that is not in a pool: the runtime's id stands before the task, which
/// begins so many bytes into it as it is aligned to.
const fn plain(task: Layout) -> Layout {
    checked(task.align() + task.size(), task.align())
}

/// Allocates a block outside of the pools; nothing is written yet.
#[inline(never)]
pub(super) fn allocate_plain(runtime: RuntimeId, layout: Layout) -> NonNull<Header> {
    let layout = plain(layout);
    // SAFETY: the size must not be zero: a task has a header.
    let Some(start) = NonNull::new(unsafe { alloc(layout) }) else {
        handle_alloc_error(layout);
    };
    // SAFETY: the offset must stay within the allocation: it is the task's.
    let task = unsafe { start.byte_add(layout.align()) }.cast::<Header>();
    // SAFETY: it must be valid for writing an id: there is room for one before the task.
    unsafe { id_before(task).write(runtime) };
    task
}

/// Where the runtime's id stands for a task that is not in a pool.
fn id_before(task: NonNull<Header>) -> NonNull<RuntimeId> {
    // SAFETY: the offset must stay within the allocation: at least a header's alignment is before the task.
    unsafe { task.byte_sub(align_of::<Header>()) }.cast()
}

/// The runtime whose task this is; it may be gone.
///
/// # Safety
///
/// `task` came from [`allocate_plain`].
pub(super) unsafe fn runtime_of(task: NonNull<Header>) -> RuntimeId {
    // SAFETY: the pointer must be valid for reads: `allocate_plain` wrote it.
    unsafe { id_before(task).read() }
}

/// Gives a block back.
///
/// # Safety
///
/// `task` came from [`allocate_plain`] with the same layout, holds nothing that needs a drop, and is not used
/// again.
pub(super) unsafe fn free_plain(task: NonNull<Header>, layout: Layout) {
    let layout = plain(layout);
    // SAFETY: the offset must stay within the allocation: it is the task's.
    let start = unsafe { task.byte_sub(layout.align()) };
    // SAFETY: it must have been allocated with this layout: the caller's.
    unsafe { dealloc(start.cast().as_ptr(), layout) };
}

const _: () = assert!(size_of::<RuntimeId>() <= align_of::<Header>());
