//! How loom's threads wait in the kernel: as the kernel cannot let them wait, it is asked after each event.
//!
//! Called by `epoll`, `event_fd` and models, with `--cfg runtime_loom` only. The kernel's answers are real.

use std::io;
use std::sync::PoisonError;

use loom::sync::{Condvar, Mutex, MutexGuard};

loom::lazy_static! {
    static ref EVENTS: Events = Events::default();
}

#[derive(Default)]
struct Events {
    lock: Mutex<()>,
    happened: Condvar,
}

/// An event that is being made. When this is dropped, it has happened.
pub(super) struct Event {
    _exclusive: MutexGuard<'static, ()>,
}

/// Makes an event; whoever waits sees it.
pub(super) fn event() -> Event {
    Event {
        _exclusive: EVENTS.lock.lock().unwrap_or_else(PoisonError::into_inner),
    }
}

/// Does what is an event to the kernel.
pub fn during_event<R>(call: impl FnOnce() -> R) -> R {
    let _event = event();
    call()
}

impl Drop for Event {
    fn drop(&mut self) {
        EVENTS.happened.notify_all();
    }
}

/// Waits until `ask` finds an event.
pub(super) fn wait(mut ask: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let mut asking = EVENTS.lock.lock().unwrap_or_else(PoisonError::into_inner);
    while !ask()? {
        asking = EVENTS
            .happened
            .wait(asking)
            .unwrap_or_else(PoisonError::into_inner);
    }
    Ok(())
}
