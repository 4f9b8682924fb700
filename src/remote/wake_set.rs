//! The tasks that other threads have woken: one bit per task, in a tree.
//!
//! Called by `remote`: `mark` on any thread, the rest on the owner's.
//!
//! The set is a radix tree, 64-way and four levels deep. A mark sets the task's bit, then each
//! summary above it that is not set yet; a drain clears from the top down. So the drain costs what
//! was marked, and many wakes of one task are one mark.
//!
//! # Invariants
//!
//! 1. Every change of a word is one read-modify-write with `AcqRel`. A marker that finds a summary
//!    set may pass it by: if the drain had cleared the summary before the marker's own bit came, the
//!    marker, whose bit then follows the drain's clearing of the same word, would see it cleared.
//! 2. Blocks of the tree are never freed, only handed on to the next runtime; a wake that comes late
//!    marks a bit that costs the next runtime one spurious poll at the most.

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{OnceLock, array, is_mutant};

/// Bits, or children, of one node of the tree.
pub(super) const FANOUT: u32 = if cfg!(runtime_loom) { 2 } else { 64 };
/// Bits under one [`Block`].
pub(super) const BLOCK_BITS: u32 = FANOUT * FANOUT;
/// Bits under one [`Page`].
pub(super) const PAGE_BITS: u32 = BLOCK_BITS * FANOUT;
/// How many tasks, the main one included, a runtime can address.
pub(crate) const MAX_SLOTS: u32 = PAGE_BITS * FANOUT;

/// A set of slots that any thread adds to and the owner empties.
pub(super) struct WakeSet {
    root: AtomicU64,
    pages: [OnceLock<Box<Page>>; FANOUT as usize],
}

struct Page {
    summary: AtomicU64,
    blocks: [OnceLock<Box<Block>>; FANOUT as usize],
}

struct Block {
    summary: AtomicU64,
    words: [AtomicU64; FANOUT as usize],
}

impl Default for WakeSet {
    fn default() -> Self {
        Self {
            root: AtomicU64::new(0),
            pages: array![OnceLock::new(); FANOUT as usize],
        }
    }
}

impl WakeSet {
    /// Makes room for marking `slot`; the owner calls this before a waker for it exists.
    pub(super) fn reserve(&self, slot: u32) {
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

    /// Adds a slot; false if it was in the set already, or no room was made for it.
    pub(super) fn mark(&self, slot: u32) -> bool {
        let Some(page) = self.pages[index(slot / PAGE_BITS)].get() else {
            return false;
        };
        let Some(block) = page.blocks[index(slot / BLOCK_BITS)].get() else {
            return false;
        };
        let word = &block.words[index(slot / FANOUT)];
        if is_mutant("a mark that is there is only read")
            && word.load(Ordering::Acquire) & bit(slot) != 0
        {
            return false;
        }
        let is_summarized = is_mutant("the summary comes before the mark");
        if is_summarized {
            summarize(&block.summary, slot / FANOUT);
        }
        if word.fetch_or(bit(slot), Ordering::AcqRel) & bit(slot) != 0 {
            return false;
        }
        if !is_summarized {
            summarize(&block.summary, slot / FANOUT);
        }
        summarize(&page.summary, slot / BLOCK_BITS);
        summarize(&self.root, slot / PAGE_BITS);
        true
    }

    /// Whether a slot is in the set, as the root says; with `--cfg runtime_full_checks`, as any word says.
    #[cfg(debug_assertions)]
    pub(super) fn is_marked(&self) -> bool {
        if !cfg!(runtime_full_checks) {
            return self.root.load(Ordering::Acquire) != 0;
        }
        let pages = self.pages.iter().filter_map(OnceLock::get);
        let mut blocks = pages.flat_map(|page| page.blocks.iter().filter_map(OnceLock::get));
        blocks.any(|block| {
            let mut words = block.words.iter();
            words.any(|word| word.load(Ordering::Acquire) != 0)
        })
    }

    /// Takes out every marked slot.
    pub(super) fn drain(&self, mut marked: impl FnMut(u32)) {
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
