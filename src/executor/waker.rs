//! Wakers that are values: a word that says which task of which runtime, and nothing to count.
//!
//! Called by holders of a `Waker`, on any thread; calls `executor` on the task's own thread and
//! `remote` from anywhere else.
//!
//! # Invariants
//!
//! 1. The data pointer of a waker of ours is a [`WakeTarget`], never a pointer to memory; so cloning,
//!    dropping and outliving task and runtime cannot go wrong.

#![expect(
    unsafe_code,
    reason = "a `RawWaker` promises what the compiler cannot check"
)]

use std::mem::ManuallyDrop;
use std::ptr;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::local;
use crate::remote::{self, WakeTarget};

/// Makes the task due; on the wrong thread, or late, that is allowed too.
fn wake_data(data: *const ()) {
    let target = target(data);
    let is_ours = local::with(|current| match current {
        Some(scheduler) => scheduler.wake_if_ours(target),
        None => false,
    });
    if !is_ours {
        wake_elsewhere(target);
    }
}

/// Makes the task due, whatever runtime it is of.
pub(crate) fn wake(target: WakeTarget) {
    wake_data(ptr::without_provenance(target.to_bits()));
}

/// Whether a target of the current runtime names a task that has not ended.
pub(crate) fn is_live(target: WakeTarget) -> bool {
    local::with(|current| current.is_some_and(|scheduler| scheduler.is_live(target)))
}

/// Makes a task due that is not the current runtime's.
#[cold]
#[inline(never)]
pub(super) fn wake_elsewhere(target: WakeTarget) {
    remote::wake(target);
}

/// The waker of the task; it needs no drop.
#[inline]
pub(crate) fn waker(target: WakeTarget) -> ManuallyDrop<Waker> {
    // SAFETY: the vtable's functions must be thread-safe and own nothing that a clone or a drop
    // could get wrong: they only read the target (invariant 1).
    ManuallyDrop::new(unsafe { Waker::from_raw(raw(target)) })
}

/// The target of a waker, if it is ours.
#[inline]
pub(crate) fn target_of(waker: &Waker) -> Option<WakeTarget> {
    ptr::eq(waker.vtable(), &raw const VTABLE).then(|| target(waker.data()))
}

#[inline]
fn raw(target: WakeTarget) -> RawWaker {
    RawWaker::new(ptr::without_provenance(target.to_bits()), &VTABLE)
}

#[inline]
fn target(data: *const ()) -> WakeTarget {
    WakeTarget::from_bits(data.addr())
}

static VTABLE: RawWakerVTable =
    RawWakerVTable::new(|data| raw(target(data)), wake_data, wake_data, |_| ());
