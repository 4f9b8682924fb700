//! The numbers of tasks.
//!
//! Made by `executor`; kept in the task, and shown to users by its handles.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of a task: no other task of this process has it, now or later.
///
/// # Examples
///
/// ```
/// # runtime::block_on(async {
/// let task = runtime::spawn(async { runtime::task::id() });
/// let id = task.id();
/// assert_eq!(task.await.unwrap(), id);
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(NonZeroU64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hands out ids from blocks, so that only one spawn in many touches what threads share.
#[derive(Default)]
pub(super) struct Ids {
    next: Cell<u64>,
    end: Cell<u64>,
}

impl Ids {
    const BLOCK: u64 = 1 << 16;

    #[inline]
    pub(super) fn next(&self) -> Id {
        if self.next.get() == self.end.get() {
            self.refill();
        }
        let id = self.next.get();
        self.next.set(id + 1);
        Id(NonZeroU64::new(id).expect("the first block begins above 0"))
    }

    #[cold]
    fn refill(&self) {
        static NEXT_BLOCK: AtomicU64 = AtomicU64::new(1);
        let first = NEXT_BLOCK.fetch_add(Self::BLOCK, Ordering::Relaxed);
        self.next.set(first);
        self.end.set(first + Self::BLOCK);
    }
}
