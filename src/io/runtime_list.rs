//! The descriptors that several runtimes wait for, and their entries there.
//!
//! Called by `registration`, when a second runtime comes to wait for a descriptor and when such a one is dropped.
//!
//! # Invariants
//!
//! 1. A list exists exactly while its descriptor's word names it: from the second runtime to the descriptor's end.
//! 2. A list is the truth; a reactor copies its own entry. Only a runtime's own thread adds it, so the copy stays true.

use slab::Slab;

use super::registration::Entry;
use crate::reactor::RuntimeList;
use crate::remote;
use crate::sync::{Mutex, shared};

shared! {
    static LISTS: Mutex<Lists> = Mutex::new(Lists {
        lists: Slab::new(),
        next_serial: 1,
    });
}

struct Lists {
    lists: Slab<List>,
    next_serial: u32,
}

/// The entries of one descriptor, one for each runtime at most.
struct List {
    serial: u32,
    entries: Vec<Entry>,
}

/// Serial numbers have 31 bits.
const SERIALS: u32 = 1 << 31;

/// Makes a list, if `publish` then puts it where others find it.
pub(super) fn create(entries: [Entry; 2], publish: impl FnOnce(RuntimeList) -> bool) -> bool {
    let mut lists = LISTS.lock();
    let serial = lists.next_serial;
    lists.next_serial = match serial + 1 {
        SERIALS => 1,
        next => next,
    };
    let entries = Vec::from(entries);
    let key = lists.lists.insert(List { serial, entries });
    let index = u32::try_from(key).expect("a process has fewer than 2^32 descriptors");
    let is_published = publish(RuntimeList { serial, index });
    if !is_published {
        lists.lists.remove(key);
    }
    is_published
}

/// Adds an entry. Those of runtimes that are gone are removed.
pub(super) fn add(list: RuntimeList, entry: Entry) {
    with_entries(list, |entries| {
        entries.retain(|entry| remote::is_alive(entry.runtime));
        entries.push(entry);
    });
}

/// The entry of a runtime.
pub(super) fn find(list: RuntimeList, is_meant: impl Fn(&Entry) -> bool) -> Option<Entry> {
    with_entries(list, |entries| entries.iter().copied().find(is_meant))
}

/// Ends a list; returns its entries.
pub(super) fn remove(list: RuntimeList) -> Vec<Entry> {
    LISTS.lock().lists.remove(list.index as usize).entries
}

fn with_entries<R>(list: RuntimeList, call: impl FnOnce(&mut Vec<Entry>) -> R) -> R {
    let mut lists = LISTS.lock();
    let found = &mut lists.lists[list.index as usize];
    debug_assert_eq!(found.serial, list.serial, "the descriptor's word names it");
    call(&mut found.entries)
}
