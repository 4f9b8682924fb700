//! Foreign code whose panics nobody can be told of: wakers, and destructors of unwanted values.
//!
//! Called by `executor` and `reactor`; the panic hook has reported the panic by then.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Runs `call` and swallows its panic.
pub(crate) fn quietly(call: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(call))
        && let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
    {
        // The payload's own destructor panicked; a third chance would go on for ever.
        mem::forget(second);
    }
}

/// Wakes every waker, in order, and leaves the list empty with its capacity; one that panics does not
/// keep the others from being woken.
#[inline]
pub(crate) fn wake_all(wakers: &mut Vec<Waker>) {
    let mut wakers = wakers.drain(..);
    while wakers.len() > 0 {
        quietly(|| wakers.by_ref().for_each(Waker::wake));
    }
}
