//! Foreign code whose panics no caller can handle: wakers, and destructors of unwanted values.
//!
//! Called by `executor` and `reactor`; the panic hook has reported the panic by then.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// How many panics of payloads' destructors, each one's payload the next, are caught before the last payload is
/// leaked: there might be no end.
const PAYLOADS: usize = 100;

/// Runs `call`; catches and discards its panic.
pub(crate) fn quietly(call: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(call)) {
        swallow(payload);
    }
}

/// Drops what a panic carried, which may panic in turn.
#[cold]
fn swallow(mut payload: Box<dyn Any + Send>) {
    for _ in 0..PAYLOADS {
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return,
            Err(next) => payload = next,
        }
    }
    mem::forget(payload);
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
