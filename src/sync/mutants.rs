//! Errors that a model puts into the code, to see that it would find them.
//!
//! Called by `tests/models.rs` and the models beside the code; the code asks [`is_mutant`] at the place of each
//! error.

use std::cell::Cell;

std::thread_local! {
    /// Not loom's: its threads share one of the system's, and so the choice.
    static CHOSEN: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Runs `call` with the error `name` in the code.
pub fn with<R>(name: &'static str, call: impl FnOnce() -> R) -> R {
    struct Restore(Option<&'static str>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CHOSEN.set(self.0);
        }
    }
    let _restore = Restore(CHOSEN.replace(Some(name)));
    call()
}

/// Whether the error `name` is in the code.
pub(crate) fn is_mutant(name: &str) -> bool {
    CHOSEN.get() == Some(name)
}
