//! A pointer that a thread holds for the length of a call.

use std::cell::Cell;
use std::fmt;
use std::ptr::{self, NonNull};

use super::cell::with_value;

/// The value that is current on this thread, for as long as the call that made it so lasts.
///
/// Meant to stand in a `thread_local!`: being `const` and without a destructor, one is read with a
/// single load, also while the thread is being torn down.
///
/// # Invariants
///
/// 1. The pointer is null, or [`Scoped::enter`] is running further up this thread's stack and its
///    `value` is borrowed for all of that time.
pub(crate) struct Scoped<T>(Cell<*const T>);

impl<T> Scoped<T> {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(ptr::null()))
    }

    /// Makes `value` current while `call` runs, also when it panics; then whatever was before.
    pub(crate) fn enter<R>(&self, value: &T, call: impl FnOnce() -> R) -> R {
        with_value(&self.0, ptr::from_ref(value), call)
    }

    /// Calls `call` with the current value, if there is one.
    #[inline]
    pub(crate) fn with<R>(&self, call: impl FnOnce(Option<&T>) -> R) -> R {
        let current = NonNull::new(self.0.get().cast_mut());
        // SAFETY: the pointer must be valid for reads while the reference lives. By invariant 1 the
        // value is borrowed until its `enter` returns, which is after `call` does; `Cell` is not
        // `Sync`, so this is the thread that entered.
        call(current.map(|value| unsafe { value.as_ref() }))
    }
}

impl<T> fmt::Debug for Scoped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scoped")
            .field(&!self.0.get().is_null())
            .finish()
    }
}
