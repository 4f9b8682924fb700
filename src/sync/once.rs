//! A cell that is set once, made of what checkers understand: its flag is what publishes the value.

use std::sync::OnceLock as Storage;

use super::Mutex;
use super::atomic::{AtomicBool, Ordering};

/// What `std::sync::OnceLock` is, as far as it is used here.
pub(crate) struct OnceLock<T> {
    is_set: AtomicBool,
    setting: Mutex<()>,
    value: Storage<T>,
}

impl<T> OnceLock<T> {
    #[cfg(runtime_tsan)]
    pub(crate) const fn new() -> Self {
        Self {
            is_set: AtomicBool::new(false),
            setting: Mutex::new(()),
            value: Storage::new(),
        }
    }

    #[cfg(runtime_loom)]
    pub(crate) fn new() -> Self {
        Self {
            is_set: AtomicBool::new(false),
            setting: Mutex::new(()),
            value: Storage::new(),
        }
    }

    /// The value, if this thread can know that it is set.
    pub(crate) fn get(&self) -> Option<&T> {
        self.is_set
            .load(Ordering::Acquire)
            .then(|| self.value.get())?
    }

    /// The value, which `make` makes unless it is set.
    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        let _setting = self.setting.lock();
        let value = self.value.get_or_init(make);
        self.is_set.store(true, Ordering::Release);
        value
    }
}
