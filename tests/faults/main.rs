//! Faults: whatever system call fails, whenever, the error goes to the right caller or is made good; nobody
//! panics, nothing leaks, the runtime goes on.
//!
//! `interposed` takes the place of libc's functions and asks `script` which call is to fail. A `life` touches
//! every place where the crate calls the kernel; `sweep` lives it again and again, each time with another call
//! failing in another way of `table`, and `journal` checks what its steps come to. `persistent` holds what takes
//! more than one fault.

#[path = "../common/mod.rs"]
mod common;
mod interposed;
#[cfg(not(runtime_plain_memory))]
mod interposed_thread;
mod journal;
mod life;
mod persistent;
mod script;
mod sweep;
mod table;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tests count the process's descriptors, so they run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
