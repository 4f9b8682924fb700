//! The cooperative budget: what one poll of a task may consume before it must let others run.
//!
//! The executor refills it before each poll; sockets, timers and join handles take from it.

use std::cell::Cell;
use std::task::{Context, Poll};

/// How many units a task may consume in one poll unless the builder says otherwise.
pub(crate) const DEFAULT: u32 = 128;

/// Stands for a budget that never runs out.
const UNLIMITED: u32 = u32::MAX;

/// The units that the running task has left.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Cell<u32>,
    per_poll: u32,
}

impl Budget {
    pub(crate) fn new(per_poll: u32) -> Self {
        Self {
            left: Cell::new(per_poll),
            per_poll: per_poll.min(UNLIMITED - 1),
        }
    }

    /// Gives the task that is about to be polled its full share.
    #[inline]
    pub(crate) fn refill(&self) {
        self.left.set(self.per_poll);
    }

    /// Lets the task go on while units are left; else yields, and the task runs again in its turn.
    #[inline]
    pub(crate) fn poll_proceed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.left.get() == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Takes `units` for an operation that made progress.
    #[inline]
    pub(crate) fn charge(&self, units: u32) {
        let left = self.left.get();
        if left != UNLIMITED {
            self.left.set(left.saturating_sub(units));
        }
    }

    /// Lifts the limit while `call` runs.
    pub(crate) fn unconstrained<R>(&self, call: impl FnOnce() -> R) -> R {
        struct Restore<'a>(&'a Cell<u32>, u32);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }
        let _restore = Restore(&self.left, self.left.replace(UNLIMITED));
        call()
    }
}
