//! What tasks do with a source: operations and waits, played by the rules of sockets (`Registration::poll_io` and
//! its kin, `Reactor::drive`, `Reactor::wait`).

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::kernel::Done;
use super::world::World;
use crate::reactor::source::{Completion, Direction, StoredWaker, Ticket, Trigger, WakerRef};
use crate::remote::{Generation, WakeTarget};

/// Who waits: a later wait of the same takes the place of the earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    Exclusive,
    Ticket(u8),
    /// Always comes with the same waker: one of ours if the number is odd.
    Anonymous(u8),
}

/// The waker of one wait: the slot of ours, or how often a foreign one was woken.
#[derive(Clone, Debug)]
pub(super) enum Wait {
    Ours(u32),
    Foreign(Arc<Wakes>),
}

#[derive(Debug, Default)]
pub(super) struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

thread_local! {
    /// What the waker that waits wakes, if it is one of ours.
    static OURS: Cell<Option<WakeTarget>> = const { Cell::new(None) };
}

/// The tasks in these slots are gone.
const GONE: u32 = 1 << 20;

fn target(slot: u32) -> WakeTarget {
    WakeTarget::new(1, slot, Generation::MAIN)
}

fn is_gone(target: WakeTarget) -> bool {
    target.slot() >= GONE
}

impl Wait {
    /// It waits: it was not woken, and its waker is kept once.
    pub(super) fn check(&self) {
        if let Self::Foreign(wakes) = self {
            assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
            assert_eq!(Arc::strong_count(wakes), 2);
        }
    }
}

/// Wakes what the source gave up, which must be these waits; then no clone of their wakers is left.
pub(super) fn assert_woken(
    waits: impl IntoIterator<Item = Wait>,
    woken: impl IntoIterator<Item = StoredWaker>,
) {
    let (mut slots, mut foreign) = (Vec::new(), 0);
    for waker in woken {
        match waker {
            StoredWaker::Target(WakeTarget::NONE) => {}
            StoredWaker::Target(target) if is_gone(target) => {}
            StoredWaker::Target(target) => slots.push(target.slot()),
            StoredWaker::Foreign(waker) => {
                waker.wake();
                foreign += 1;
            }
        }
    }
    for wait in waits {
        match wait {
            Wait::Ours(slot) => {
                let woken = slots.iter().position(|&woken| woken == slot);
                slots.swap_remove(woken.expect("it is woken"));
            }
            Wait::Foreign(wakes) => {
                assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
                assert_eq!(Arc::strong_count(&wakes), 1);
                foreign -= 1;
            }
        }
    }
    assert_eq!((slots, foreign), (Vec::new(), 0), "nobody else is woken");
}

impl World {
    /// Tries an operation, and waits if it finds nothing; returns what it did unless it waits.
    pub(super) fn poll(&mut self, task: Task, direction: Direction, most: usize) -> Option<Done> {
        if !self.source.is_ready(direction) {
            self.wait(task, direction);
            return None;
        }
        let done = self.kernel.transfer(direction, most);
        match done {
            Done::WouldBlock if self.watch(direction) => {
                self.source.on_would_block(direction);
                self.on_empty(direction);
                self.wait(task, direction);
                return None;
            }
            Done::Moved(moved) => self.on_moved(direction, moved, most),
            Done::WouldBlock | Done::Failed => {}
        }
        Some(done)
    }

    fn on_moved(&mut self, direction: Direction, moved: usize, most: usize) {
        let after = match self.trigger {
            Trigger::Edge => Completion::of_stream(moved, most).after,
            Trigger::Level => Completion::level_reported(()).after,
        };
        self.source.on_completed(direction, after);
        let side = &self.sides[direction as usize];
        let is_known_empty = match (self.trigger, &mut self.credit) {
            (Trigger::Edge, _) => {
                let is_short = 0 < moved && moved < most;
                let may_stop_short = direction == Direction::Read && self.is_marked;
                let may_fail =
                    side.has_error && (!side.may_be_queued || self.source.is_ready(direction));
                is_short && !may_stop_short && !side.is_closed && !may_fail
            }
            (Trigger::Level, None | Some(usize::MAX)) => false,
            (Trigger::Level, Some(credit)) => {
                *credit = credit.saturating_sub(1);
                *credit == 0
            }
        };
        if is_known_empty {
            self.on_empty(direction);
        }
    }

    /// Waits until the direction is ready, without trying.
    pub(super) fn poll_ready(&mut self, task: Task, direction: Direction) {
        if self.watch(direction) && !self.source.is_ready(direction) {
            self.wait(task, direction);
        }
    }

    /// Tries an operation if it may find something, and does not wait.
    pub(super) fn try_once(&mut self, direction: Direction, most: usize) {
        if self.source.is_ready(direction) {
            match self.kernel.transfer(direction, most) {
                Done::Moved(moved) => self.on_moved(direction, moved, most),
                Done::WouldBlock => {
                    self.source.on_would_block(direction);
                    self.on_empty(direction);
                }
                Done::Failed => {}
            }
        }
    }

    /// Many come who are known by their wakers, and end at once if `are_gone`.
    pub(super) fn crowd(&mut self, direction: Direction, are_gone: bool) {
        if !are_gone {
            return (100..120).for_each(|n| self.poll_ready(Task::Anonymous(n), direction));
        }
        if self.watch(direction) && !self.source.is_ready(direction) {
            for _ in 0..40 {
                let waker = StoredWaker::Target(target(GONE + self.next_slot()));
                self.source.wait_anonymously(direction, waker, is_gone);
            }
        }
    }

    /// An operation that is tried runs out of resources.
    pub(super) fn exhaust(&mut self, task: Task) {
        if self.source.is_ready(Direction::Read) {
            self.source.back_off(Direction::Read);
            self.sides[0].is_resting = true;
        }
        self.wait(task, Direction::Read);
    }

    pub(super) fn cancel(&mut self, number: u8, direction: Direction) {
        let waker = self.source.cancel(direction, Ticket(number.into()));
        let wait = self.sides[direction as usize]
            .waits
            .remove(&Task::Ticket(number));
        assert_woken(wait, [waker]);
    }

    fn wait(&mut self, task: Task, direction: Direction) {
        let known = self.sides[direction as usize].waits.remove(&task);
        let wait = match (task, &known) {
            (Task::Anonymous(number), _) if number % 2 == 1 => Wait::Ours(number.into()),
            (Task::Anonymous(_), Some(known)) => known.clone(),
            (Task::Anonymous(_), None) => Wait::Foreign(Arc::default()),
            _ => match self.next_slot() {
                slot if slot % 2 == 1 => Wait::Ours(slot),
                _ => Wait::Foreign(Arc::default()),
            },
        };
        let waker = match &wait {
            Wait::Ours(_) => Waker::noop().clone(),
            Wait::Foreign(wakes) => Arc::clone(wakes).into(),
        };
        OURS.set(match wait {
            Wait::Ours(slot) => Some(target(slot)),
            Wait::Foreign(_) => None,
        });
        let waker = WakerRef {
            waker: &waker,
            target_of: |_| OURS.get(),
        };
        match task {
            Task::Exclusive => {
                let replaced = self.source.wait_exclusively(direction, waker.store());
                assert_woken(known, [replaced]);
            }
            Task::Ticket(number) => {
                let (ticket, waker) = (Ticket(number.into()), waker.store());
                let replaced = self.source.wait_with_ticket(direction, ticket, waker);
                assert_woken(known, [replaced]);
            }
            Task::Anonymous(_) => {
                let waits = self.source.has_anonymous(direction, waker);
                assert_eq!(waits, known.is_some(), "{task:?}");
                if !waits {
                    let waker = waker.store();
                    self.source.wait_anonymously(direction, waker, is_gone);
                }
            }
        }
        self.sides[direction as usize].waits.insert(task, wait);
    }

    fn next_slot(&mut self) -> u32 {
        self.last_slot += 1;
        self.last_slot
    }
}
