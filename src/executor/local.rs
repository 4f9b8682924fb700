//! The executors of this thread: which is current, and how to make one current.
//!
//! Called by `waker` (is the task ours?), `join` (an output must be dropped inside its runtime) and
//! `runtime::context`, which makes executors current.

use std::cell::RefCell;
use std::io;
use std::rc::{Rc, Weak};

use super::Executor;
use crate::sync::{Serial, per_thread};
use crate::sys::scoped::Scoped;

/// What makes a whole runtime current around a call; `runtime::context` implements it.
pub(crate) trait Enter {
    /// Runs `call` with the runtime current on this thread.
    fn enter_for(&self, call: &mut dyn FnMut());
}

per_thread! {
    static CURRENT: Scoped<Executor> = Scoped::new();
    static RUNTIMES: RefCell<Vec<Local>> = RefCell::new(Vec::new());
}

/// A runtime of this thread.
struct Local {
    home: HomeId,
    /// Its place in the table, which a later runtime may have again.
    number: u16,
    runtime: Weak<dyn Enter>,
}

/// Tells a runtime from all others of this process, now and later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HomeId(u32);

impl HomeId {
    /// No runtime's.
    pub(super) const NONE: Self = Self(0);

    /// # Errors
    ///
    /// When no numbers are left.
    pub(super) fn new() -> io::Result<Self> {
        static NUMBERS: Serial = Serial::new();
        NUMBERS.next().map(Self)
    }
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

/// Remembers that the runtime of `executor` lives on this thread.
pub(crate) fn remember(executor: &Executor, runtime: &Rc<impl Enter + 'static>) {
    let local = Local {
        home: executor.home(),
        number: executor.number(),
        runtime: Rc::downgrade(&(Rc::clone(runtime) as Rc<dyn Enter>)),
    };
    // While the thread ends the list may be gone already; then nobody finds the runtime.
    let _ = RUNTIMES.try_with(|runtimes| runtimes.borrow_mut().push(local));
}

/// Forgets what [`remember`] was told.
pub(crate) fn forget(executor: &Executor) {
    // While the thread ends the list may be gone already, and with it what it remembers.
    let _ = RUNTIMES.try_with(|runtimes| {
        let home = executor.home();
        runtimes.borrow_mut().retain(|local| local.home != home);
    });
}

/// Calls `call` with a runtime of this thread, if it is not gone.
fn find<R>(home: HomeId, call: impl FnOnce(&Local) -> R) -> Option<R> {
    let found = RUNTIMES.try_with(|runtimes| {
        let runtimes = runtimes.borrow();
        runtimes.iter().find(|local| local.home == home).map(call)
    });
    found.ok().flatten()
}

fn is_current(home: HomeId) -> bool {
    with(|current| current.is_some_and(|executor| executor.home() == home))
}

/// The place in the table of a runtime of this thread, if it is not gone.
pub(super) fn number(home: HomeId) -> Option<u16> {
    let current = with(|current| {
        let executor = current.filter(|executor| executor.home() == home)?;
        Some(executor.number())
    });
    current.or_else(|| find(home, |local| local.number))
}

/// Runs `call` inside a runtime of this thread, or as it is if that runtime is gone.
pub(super) fn inside(home: HomeId, call: &mut dyn FnMut()) {
    if is_current(home) {
        return call();
    }
    match find(home, |local| local.runtime.upgrade()).flatten() {
        Some(runtime) => runtime.enter_for(call),
        None => call(),
    }
}
