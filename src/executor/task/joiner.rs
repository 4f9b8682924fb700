//! Who waits for a task's output, in one word.
//!
//! Called by `task`. Nearly all joiners are tasks of ours, which are a word by themselves; another's waker
//! takes a block beside the task.
//!
//! # Invariants
//!
//! 1. The pointer is null, or odd and a tagged [`WakeTarget`], or leads to a waker that is owned here.

use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::task::Waker;

use super::pool::{self, class_of};
use crate::remote::WakeTarget;

/// Who waits for a task's output.
#[derive(Debug)]
pub(crate) enum Joiner {
    Ours(WakeTarget),
    Foreign(Waker),
}

/// A joiner, or none.
pub(super) struct JoinerWord(Cell<*mut Waker>);

/// The pool's class for a waker.
const CLASS: Option<usize> = class_of(Layout::new::<Waker>());

impl JoinerWord {
    pub(super) const fn none() -> Self {
        Self(Cell::new(ptr::null_mut()))
    }

    #[inline]
    pub(super) fn is_none(&self) -> bool {
        self.0.get().is_null()
    }

    /// Whether the joiner is this task of ours.
    #[inline]
    pub(super) fn is(&self, target: WakeTarget) -> bool {
        self.0.get().addr() == target.to_tagged().get()
    }

    /// Puts a joiner in, where there is none; `pooled` is the task, if that is in a pool.
    #[inline]
    pub(super) fn set(&self, joiner: Joiner, pooled: Option<NonNull<u8>>) {
        debug_assert!(self.is_none(), "the earlier one was taken out");
        self.0.set(match joiner {
            Joiner::Ours(target) => ptr::without_provenance_mut(target.to_tagged().get()),
            Joiner::Foreign(waker) => store(waker, pooled),
        });
    }

    /// Takes the joiner out if it is a task of ours.
    #[inline]
    pub(super) fn take_ours(&self) -> Option<WakeTarget> {
        let target = WakeTarget::from_tagged(self.0.get().addr())?;
        self.0.set(ptr::null_mut());
        Some(target)
    }

    /// Takes the joiner out; `is_pooled` as it was put in.
    #[inline]
    pub(super) fn take(&self, is_pooled: bool) -> Option<Joiner> {
        if let Some(target) = self.take_ours() {
            return Some(Joiner::Ours(target));
        }
        let waker = NonNull::new(self.0.replace(ptr::null_mut()))?;
        Some(Joiner::Foreign(load(waker, is_pooled)))
    }
}

#[cold]
fn store(waker: Waker, pooled: Option<NonNull<u8>>) -> *mut Waker {
    let (Some(task), Some(class)) = (pooled, CLASS) else {
        return Box::into_raw(Box::new(waker));
    };
    let block = pool::allocate_beside(task, class).cast();
    // SAFETY: it must be valid for writing a waker: it is a block of that class.
    unsafe { block.write(waker) };
    block.as_ptr()
}

#[cold]
fn load(block: NonNull<Waker>, is_pooled: bool) -> Waker {
    if !is_pooled || CLASS.is_none() {
        // SAFETY: it must come from `Box::into_raw` and not be used again: `store` put it there, and it was
        // taken out.
        return *unsafe { Box::from_raw(block.as_ptr()) };
    }
    // SAFETY: it must be valid for reading, and the waker not be used again: the block is freed below.
    let waker = unsafe { block.read() };
    // SAFETY: it came from a pool, by `store`, and is not used again.
    unsafe { pool::free(block.cast()) };
    waker
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::task::Pool;
    use crate::remote::RuntimeId;
    use std::sync::Arc;
    use std::task::Wake;

    struct Nothing;

    impl Wake for Nothing {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_foreign_waker_comes_out_as_it_went_in_with_a_pool_and_without() {
        let pool = Pool::new(RuntimeId::from_bits(1).expect("it is not zero"));
        let task = CLASS.map(|class| pool.allocate(class));
        let count = Arc::new(Nothing);
        let joiner = JoinerWord::none();
        for pooled in [None, task, None] {
            joiner.set(Joiner::Foreign(Waker::from(Arc::clone(&count))), pooled);
            assert_eq!(Arc::strong_count(&count), 2);
            match joiner.take(pooled.is_some()) {
                Some(Joiner::Foreign(waker)) => {
                    assert!(waker.will_wake(&Waker::from(Arc::clone(&count))));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(Arc::strong_count(&count), 1);
            assert!(joiner.is_none());
        }
        if let Some(task) = task {
            // SAFETY: it came from the pool and is not used again.
            unsafe { pool::free(task) };
        }
    }

    #[test]
    fn a_task_of_ours_comes_out_as_it_went_in() {
        for bits in [0, 1, usize::MAX >> 1] {
            let target = WakeTarget::from_bits(bits);
            let joiner = JoinerWord::none();
            joiner.set(Joiner::Ours(target), None);
            assert!(joiner.is(target));
            assert!(matches!(joiner.take(true), Some(Joiner::Ours(same)) if same == target));
            assert!(joiner.take(false).is_none());
        }
    }
}
