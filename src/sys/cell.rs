//! Cells that hold another value for a while.

use std::cell::Cell;

/// Calls `call` while the cell holds `value`; the one before comes back, also after a panic.
#[inline]
pub(crate) fn with_value<T: Copy, R>(cell: &Cell<T>, value: T, call: impl FnOnce() -> R) -> R {
    struct Restore<'a, T: Copy>(&'a Cell<T>, T);

    impl<T: Copy> Drop for Restore<'_, T> {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }

    let _restore = Restore(cell, cell.replace(value));
    call()
}
