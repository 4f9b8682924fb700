//! Wakes from other threads: one bit per task, and the table that finds a runtime by its number.
//!
//! Called by `waker` on any thread and by `executor` on its own; rings `sys::event_fd`.
//!
//! The set is a radix tree, 64-way and four levels deep. A mark sets the task's bit, then each
//! summary above it that is not set yet, then [`NOTIFIED`]; a drain clears from the top down. So the
//! drain costs what was marked, and many wakes of one task are one mark.
//!
//! # Invariants
//!
//! 1. Every change of a word is one read-modify-write with `AcqRel`. A marker that finds a summary
//!    set may pass it by: if the drain had cleared the summary before the marker's own bit came, the
//!    marker, whose bit then follows the drain's clearing of the same word, would see it cleared.
//! 2. The owner sets [`PARKED`] and checks [`NOTIFIED`] in one step of one word, and a marker does the
//!    reverse in one step of the same word; so either the owner stays awake or the marker rings.
//! 3. The bell is written under its lock and taken out under its lock, so nobody writes to a closed
//!    descriptor.
//! 4. Entries of the table and blocks of the tree are never freed, only handed on to the next runtime;
//!    a wake that comes late marks a bit that costs the next runtime one spurious poll at the most.

use std::fmt;
use std::io;

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::{Mutex, OnceLock, array, is_mutant, shared};
use crate::sys::event_fd::EventFd;

/// How many runtimes a process may have at the same time. (Models are small.)
pub(super) const MAX_RUNTIMES: usize = if cfg!(runtime_loom) { 2 } else { 4095 };

/// The owner waits in the kernel, or is about to.
const PARKED: u32 = 1;
/// Something was marked since the owner last looked.
const NOTIFIED: u32 = 2;

/// Bits, or children, of one node of the tree.
const FANOUT: u32 = if cfg!(runtime_loom) { 2 } else { 64 };
/// Bits under one [`Block`].
const BLOCK_BITS: u32 = FANOUT * FANOUT;
/// Bits under one [`Page`].
const PAGE_BITS: u32 = BLOCK_BITS * FANOUT;
/// How many tasks, the main one included, a runtime can address.
pub(crate) const MAX_SLOTS: u32 = PAGE_BITS * FANOUT;

shared! {
    static TABLE: [OnceLock<Box<Remote>>; MAX_RUNTIMES] = array![OnceLock::new(); MAX_RUNTIMES];
}
shared! {
    static NUMBERS: Mutex<Numbers> = Mutex::new(Numbers {
        free: Vec::new(),
        unused: 0,
    });
}

/// Which places of the table are free.
struct Numbers {
    free: Vec<u16>,
    unused: u16,
}

/// Marks a task of runtime `number` for waking, and wakes the runtime if it sleeps.
///
/// A runtime that is gone has no bell: the wake does nothing.
pub(crate) fn wake(number: u16, slot: u32) {
    if let Some(remote) = TABLE.get(usize::from(number)).and_then(OnceLock::get) {
        remote.wake(slot);
    }
}

/// A place in the table, given back when dropped.
pub(crate) struct Lease {
    number: u16,
    remote: &'static Remote,
}

impl Lease {
    /// Takes a place for a new runtime.
    ///
    /// # Errors
    ///
    /// When 4,095 runtimes are alive in this process.
    pub(crate) fn new() -> io::Result<Self> {
        let number = {
            let mut numbers = NUMBERS.lock();
            match numbers.free.pop() {
                Some(number) => number,
                None if usize::from(numbers.unused) < MAX_RUNTIMES => {
                    numbers.unused += 1;
                    numbers.unused - 1
                }
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::QuotaExceeded,
                        "4,095 runtimes are alive in this process, drop one to make another",
                    ));
                }
            }
        };
        let remote = TABLE[usize::from(number)].get_or_init(Box::default);
        Ok(Self { number, remote })
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

impl std::ops::Deref for Lease {
    type Target = Remote;

    fn deref(&self) -> &Remote {
        self.remote
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if is_mutant("the number is free before the bell is gone") {
            NUMBERS.lock().free.push(self.number);
        }
        let bell = self.remote.bell.lock().take();
        drop(bell);
        self.remote.take_notified();
        self.remote.drain(|_| ());
        if !is_mutant("the number is free before the bell is gone") {
            NUMBERS.lock().free.push(self.number);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.number).finish()
    }
}

/// What other threads may touch of a runtime.
pub(crate) struct Remote {
    state: AtomicU32,
    root: AtomicU64,
    pages: [OnceLock<Box<Page>>; FANOUT as usize],
    bell: Mutex<Option<EventFd>>,
    /// How many threads are between a mark and its notification.
    #[cfg(debug_assertions)]
    marking: AtomicU32,
}

struct Page {
    summary: AtomicU64,
    blocks: [OnceLock<Box<Block>>; FANOUT as usize],
}

struct Block {
    summary: AtomicU64,
    words: [AtomicU64; FANOUT as usize],
}

impl Default for Remote {
    fn default() -> Self {
        Self {
            state: AtomicU32::new(0),
            root: AtomicU64::new(0),
            pages: array![OnceLock::new(); FANOUT as usize],
            bell: Mutex::new(None),
            #[cfg(debug_assertions)]
            marking: AtomicU32::new(0),
        }
    }
}

impl Remote {
    /// Makes room for marking `slot`; the owner calls this before a waker for it exists.
    pub(crate) fn reserve(&self, slot: u32) {
        let page = self.pages[index(slot / PAGE_BITS)].get_or_init(|| {
            Box::new(Page {
                summary: AtomicU64::new(0),
                blocks: array![OnceLock::new(); FANOUT as usize],
            })
        });
        page.blocks[index(slot / BLOCK_BITS)].get_or_init(|| {
            Box::new(Block {
                summary: AtomicU64::new(0),
                words: array![AtomicU64::new(0); FANOUT as usize],
            })
        });
    }

    /// How many slots one call of [`Remote::reserve`] makes room for, counted from a multiple of it.
    pub(crate) const RESERVED_AT_ONCE: u32 = BLOCK_BITS;

    fn wake(&self, slot: u32) {
        #[cfg(debug_assertions)]
        self.marking.fetch_add(1, Ordering::AcqRel);
        self.mark(slot);
        #[cfg(debug_assertions)]
        self.marking.fetch_sub(1, Ordering::AcqRel);
    }

    fn mark(&self, slot: u32) {
        let Some(page) = self.pages[index(slot / PAGE_BITS)].get() else {
            return;
        };
        let Some(block) = page.blocks[index(slot / BLOCK_BITS)].get() else {
            return;
        };
        let word = &block.words[index(slot / FANOUT)];
        if is_mutant("a mark that is there is only read")
            && word.load(Ordering::Acquire) & bit(slot) != 0
        {
            return;
        }
        let is_summarized = is_mutant("the summary comes before the mark");
        if is_summarized {
            summarize(&block.summary, slot / FANOUT);
        }
        if word.fetch_or(bit(slot), Ordering::AcqRel) & bit(slot) != 0 {
            return;
        }
        if !is_summarized {
            summarize(&block.summary, slot / FANOUT);
        }
        summarize(&page.summary, slot / BLOCK_BITS);
        summarize(&self.root, slot / PAGE_BITS);
        self.notify();
    }

    fn notify(&self) {
        if is_mutant("an owner that is awake is not notified")
            && self.state.load(Ordering::Acquire) & PARKED == 0
        {
            return;
        }
        if self.state.load(Ordering::Acquire) & NOTIFIED != 0 {
            return;
        }
        let before = self.state.fetch_or(NOTIFIED, Ordering::AcqRel);
        if before & (PARKED | NOTIFIED) == PARKED {
            self.ring();
        }
    }

    /// Sets what is rung when the owner is parked.
    pub(crate) fn hang(&self, bell: EventFd) {
        *self.bell.lock() = Some(bell);
    }

    fn ring(&self) {
        let result = self.bell.lock().as_ref().map_or(Ok(()), EventFd::ring);
        if let Err(error) = result {
            tracing::error!(%error, "could not wake a parked runtime");
        }
    }

    /// Takes back the mark that something was marked; true if there was one.
    #[inline]
    pub(crate) fn take_notified(&self) -> bool {
        self.state.load(Ordering::Relaxed) & NOTIFIED != 0
            && self.state.fetch_and(!NOTIFIED, Ordering::AcqRel) & NOTIFIED != 0
    }

    /// Announces that the owner is about to wait; false, and no announcement, if it must not.
    pub(crate) fn park(&self) -> bool {
        if is_mutant("the owner parks in two steps") {
            let before = self.state.load(Ordering::Acquire);
            self.state.store(before | PARKED, Ordering::Release);
            return before & NOTIFIED == 0;
        }
        let before = self.state.fetch_or(PARKED, Ordering::AcqRel);
        if before & NOTIFIED != 0 {
            self.unpark();
        }
        before & NOTIFIED == 0
    }

    /// Announces that the owner is awake.
    pub(crate) fn unpark(&self) {
        self.state.fetch_and(!PARKED, Ordering::AcqRel);
    }

    /// Whether a slot is marked and nobody has said or will say so to the owner, who asks this when it is
    /// parked: a marker that has left has notified, and only the owner takes that back.
    #[cfg(debug_assertions)]
    pub(crate) fn has_lost_a_wake(&self) -> bool {
        self.is_marked()
            && self.marking.load(Ordering::Acquire) == 0
            && self.state.load(Ordering::Acquire) & NOTIFIED == 0
    }

    #[cfg(debug_assertions)]
    fn is_marked(&self) -> bool {
        let pages = self.pages.iter().filter_map(OnceLock::get);
        let mut blocks = pages.flat_map(|page| page.blocks.iter().filter_map(OnceLock::get));
        blocks.any(|block| {
            let mut words = block.words.iter();
            words.any(|word| word.load(Ordering::Acquire) != 0)
        })
    }

    /// Takes out every marked slot.
    pub(crate) fn drain(&self, mut marked: impl FnMut(u32)) {
        for page in bits(self.root.swap(0, Ordering::AcqRel)) {
            let Some(node) = self.pages[index(page)].get() else {
                continue;
            };
            for block in bits(node.summary.swap(0, Ordering::AcqRel)) {
                let Some(leaf) = node.blocks[index(block)].get() else {
                    continue;
                };
                leaf.drain(page * PAGE_BITS + block * BLOCK_BITS, &mut marked);
            }
        }
    }
}

impl Block {
    fn drain(&self, first: u32, marked: &mut impl FnMut(u32)) {
        for word in bits(self.summary.swap(0, Ordering::AcqRel)) {
            if is_mutant("a word is drained in two steps") {
                let marks = self.words[index(word)].load(Ordering::Acquire);
                bits(marks).for_each(|slot| marked(first + word * FANOUT + slot));
                self.words[index(word)].store(0, Ordering::Release);
                continue;
            }
            for slot in bits(self.words[index(word)].swap(0, Ordering::AcqRel)) {
                marked(first + word * FANOUT + slot);
            }
        }
    }
}

/// Sets the bit of child `child` unless it is set (invariant 1).
fn summarize(summary: &AtomicU64, child: u32) {
    if summary.load(Ordering::Acquire) & bit(child) == 0 {
        summary.fetch_or(bit(child), Ordering::AcqRel);
    }
}

/// The place of a child within its node.
fn index(child: u32) -> usize {
    (child % FANOUT) as usize
}

fn bit(child: u32) -> u64 {
    1 << (child % FANOUT)
}

/// The positions of the bits that are set, lowest first.
fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        (word != 0).then(|| {
            let lowest = word.trailing_zeros();
            word &= word - 1;
            lowest
        })
    })
}

#[cfg(test)]
#[path = "remote_oracle.rs"]
mod oracle;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn drained(remote: &Remote) -> Vec<u32> {
        let mut slots = Vec::new();
        remote.drain(|slot| slots.push(slot));
        slots
    }

    #[test]
    fn a_drain_returns_each_marked_slot_once_in_order() {
        let remote = Remote::default();
        let slots = BTreeSet::from([0, 1, 63, 64, 4095, 4096, 262_143, 262_144, MAX_SLOTS - 1]);
        for &slot in &slots {
            remote.reserve(slot);
            remote.wake(slot);
            remote.wake(slot);
        }
        assert!(remote.take_notified());
        assert_eq!(drained(&remote), Vec::from_iter(slots));
        assert!(!remote.take_notified());
        assert_eq!(drained(&remote), []);
    }

    #[test]
    fn a_mark_where_no_room_was_made_is_ignored() {
        let remote = Remote::default();
        remote.wake(5);
        assert!(!remote.take_notified());
        assert_eq!(drained(&remote), []);
    }

    #[test]
    fn a_notified_owner_must_not_park() {
        let remote = Remote::default();
        remote.reserve(7);
        assert!(remote.park());
        remote.unpark();
        remote.wake(7);
        assert!(!remote.park());
        assert!(remote.take_notified());
        assert!(remote.park());
    }

    #[test]
    #[cfg(debug_assertions)]
    fn a_mark_of_which_the_owner_was_not_told_is_a_lost_wake() {
        let remote = Remote::default();
        remote.reserve(7);
        assert!(!remote.has_lost_a_wake());
        remote.wake(7);
        assert!(!remote.has_lost_a_wake());
        assert!(remote.take_notified());
        assert!(remote.has_lost_a_wake());
        remote.drain(|_| ());
        assert!(!remote.has_lost_a_wake());
    }
}
