//! The runtimes of this thread: whose scheduler is current, and how to make one current.
//!
//! Called by `waker` (is the task ours?), `join` (an output must be dropped inside its runtime) and
//! `runtime::context`, which makes runtimes current.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use super::scheduler::Scheduler;
use crate::remote::RuntimeId;
use crate::sync::per_thread;
use crate::sys::scoped::Scoped;

/// What makes a whole runtime current around a call; `runtime::context` implements it.
pub(crate) trait Enter {
    /// Runs `call` with the runtime current on this thread.
    fn run_in(&self, call: &mut dyn FnMut());
}

per_thread! {
    static CURRENT: Scoped<Scheduler> = Scoped::new();
    static RUNTIMES: RefCell<Vec<Local>> = RefCell::new(Vec::new());
}

/// A runtime of this thread.
struct Local {
    id: RuntimeId,
    runtime: Weak<dyn Enter>,
}

/// Makes `scheduler` current while `call` runs.
pub(super) fn enter<R>(scheduler: &Scheduler, call: impl FnOnce() -> R) -> R {
    CURRENT.with(|current| current.enter(scheduler, call))
}

/// Calls `call` with the current scheduler, if there is one.
#[inline(always)]
pub(super) fn with<R>(call: impl FnOnce(Option<&Scheduler>) -> R) -> R {
    CURRENT.with(|current| current.with(call))
}

/// Lets this thread find a runtime by its id.
pub(crate) fn register(id: RuntimeId, runtime: &Rc<impl Enter + 'static>) {
    let local = Local {
        id,
        runtime: Rc::downgrade(&(Rc::clone(runtime) as Rc<dyn Enter>)),
    };
    // While the thread ends the list may be gone already; then the runtime cannot be found.
    let _ = RUNTIMES.try_with(|runtimes| runtimes.borrow_mut().push(local));
}

/// Undoes [`register`].
pub(crate) fn unregister(id: RuntimeId) {
    // While the thread ends the list may be gone already, and with it what it holds.
    let _ = RUNTIMES.try_with(|runtimes| {
        runtimes.borrow_mut().retain(|local| local.id != id);
    });
}

/// A runtime of this thread, if it is not gone.
fn find(id: RuntimeId) -> Option<Rc<dyn Enter>> {
    let found = RUNTIMES.try_with(|runtimes| {
        let runtimes = runtimes.borrow();
        let local = runtimes.iter().find(|local| local.id == id)?;
        local.runtime.upgrade()
    });
    found.ok().flatten()
}

fn is_current(id: RuntimeId) -> bool {
    with(|current| current.is_some_and(|scheduler| scheduler.id() == id))
}

/// Runs `call` inside a runtime of this thread, or as it is if that runtime is gone.
pub(super) fn run_in(id: RuntimeId, call: &mut dyn FnMut()) {
    if is_current(id) {
        return call();
    }
    match find(id) {
        Some(runtime) => runtime.run_in(call),
        None => call(),
    }
}
