//! The table that leads from a runtime's id, or its index alone, to what other threads may touch of it.
//!
//! Called by `remote` and through it by wakers, sockets and timers on any thread.
//!
//! # Invariants
//!
//! 1. Entries are never freed, only handed on to the next runtime at that index; so a reference to one
//!    never dangles. An id leads to its entry only while that runtime has it.
//! 2. An index is free only after all traces of its last runtime are gone from its entry.

use std::io;

use super::id::MAX_RUNTIMES;
use super::{Remote, RuntimeId};
use crate::sync::{Mutex, OnceLock, array, is_mutant, shared};

shared! {
    static TABLE: [OnceLock<Box<Remote>>; MAX_RUNTIMES] = array![OnceLock::new(); MAX_RUNTIMES];
}
shared! {
    static IDS: Mutex<Ids> = Mutex::new(Ids {
        free: Vec::new(),
        unused: 0,
    });
}

/// The ids that the next runtimes get.
struct Ids {
    /// Of indices that were used before.
    free: Vec<RuntimeId>,
    /// The first index that was not.
    unused: u16,
}

/// The entry at `index`, whoever has it.
#[inline]
pub(super) fn at(index: u16) -> Option<&'static Remote> {
    let entry = TABLE.get(usize::from(index)).and_then(OnceLock::get)?;
    Some(entry)
}

/// Takes an entry for a new runtime, and its id.
///
/// # Errors
///
/// When 4,095 runtimes are alive in this process, or all ids are used up.
pub(super) fn acquire() -> io::Result<(RuntimeId, &'static Remote)> {
    let id = {
        let mut ids = IDS.lock();
        match ids.free.pop() {
            Some(id) => id,
            None if usize::from(ids.unused) < MAX_RUNTIMES => {
                ids.unused += 1;
                RuntimeId::first(ids.unused - 1)
            }
            None => {
                return Err(io::Error::new(
                    io::ErrorKind::QuotaExceeded,
                    "4,095 runtimes are alive in this process, drop one to make another",
                ));
            }
        }
    };
    let remote = TABLE[usize::from(id.index())].get_or_init(Box::default);
    remote.open(id);
    Ok((id, remote))
}

/// Gives the entry of a runtime back.
pub(super) fn release(id: RuntimeId, remote: &Remote) {
    let is_early = is_mutant("the index is free before the notifier is gone");
    if is_early {
        free(id);
    }
    remote.close();
    if !is_early {
        free(id);
    }
}

fn free(id: RuntimeId) {
    IDS.lock().free.extend(id.next());
}
