//! Memory for the tasks of one executor, in aligned chunks of one block size each.
//!
//! Called by `task`. A block's address, masked, leads to its chunk, so freeing one takes no type, no
//! thread-local and no vtable. With `--cfg runtime_plain_memory` nothing is pooled, so that sanitizers and
//! valgrind see each task come and go.
//!
//! ```text
//!              no block left                 a block freed
//!   current ───────────────────► full ─────────────────────► partial
//!      ▲                                                     │    │
//!      ├──────────────── the current one has no block left ──┘    │ the last block freed
//!      └──────────────── the same, and none is partial ── empty ◄─┘ (unmapped beyond 1 MiB)
//! ```
//!
//! # Invariants
//!
//! 1. All pointers of a list lead to chunks that live; each chunk points to the pool's shared part, which lives
//!    until the pool and the last chunk are gone. All on one thread.
//! 2. A block on a chunk's free list is unused and holds nothing but the link to the next one.
//! 3. `used` counts the blocks that are out, and one more while the chunk is its class's current one.
//! 4. A chunk is linked into its class's partial list exactly if it is not current and has both free and used
//!    blocks; empty chunks are on the list of those.

use std::alloc::{Layout, handle_alloc_error};
use std::cell::Cell;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;

use crate::remote::RuntimeId;
use crate::sys::pages::{self, CHUNK};

/// Where a chunk's first block lies: behind its header, and aligned for any block.
const FIRST: u32 = 64;
/// Blocks of larger alignment are not pooled.
const MAX_ALIGNMENT: usize = 64;
/// Larger blocks are not pooled: they would waste more than an eighth of a chunk.
pub(crate) const MAX_SIZE: usize = 8192;
/// Sizes up to here are classes in steps of 8; from here on each doubling has eight.
const FINE: usize = 256;
const FINE_CLASSES: usize = FINE / 8;
const CLASSES: usize = class_of_size(MAX_SIZE) + 1;
/// How many empty chunks are kept: 1 MiB.
const KEPT: u32 = 16;
/// How many more where bursts follow one another: 63 MiB.
const KEPT_BETWEEN_BURSTS: u32 = 1008;
/// A chunk's blocks join its free list by pages: what was never handed out was never touched.
const PAGE: u32 = 4096;

/// The memory of one executor's tasks.
pub(crate) struct Pool(Rc<Shared>);

/// Leads to a chunk, which lives (invariant 1), with the right to all of its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ChunkPtr(NonNull<Chunk>);

/// What the chunks of a pool lead to.
struct Shared {
    runtime: RuntimeId,
    classes: [Class; CLASSES],
    empty: Cell<Link>,
    /// How many more empty chunks are kept; none once the pool is gone.
    room: Cell<u32>,
    /// How many were unmapped for want of room since the last trim, and have not been mapped again.
    missed: Cell<u32>,
    /// How many were mapped again, for which there is room now.
    learned: Cell<u32>,
}

/// The chunks of one block size.
struct Class {
    current: Cell<Link>,
    partial: Cell<Link>,
}

type Link = Option<ChunkPtr>;

/// The header of a chunk.
#[repr(C, align(64))]
struct Chunk {
    free: Cell<Option<NonNull<Free>>>,
    used: Cell<u32>,
    /// Where the blocks begin that were never on the free list.
    fresh: Cell<u32>,
    class: Cell<usize>,
    shared: Rc<Shared>,
    next: Cell<Link>,
    previous: Cell<Link>,
}

/// A free block.
struct Free {
    next: Option<NonNull<Self>>,
}

const _: () = assert!(size_of::<Chunk>() == FIRST as usize);

/// The class for blocks of this layout; `None` if they are not pooled.
pub(super) const fn class_of(layout: Layout) -> Option<usize> {
    let is_pooled = !cfg!(runtime_plain_memory);
    if !is_pooled || layout.size() == 0 || layout.size() > MAX_SIZE {
        return None;
    }
    let class = class_of_size(layout.size());
    if layout.align() <= MAX_ALIGNMENT && size_of_class(class).is_multiple_of(layout.align()) {
        Some(class)
    } else {
        None
    }
}

const fn class_of_size(size: usize) -> usize {
    if size <= FINE {
        return size.div_ceil(8) - 1;
    }
    let doubling = (size - 1).ilog2() - FINE.ilog2();
    FINE_CLASSES + 8 * doubling as usize + ((size - 1) >> (doubling + FINE.ilog2() - 3)) - 8
}

const fn size_of_class(class: usize) -> usize {
    if class < FINE_CLASSES {
        return 8 * (class + 1);
    }
    let (doubling, step) = ((class - FINE_CLASSES) / 8, (class - FINE_CLASSES) % 8);
    ((step + 9) * (FINE / 8)) << doubling
}

impl Deref for ChunkPtr {
    type Target = Chunk;

    #[inline]
    fn deref(&self) -> &Chunk {
        // SAFETY: the pointer must be valid for reads: invariant 1.
        unsafe { self.0.as_ref() }
    }
}

impl Pool {
    pub(crate) fn new(runtime: RuntimeId) -> Self {
        let shared = Shared {
            runtime,
            classes: [const {
                Class {
                    current: Cell::new(None),
                    partial: Cell::new(None),
                }
            }; CLASSES],
            empty: Cell::new(None),
            room: Cell::new(KEPT),
            missed: Cell::new(0),
            learned: Cell::new(0),
        };
        Self(Rc::new(shared))
    }

    /// The runtime whose tasks these are.
    pub(super) fn runtime(&self) -> RuntimeId {
        self.0.runtime
    }

    /// Allocates a block of a class.
    #[inline]
    pub(super) fn allocate(&self, class: usize) -> NonNull<u8> {
        self.0.allocate(class)
    }

    /// Whether memory is kept that is not in use.
    pub(crate) fn has_excess(&self) -> bool {
        self.0.empty.get().is_some()
    }

    /// Gives all empty chunks back, and forgets how many there were.
    pub(crate) fn trim(&self) {
        self.0.unmap_empty();
        self.0.room.set(KEPT);
        self.0.missed.set(0);
        self.0.learned.set(0);
    }
}

impl Drop for Pool {
    /// Leaves every chunk to its last block.
    fn drop(&mut self) {
        self.0.unmap_empty();
        self.0.room.set(0);
        self.0.learned.set(KEPT_BETWEEN_BURSTS);
        for class in &self.0.classes {
            if let Some(chunk) = class.current.take() {
                chunk.used.set(chunk.used.get() - 1);
                if chunk.used.get() == 0 {
                    chunk.unmap();
                }
            }
        }
    }
}

/// Gives a block back to its pool.
///
/// # Safety
///
/// It came from [`Pool::allocate`], holds nothing that needs a drop, and is not used again.
#[inline]
pub(super) unsafe fn free(block: NonNull<u8>) {
    let chunk = chunk_of(block);
    let before = chunk.free.replace(Some(block.cast()));
    // SAFETY: the block must be valid for writing a link: it is unused, and no block is smaller.
    unsafe { block.cast::<Free>().write(Free { next: before }) };
    let used = chunk.used.get() - 1;
    chunk.used.set(used);
    if before.is_none() || used == 0 {
        chunk.on_free();
    }
}

/// Allocates a block from the pool that `beside` came from.
#[inline]
pub(super) fn allocate_beside(beside: NonNull<u8>, class: usize) -> NonNull<u8> {
    chunk_of(beside).shared.allocate(class)
}

/// The runtime from whose pool a block came, which may be gone.
pub(super) fn runtime_of(block: NonNull<u8>) -> RuntimeId {
    chunk_of(block).shared.runtime
}

/// The chunk of a pooled block that is out.
#[inline]
fn chunk_of(block: NonNull<u8>) -> ChunkPtr {
    let offset = block.addr().get() % CHUNK;
    // SAFETY: the offset must stay within the mapping: chunks are aligned to their size.
    ChunkPtr(unsafe { block.byte_sub(offset) }.cast())
}

impl Shared {
    #[inline]
    fn allocate(self: &Rc<Self>, class: usize) -> NonNull<u8> {
        if let Some(chunk) = self.classes[class].current.get()
            && let Some(block) = chunk.take()
        {
            return block.cast();
        }
        self.allocate_slowly(class)
    }

    /// Allocates when the current chunk's free list is empty.
    #[cold]
    #[inline(never)]
    fn allocate_slowly(self: &Rc<Self>, class: usize) -> NonNull<u8> {
        let current = &self.classes[class].current;
        loop {
            if let Some(chunk) = current.get() {
                if chunk.free.get().is_none() {
                    chunk.extend();
                }
                if let Some(block) = chunk.take() {
                    return block.cast();
                }
                chunk.used.set(chunk.used.get() - 1);
            }
            let chunk = self.take_partial(class).unwrap_or_else(|| {
                let empty = self.take_empty();
                empty.map_or_else(|| self.map(class), |chunk| chunk.assign(class))
            });
            chunk.used.set(chunk.used.get() + 1);
            current.set(Some(chunk));
        }
    }

    /// Takes a chunk off the list of those with free blocks.
    fn take_partial(&self, class: usize) -> Link {
        let chunk = self.classes[class].partial.get()?;
        chunk.unlink();
        Some(chunk)
    }

    /// Takes an empty chunk.
    fn take_empty(&self) -> Link {
        let chunk = self.empty.get()?;
        self.empty.set(chunk.next.take());
        self.room.set(self.room.get() + 1);
        Some(chunk)
    }

    /// Makes room for the next time if a chunk is mapped that was unmapped too early: a burst that is as large as the
    /// one before finds its memory.
    fn learn(&self) {
        if self.missed.get() > 0 && self.learned.get() < KEPT_BETWEEN_BURSTS {
            self.missed.set(self.missed.get() - 1);
            self.learned.set(self.learned.get() + 1);
            self.room.set(self.room.get() + 1);
        }
    }

    /// Maps a new chunk for blocks of a class.
    fn map(self: &Rc<Self>, class: usize) -> ChunkPtr {
        self.learn();
        let Some(memory) = pages::map_chunk() else {
            handle_alloc_error(Layout::new::<[u8; CHUNK]>());
        };
        let chunk = memory.cast::<Chunk>();
        let header = Chunk {
            free: Cell::new(None),
            used: Cell::new(0),
            fresh: Cell::new(FIRST),
            class: Cell::new(class),
            shared: Rc::clone(self),
            next: Cell::new(None),
            previous: Cell::new(None),
        };
        // SAFETY: it must be valid for writing a header: it is a new chunk.
        unsafe { chunk.write(header) };
        ChunkPtr(chunk)
    }

    fn unmap_empty(&self) {
        while let Some(chunk) = self.take_empty() {
            chunk.unmap();
        }
    }
}

impl ChunkPtr {
    /// Moves a chunk whose first block or whose last one was freed to where it belongs now.
    #[cold]
    #[inline(never)]
    fn on_free(self) {
        let is_current = self.list().current.get() == Some(self);
        if self.used.get() > 0 {
            if !is_current {
                self.link();
            }
            return;
        }
        debug_assert!(!is_current, "a current chunk counts as used");
        if self.list().partial.get() == Some(self) || self.previous.get().is_some() {
            self.unlink();
        }
        let shared = &self.shared;
        let Some(room) = shared.room.get().checked_sub(1) else {
            shared.missed.set(shared.missed.get().saturating_add(1));
            return self.unmap();
        };
        shared.room.set(room);
        self.next.set(shared.empty.replace(Some(self)));
    }

    /// The lists of the chunk's class.
    fn list(&self) -> &Class {
        &self.shared.classes[self.class.get()]
    }

    /// Puts the chunk on its class's partial list.
    fn link(self) {
        let next = self.list().partial.replace(Some(self));
        if let Some(next) = next {
            next.previous.set(Some(self));
        }
        self.next.set(next);
    }

    /// Takes the chunk off its class's partial list.
    fn unlink(self) {
        let (next, previous) = (self.next.take(), self.previous.take());
        if let Some(next) = next {
            next.previous.set(previous);
        }
        match previous {
            Some(previous) => previous.next.set(next),
            None => self.list().partial.set(next),
        }
    }

    /// Unmaps a chunk that no list holds and of which no block is out.
    fn unmap(self) {
        // SAFETY: it must be valid for reads, and not be used again: the chunk is alive, and goes here.
        let chunk = unsafe { self.0.read() };
        // SAFETY: it must be a chunk, and not be used again: nobody has a pointer to it any more.
        unsafe { pages::unmap_chunk(self.0.cast()) };
        drop(chunk);
    }

    /// Makes an empty chunk one of `class`; its blocks stay as they are if it was one before.
    fn assign(self, class: usize) -> Self {
        if self.class.replace(class) != class {
            self.free.set(None);
            self.fresh.set(FIRST);
        }
        self
    }

    /// Puts a page of blocks that were never handed out on the empty free list, lowest first.
    fn extend(self) {
        let fresh = self.fresh.get();
        let small = |bytes: usize| u32::try_from(bytes).expect("it is at most a chunk's size");
        let (size, room) = (small(size_of_class(self.class.get())), small(CHUNK) - fresh);
        let count = (PAGE / size).max(1).min(room / size);
        let mut next = None;
        for index in (0..count).rev() {
            let offset = fresh + index * size;
            // SAFETY: the offset must stay within the mapping: there is room for so many blocks.
            let block = unsafe { self.0.byte_add(offset as usize) }.cast();
            // SAFETY: it must be valid for writing a link: it is a block that was never handed out.
            unsafe { block.write(Free { next }) };
            next = Some(block);
        }
        self.free.set(next);
        self.fresh.set(fresh + count * size);
    }
}

impl Chunk {
    /// Takes a block off the free list.
    #[inline]
    fn take(&self) -> Option<NonNull<Free>> {
        let block = self.free.get()?;
        // SAFETY: the pointer must be valid for reads: invariant 2.
        self.free.set(unsafe { block.as_ref() }.next);
        self.used.set(self.used.get() + 1);
        Some(block)
    }
}

#[cfg(test)]
#[cfg(not(runtime_plain_memory))]
#[path = "pool_oracle.rs"]
mod oracle;
