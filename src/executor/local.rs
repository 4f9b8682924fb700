//! The executors of this thread: which is current, and how to make one current.
//!
//! Called by `waker` (is the task ours?), `join` (an output must be dropped inside its runtime) and
//! `runtime::context`, which makes executors current.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use super::Executor;
use crate::sys::scoped::Scoped;

/// What makes a whole runtime current around a call; `runtime::context` implements it.
pub(crate) trait Enter {
    /// Runs `call` with the runtime current on this thread.
    fn enter_for(&self, call: &mut dyn FnMut());
}

thread_local! {
    static CURRENT: Scoped<Executor> = const { Scoped::new() };
    static RUNTIMES: RefCell<Vec<(u16, Weak<dyn Enter>)>> = const { RefCell::new(Vec::new()) };
}

/// Makes `executor` current while `call` runs.
pub(crate) fn enter<R>(executor: &Executor, call: impl FnOnce() -> R) -> R {
    CURRENT.with(|current| current.enter(executor, call))
}

/// Calls `call` with the current executor, if there is one.
#[inline]
pub(crate) fn with<R>(call: impl FnOnce(Option<&Executor>) -> R) -> R {
    CURRENT.with(|current| current.with(call))
}

/// Remembers that the runtime of executor `number` lives on this thread.
pub(crate) fn remember(number: u16, runtime: &Rc<impl Enter + 'static>) {
    let runtime: Weak<dyn Enter> = Rc::downgrade(&(Rc::clone(runtime) as Rc<dyn Enter>));
    // While the thread ends the list may be gone already; then nobody finds the runtime.
    let _ = RUNTIMES.try_with(|runtimes| runtimes.borrow_mut().push((number, runtime)));
}

/// Forgets what [`remember`] was told.
pub(crate) fn forget(number: u16) {
    // While the thread ends the list may be gone already, and with it what it remembers.
    let _ = RUNTIMES.try_with(|runtimes| {
        runtimes.borrow_mut().retain(|(other, _)| *other != number);
    });
}

/// Runs `call` inside the runtime of executor `number`, or as it is if that runtime is gone.
pub(crate) fn inside(number: u16, call: &mut dyn FnMut()) {
    if with(|current| current.is_some_and(|executor| executor.number() == number)) {
        return call();
    }
    let runtime = RUNTIMES.try_with(|runtimes| {
        let runtimes = runtimes.borrow();
        let found = runtimes.iter().find(|(other, _)| *other == number);
        found.and_then(|(_, runtime)| runtime.upgrade())
    });
    match runtime {
        Ok(Some(runtime)) => runtime.enter_for(call),
        _ => call(),
    }
}
