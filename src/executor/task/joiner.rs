//! Who waits for a task's output: a waker in one word.
//!
//! Called by `task`. Nearly all joiners are tasks of ours, whose waker is a word by itself; another's is boxed.
//!
//! # Invariants
//!
//! 1. The pointer is null, or odd and the target of a waker of ours, or from `Box::into_raw` and owned here.

use std::cell::Cell;
use std::ptr;
use std::task::Waker;

use crate::executor::waker;
use crate::remote::WakeTarget;

/// A waker, or none.
pub(super) struct Joiner(Cell<*mut Waker>);

impl Joiner {
    pub(super) const fn none() -> Self {
        Self(Cell::new(ptr::null_mut()))
    }

    /// Puts a waker in, where there is none.
    #[inline]
    pub(super) fn set(&self, waker: Waker) {
        debug_assert!(self.0.get().is_null(), "the earlier one was taken out");
        self.0.set(match waker::target_of(&waker) {
            Some(target) => ptr::without_provenance_mut(target.to_tagged().get()),
            None => Box::into_raw(Box::new(waker)),
        });
    }

    /// Takes the waker out.
    #[inline]
    pub(super) fn take(&self) -> Option<Waker> {
        let pointer = self.0.replace(ptr::null_mut());
        if let Some(target) = WakeTarget::from_tagged(pointer.addr()) {
            return Some(waker::to_waker(target));
        }
        if pointer.is_null() {
            return None;
        }
        // SAFETY: the pointer must come from `Box::into_raw` and be owned here: invariant 1, as it is neither
        // odd nor null; it was replaced above, so nobody takes it again.
        Some(*unsafe { Box::from_raw(pointer) })
    }
}

impl Drop for Joiner {
    fn drop(&mut self) {
        drop(self.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::task::Wake;

    struct Nothing;

    impl Wake for Nothing {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_foreign_waker_comes_out_as_it_went_in_and_is_dropped_once() {
        let count = Arc::new(Nothing);
        let joiner = Joiner::none();
        assert!(joiner.take().is_none());
        for _ in 0..2 {
            joiner.set(Waker::from(Arc::clone(&count)));
            assert_eq!(Arc::strong_count(&count), 2);
            let waker = joiner.take().expect("it was put in");
            assert!(waker.will_wake(&Waker::from(Arc::clone(&count))));
        }
        joiner.set(Waker::from(Arc::clone(&count)));
        drop(joiner);
        assert_eq!(Arc::strong_count(&count), 1);
    }

    #[test]
    fn a_waker_of_ours_comes_out_as_it_went_in() {
        for word in [0, 1, usize::MAX >> 1] {
            let waker = WakeTarget::from_tagged(word << 1 | 1).map(waker::to_waker);
            let waker = waker.expect("the word is odd");
            let joiner = Joiner::none();
            joiner.set(waker.clone());
            assert!(joiner.take().is_some_and(|same| same.will_wake(&waker)));
            assert!(joiner.take().is_none());
        }
    }
}
