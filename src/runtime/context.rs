//! The runtime that is current on this thread.
//!
//! Called by the public faces (`net`, `time`, `task`, `io`) whenever something is polled, spawned or
//! dropped; gives access to the current runtime's `executor` and `reactor`.
//!
//! # Invariants
//!
//! 1. Futures, outputs and their destructors run only while their runtime is current.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;

use crate::executor::local::{self, Enter};
use crate::executor::{Executor, waker};
use crate::reactor::source::WakerRef;
use crate::reactor::{Reactor, Tasks};
use crate::remote::RegistryEntry;
use crate::sync::per_thread;
use crate::sys::scoped::Scoped;

per_thread! {
    static CURRENT: Scoped<Context> = Scoped::new();
    /// Where the `block_on` that runs on this thread was called.
    static BLOCKED_AT: Cell<Option<&'static Location<'static>>> = Cell::new(None);
}

/// What a runtime is made of.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) executor: Executor,
    pub(crate) reactor: Reactor,
    pub(super) entry: RegistryEntry,
}

impl Context {
    /// Makes this runtime current while `call` runs.
    pub(crate) fn enter<R>(&self, call: impl FnOnce() -> R) -> R {
        CURRENT.with(|current| current.enter(self, || self.executor.enter(call)))
    }

    /// Makes this runtime current for a `block_on` that was called at `caller`.
    ///
    /// # Panics
    ///
    /// When a runtime is current on this thread already, or this one is another process's.
    pub(crate) fn enter_blocking<R>(
        &self,
        caller: &'static Location<'static>,
        call: impl FnOnce() -> R,
    ) -> R {
        struct Restore(Option<&'static Location<'static>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                BLOCKED_AT.with(|outer| outer.set(self.0));
            }
        }
        refuse_nesting(caller);
        let _restore = Restore(BLOCKED_AT.with(|outer| outer.replace(Some(caller))));
        self.refuse_foreign();
        self.enter(call)
    }

    /// Panics, in a `block_on`, if the runtime is that of the process which this one was forked from.
    #[inline]
    pub(crate) fn refuse_foreign(&self) {
        if self.reactor.is_foreign() {
            foreign();
        }
    }
}

#[cold]
fn foreign() -> ! {
    let caller = BLOCKED_AT.with(Cell::get).expect("a `block_on` runs");
    panic!(
        "the `block_on` that was called at {caller} runs in a child of the process that made its runtime: \
         the two would take each other's events, so make a new runtime in the child"
    )
}

/// Panics if a runtime is current on this thread, unless that is one of the process which this one was
/// forked from.
pub(crate) fn refuse_nesting(caller: &Location<'_>) {
    if with(|current| current.is_none_or(|current| current.reactor.is_foreign())) {
        return;
    }
    match BLOCKED_AT.with(Cell::get) {
        Some(outer) => panic!(
            "`block_on` was called at {caller} inside of the `block_on` that was called at {outer}: \
             a thread runs one runtime at a time, so await the future or spawn it"
        ),
        None => panic!(
            "`block_on` was called at {caller} by a destructor that runs inside of a runtime"
        ),
    }
}

impl Enter for Context {
    fn run_in(&self, call: &mut dyn FnMut()) {
        if !self.executor.is_polling() {
            self.executor.budget().refill();
        }
        self.enter(call);
    }
}

/// Lets this thread find the runtime again, for destructors that run outside it.
pub(crate) fn register(context: &Rc<Context>) {
    local::register(context.entry.id(), context);
}

/// Undoes [`register`].
pub(crate) fn unregister(context: &Context) {
    local::unregister(context.entry.id());
}

/// What reactors ask of tasks.
pub(crate) const TASKS: Tasks = Tasks {
    wake: waker::wake,
    is_live: waker::is_live,
};

/// The waker of the task that is being polled, and what it wakes.
#[inline]
pub(crate) fn waker_ref<'a>(cx: &std::task::Context<'a>) -> WakerRef<'a> {
    WakerRef {
        waker: cx.waker(),
        target_of: waker::target_of,
    }
}

/// Calls `call` with the current runtime, if there is one.
#[inline]
pub(crate) fn with<R>(call: impl FnOnce(Option<&Context>) -> R) -> R {
    CURRENT.with(|current| current.with(call))
}

/// Calls `call` with the current runtime.
///
/// # Panics
///
/// When there is none, with the one sentence that says what to do.
#[inline]
#[track_caller]
pub(crate) fn expect<R>(call: impl FnOnce(&Context) -> R) -> R {
    let caller = Location::caller();
    with(|current| match current {
        Some(context) => call(context),
        None => absent(caller),
    })
}

#[cold]
fn absent(caller: &Location<'_>) -> ! {
    panic!(
        "there is no runtime on this thread (needed at {caller}): do this inside of \
         `#[runtime::main]`, `#[runtime::test]` or `runtime::block_on`"
    )
}
