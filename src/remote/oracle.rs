//! The remote wake set against a set and two flags, one step after the other.
//!
//! # Not here
//!
//! Steps of several threads at the same time.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::os::fd::AsFd;

use proptest::collection::vec;
use proptest::prelude::*;

use super::Remote;
use super::wake_set::{BLOCK_BITS, FANOUT, MAX_SLOTS, PAGE_BITS};
use crate::sync::Arc;
use crate::sys::epoll::Epoll;
use crate::sys::event_fd::EventFd;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000, // unless `PROPTEST_CASES` says otherwise
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_tree_agrees_with_a_set_and_two_flags(steps in vec(step(), 0..60)) {
        let notifier = EventFd::new().expect("there are descriptors left");
        let counter = notifier.as_fd().try_clone_to_owned();
        let mut counter = File::from(counter.expect("there are descriptors left"));
        let (remote, mut model) = (Remote::default(), Model::default());
        remote.set_notifier(notifier, Arc::new(Epoll::new().expect("there are descriptors left")));
        for step in steps {
            take(step, &remote, &mut model);
            assert_eq!(notifications(&mut counter), mem::take(&mut model.notifications));
        }
        take(Step::TakeNotified, &remote, &mut model);
        take(Step::Drain, &remote, &mut model);
    }
}

/// What the owner and others do, one after the other.
#[derive(Clone, Debug)]
enum Step {
    Reserve(u32),
    Wake(u32),
    TakeNotified,
    Drain,
    /// While the owner drains, these are woken, one with each slot that comes out.
    DrainAndWake(Vec<u32>),
    Park,
    Unpark,
}

/// What a set should be, without its tree.
#[derive(Default)]
struct Model {
    reserved: BTreeSet<u32>,
    marked: BTreeSet<u32>,
    is_notified: bool,
    is_parked: bool,
    notifications: u64,
}

impl Model {
    fn has_room(&self, slot: u32) -> bool {
        self.reserved.contains(&(slot / BLOCK_BITS))
    }

    fn wake(&mut self, slot: u32) {
        if self.has_room(slot) && self.marked.insert(slot) {
            let is_first = !mem::replace(&mut self.is_notified, true);
            self.notifications += u64::from(is_first && self.is_parked);
        }
    }

    fn park(&mut self) -> bool {
        self.is_parked = !self.is_notified;
        self.is_parked
    }
}

/// Does a step to the set and to the model, which must agree.
fn take(step: Step, remote: &Remote, model: &mut Model) {
    match step {
        Step::Reserve(slot) => {
            remote.reserve(slot);
            model.reserved.insert(slot / BLOCK_BITS);
        }
        Step::Wake(slot) => {
            remote.wake(slot);
            model.wake(slot);
        }
        Step::TakeNotified => {
            let was_notified = mem::take(&mut model.is_notified);
            assert_eq!(remote.take_notified(), was_notified);
        }
        Step::Drain => {
            let marked = mem::take(&mut model.marked);
            assert_eq!(drained(remote), Vec::from_iter(marked));
        }
        Step::DrainAndWake(slots) => drain_and_wake(&slots, remote, model),
        Step::Park => assert_eq!(remote.park(), model.park()),
        Step::Unpark => {
            remote.unpark();
            model.is_parked = false;
        }
    }
}

/// Drains while others wake, and then once more: each wake is followed by its slot.
fn drain_and_wake(slots: &[u32], remote: &Remote, model: &mut Model) {
    remote.take_notified();
    let mut waiting = mem::take(&mut model.marked);
    let mut slots = slots.iter().filter(|&&slot| model.has_room(slot));
    remote.drain_woken(|slot| {
        waiting.remove(&slot);
        if let Some(&next) = slots.next() {
            remote.wake(next);
            waiting.insert(next);
        }
    });
    let is_notified = remote.take_notified();
    assert!(
        is_notified || waiting.is_empty(),
        "the owner may wait and {waiting:?} are marked"
    );
    model.notifications += u64::from(is_notified && model.is_parked);
    model.is_notified = false;
    remote.drain_woken(|slot| {
        waiting.remove(&slot);
    });
    assert!(waiting.is_empty(), "{waiting:?} were lost");
}

fn drained(remote: &Remote) -> Vec<u32> {
    let mut slots = Vec::new();
    remote.drain_woken(|slot| slots.push(slot));
    slots
}

/// How often an owner was notified since the last look.
fn notifications(notifier: &mut File) -> u64 {
    let mut count = [0; 8];
    match notifier.read_exact(&mut count) {
        Ok(()) => u64::from_ne_bytes(count),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            0
        }
    }
}

/// Slots near the places where a word, a block or a page ends.
fn slot() -> impl Strategy<Value = u32> {
    let near = |multiple: u32, offset: u32| (multiple + offset).min(MAX_SLOTS + 1) - 2;
    prop_oneof![
        (1..4_u32, 0..4_u32).prop_map(move |(word, offset)| near(word * FANOUT, offset)),
        (1..4_u32, 0..4_u32).prop_map(move |(block, offset)| near(block * BLOCK_BITS, offset)),
        (1..4_u32, 0..4_u32).prop_map(move |(page, offset)| near(page * PAGE_BITS, offset)),
        (0..4_u32).prop_map(move |offset| near(MAX_SLOTS, offset)),
        0..4_u32,
        0..MAX_SLOTS,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => slot().prop_map(Step::Reserve),
        6 => slot().prop_map(Step::Wake),
        1 => Just(Step::TakeNotified),
        1 => Just(Step::Drain),
        2 => vec(slot(), 1..6).prop_map(Step::DrainAndWake),
        1 => Just(Step::Park),
        1 => Just(Step::Unpark),
    ]
}
