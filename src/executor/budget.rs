//! The cooperative budget: what one poll of a task may consume before it must let others run.
//!
//! The executor refills it before each poll; sockets, timers and join handles take from it.

use std::cell::Cell;
use std::task::{Context, Poll};

use crate::sys::cell::with_value;

/// How many units a task may consume in one poll unless the builder says otherwise.
pub(crate) const DEFAULT: u32 = 128;

/// How many bytes cost one unit of the budget.
const BYTES_PER_UNIT: usize = 1024;

/// A budget that no poll could use up.
const UNLIMITED: i64 = i64::MAX / 2;

/// The units that the running task has left.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Not positive once the last operation has used it up.
    left: Cell<i64>,
    per_poll: i64,
}

impl Budget {
    pub(crate) fn new(per_poll: u32) -> Self {
        Self {
            left: Cell::new(per_poll.into()),
            per_poll: per_poll.into(),
        }
    }

    /// Gives the task that is about to be polled its full share.
    #[inline]
    pub(crate) fn refill(&self) {
        self.left.set(self.per_poll);
    }

    /// What a task may consume in one poll.
    pub(crate) fn per_poll(&self) -> i64 {
        self.per_poll
    }

    /// What the task has consumed since the last [`Budget::refill`], if anything; refills.
    #[inline]
    pub(crate) fn settle(&self) -> Option<i64> {
        let left = self.left.get();
        if left == self.per_poll {
            return None;
        }
        self.refill();
        Some(self.per_poll - left)
    }

    /// Lets the task go on while units are left; else yields, and the task runs again in its turn.
    #[inline]
    pub(crate) fn poll_proceed(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_left() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Whether units are left.
    #[inline]
    pub(crate) fn is_left(&self) -> bool {
        self.left.get() > 0
    }

    /// Takes `units` for an operation that made progress.
    #[inline]
    pub(crate) fn charge(&self, units: u32) {
        self.left.set(self.left.get() - i64::from(units));
    }

    /// Takes what it costs to have moved so many bytes: a unit for the call, and one for each
    /// [`BYTES_PER_UNIT`].
    #[inline]
    pub(crate) fn charge_transfer(&self, bytes: usize) {
        let for_bytes = i64::try_from(bytes / BYTES_PER_UNIT).expect("a quotient is smaller");
        self.left.set(self.left.get() - 1 - for_bytes);
    }

    /// Lifts the limit while `call` runs.
    pub(crate) fn unconstrained<R>(&self, call: impl FnOnce() -> R) -> R {
        with_value(&self.left, UNLIMITED, call)
    }
}
