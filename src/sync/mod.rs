//! What threads share is made of these: the standard library's, or those of a checker that has to see them.
//!
//! Called by everything that other threads touch. With `--cfg runtime_loom` they are loom's, which tries every
//! interleaving (`tests/models.rs`); with `--cfg runtime_tsan` the cell that is set once is one that
//! ThreadSanitizer sees through (`.ci/tsan` tells it the rest).
//!
//! # Invariants
//!
//! 1. No code of others runs under a [`Mutex`]; so a poisoned one is whole, and its lock cannot fail.

#[cfg(runtime_loom)]
pub mod mutants;
#[cfg(any(runtime_loom, runtime_tsan))]
mod once;

use std::fmt;
use std::sync::PoisonError;

#[cfg(runtime_loom)]
pub(crate) use loom::sync::Arc;
#[cfg(runtime_loom)]
pub(crate) use loom::sync::atomic;
#[cfg(not(runtime_loom))]
pub(crate) use std::sync::Arc;
#[cfg(not(any(runtime_loom, runtime_tsan)))]
pub(crate) use std::sync::OnceLock;
#[cfg(not(runtime_loom))]
pub(crate) use std::sync::atomic;

#[cfg(any(runtime_loom, runtime_tsan))]
pub(crate) use self::once::OnceLock;

#[cfg(runtime_loom)]
use loom::sync as raw;
#[cfg(not(runtime_loom))]
use std::sync as raw;

pub(crate) use self::raw::MutexGuard;

/// A lock that is never poisoned.
pub(crate) struct Mutex<T>(raw::Mutex<T>);

impl<T> Mutex<T> {
    #[cfg(not(runtime_loom))]
    pub(crate) const fn new(value: T) -> Self {
        Self(raw::Mutex::new(value))
    }

    #[cfg(runtime_loom)]
    pub(crate) fn new(value: T) -> Self {
        Self(raw::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a model has put this error into the code, to see that it finds it; never outside of loom.
#[cfg(not(runtime_loom))]
#[inline(always)]
pub(crate) const fn is_mutant(_: &str) -> bool {
    false
}
#[cfg(runtime_loom)]
pub(crate) use self::mutants::is_mutant;

/// Declares a static that all threads share.
macro_rules! shared {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = $value:expr;) => {
        #[cfg(not(runtime_loom))]
        $(#[$attribute])*
        static $name: $type = $value;

        #[cfg(runtime_loom)]
        loom::lazy_static! {
            $(#[$attribute])*
            static ref $name: $type = $value;
        }
    };
}
pub(crate) use shared;

/// An array of things that are made alike, for a static.
macro_rules! array {
    ($value:expr; $length:expr) => {{
        #[cfg(not(runtime_loom))]
        {
            [const { $value }; $length]
        }
        #[cfg(runtime_loom)]
        {
            std::array::from_fn::<_, { $length }, _>(|_| $value)
        }
    }};
}
pub(crate) use array;

/// Declares statics of which each thread has its own.
macro_rules! per_thread {
    ($($(#[$attribute:meta])* static $name:ident: $type:ty = $value:expr;)*) => {
        #[cfg(not(runtime_loom))]
        std::thread_local! {
            $($(#[$attribute])* static $name: $type = const { $value };)*
        }

        #[cfg(runtime_loom)]
        loom::thread_local! {
            $($(#[$attribute])* static $name: $type = $value;)*
        }
    };
}
pub(crate) use per_thread;
