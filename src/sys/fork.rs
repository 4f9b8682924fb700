//! Processes that forked, told apart (`pthread_atfork(3)`).
//!
//! Called by `epoll`, `event_fd` and `net`: a child shares the kernel objects of its parent, so what a drop
//! or a wake would do to them there, it would do to its parent's. They remember the process that made them,
//! and are left alone in others. (The loop asks before each turn; the timer descriptor is behind that.)
//!
//! # Not here
//!
//! Children that were made without the hooks of `fork(3)`, by a bare `clone(2)`: they are not told apart.

use std::alloc::{Layout, handle_alloc_error};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How many forks lead to this process from the one that first asked.
static FORKS: AtomicU32 = AtomicU32::new(0);
static IS_HOOKED: AtomicBool = AtomicBool::new(false);

/// A process, as it and its children see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    /// This process; its forks are counted from now on.
    pub(crate) fn current() -> Self {
        if !IS_HOOKED.load(Ordering::Acquire) && !cfg!(miri) {
            hook();
        }
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// Whether this is that process, and not one that was forked from it.
    #[inline]
    pub(crate) fn is_current(self) -> bool {
        self.0 == FORKS.load(Ordering::Relaxed)
    }
}

/// What those are told who use in a child what belongs to its parent.
#[cold]
pub(super) fn foreign() -> io::Error {
    io::Error::other(
        "this runtime belongs to the process that this one was forked from, make a new one here",
    )
}

/// Counts forks. Two threads may both come to do it; then each fork counts twice, which is as good.
#[cold]
fn hook() {
    extern "C" fn count() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler must be safe to call in a child whose other threads are gone: it takes no lock.
    let result = unsafe { libc::pthread_atfork(None, None, Some(count)) };
    if result != 0 {
        // The one error that there is: no memory for the entry.
        handle_alloc_error(Layout::new::<extern "C" fn()>());
    }
    IS_HOOKED.store(true, Ordering::Release);
}
