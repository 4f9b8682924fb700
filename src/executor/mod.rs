//! The executor: a slab of tasks and a queue of those that are due.
//!
//! Called by `runtime`, which spawns into it and ticks it, and by `waker`, which makes tasks due; calls
//! the tasks' futures and nothing else.
//!
//! # Invariants
//!
//! 1. A slot is in the queue exactly while its task is due, so a task is queued at most once; a slot
//!    that is found in the queue with a task that is not due belongs to an earlier tenant.
//! 2. No borrow of the slab or the queue is held while a future is polled or dropped.
//! 3. A slot gets a new generation with each task; a waker of an old one makes nobody due.
//!
//! # Not here
//!
//! I/O and timers (`reactor`); when to tick and when to wait (`runtime`).

mod budget;
pub(crate) mod join;
pub(crate) mod local;
mod remote;
mod task;
mod waker;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use slab::Slab;

pub(crate) use self::budget::{Budget, DEFAULT as DEFAULT_BUDGET};
use self::join::{Id, Identity, JoinHandle};
use self::remote::{Lease, MAX_SLOTS, Remote};
use self::task::TaskRef;
use self::waker::{Address, Generation};
use crate::sys::event_fd::EventFd;

/// The slot of the future that `block_on` polls; tasks have the slots after it.
const MAIN: u32 = 0;

/// Runs the tasks of one thread in the order in which they became due.
pub(crate) struct Executor {
    remote: Lease,
    state: RefCell<State>,
    budget: Budget,
    ids: Ids,
    main_is_due: Cell<bool>,
    is_closed: Cell<bool>,
    running: Cell<Option<Id>>,
    /// Slots below this one can be marked by other threads.
    reserved: Cell<u32>,
}

#[derive(Default)]
struct State {
    tasks: Slab<Slot>,
    /// The slots of the due tasks, first come first served.
    queue: VecDeque<u32>,
}

/// A task in the slab.
struct Slot {
    task: TaskRef,
    id: Id,
    /// The task is in the queue.
    is_due: bool,
}

/// What the head of the queue asks for.
enum Due {
    Main,
    Task(TaskRef, Identity),
}

impl Executor {
    /// Makes an executor without tasks.
    ///
    /// # Errors
    ///
    /// When too many runtimes are alive in this process.
    pub(crate) fn new(budget_per_poll: u32) -> io::Result<Self> {
        let remote = Lease::new()?;
        remote.reserve(MAIN);
        Ok(Self {
            remote,
            state: RefCell::default(),
            budget: Budget::new(budget_per_poll),
            ids: Ids::default(),
            main_is_due: Cell::new(false),
            is_closed: Cell::new(false),
            running: Cell::new(None),
            reserved: Cell::new(Remote::RESERVED_AT_ONCE),
        })
    }

    /// Gives other threads the bell to ring when this one waits.
    pub(crate) fn hang(&self, bell: EventFd) {
        self.remote.hang(bell);
    }

    pub(crate) fn number(&self) -> u16 {
        self.remote.number()
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The task that is being polled or dropped; none in the main future.
    pub(crate) fn running(&self) -> Option<Id> {
        self.running.get()
    }

    /// The waker of the main future; a new one of each runtime, the same for all its main futures.
    pub(crate) fn main_waker(&self) -> ManuallyDrop<Waker> {
        Address::new(self.number(), MAIN, Generation::of(0)).waker()
    }

    /// Adds a task, due at the end of the queue.
    ///
    /// An executor that is closing refuses: the future is dropped and the handle says `Cancelled`.
    ///
    /// # Panics
    ///
    /// When 16,777,215 tasks are alive.
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        let id = self.ids.next();
        let (task, joinable) = task::new(future);
        if self.is_closed.get() {
            let address = Address::new(self.number(), MAIN, Generation::of(0));
            self.while_running(id, || task.finish());
            return JoinHandle::new(joinable, Identity { id, address });
        }
        let slot = self.insert(task, id);
        let address = self.address(slot, id);
        JoinHandle::new(joinable, Identity { id, address })
    }

    fn insert(&self, task: TaskRef, id: Id) -> u32 {
        let mut state = self.state.borrow_mut();
        let key = state.tasks.vacant_key();
        assert!(
            key < MAX_SLOTS as usize - 1,
            "a runtime holds at most {} tasks",
            MAX_SLOTS - 1
        );
        state.tasks.insert(Slot {
            task,
            id,
            is_due: true,
        });
        let slot = slot_of(key);
        if slot >= self.reserved.get() {
            self.remote.reserve(slot);
            self.reserved
                .set(slot - slot % Remote::RESERVED_AT_ONCE + Remote::RESERVED_AT_ONCE);
        }
        state.queue.push_back(slot);
        slot
    }

    fn address(&self, slot: u32, id: Id) -> Address {
        Address::new(self.number(), slot, Generation::of(id.0.get()))
    }

    /// Makes a task of this executor due, unless it is due already or gone.
    #[inline]
    fn wake(&self, address: Address) {
        self.wake_slot(address.slot(), |tenant| {
            Generation::of(tenant.id.0.get()) == address.generation()
        });
    }

    /// Makes whoever is in `slot` due if it is meant, and not due already.
    #[inline]
    fn wake_slot(&self, slot: u32, is_meant: impl FnOnce(&Slot) -> bool) {
        if slot == MAIN {
            return self.wake_main();
        }
        let state = &mut *self.state.borrow_mut();
        if let Some(tenant) = state.tasks.get_mut(key_of(slot))
            && !tenant.is_due
            && is_meant(tenant)
        {
            tenant.is_due = true;
            state.queue.push_back(slot);
        }
    }

    /// Makes the main future due.
    pub(crate) fn wake_main(&self) {
        if !self.main_is_due.replace(true) {
            self.state.borrow_mut().queue.push_back(MAIN);
        }
    }

    /// Takes the wakes that other threads left; such a mark has no generation, so it may wake a later
    /// tenant of the slot without need.
    #[inline]
    pub(crate) fn take_remote_wakes(&self) {
        if self.remote.take_notified() {
            self.remote.drain(|slot| self.wake_slot(slot, |_| true));
        }
    }

    /// Whether a tick would find something to do.
    pub(crate) fn has_due(&self) -> bool {
        !self.state.borrow().queue.is_empty()
    }

    /// Announces that the thread is about to wait; false if another thread has left a wake.
    pub(crate) fn park(&self) -> bool {
        self.remote.park()
    }

    /// Announces that the thread is awake.
    pub(crate) fn unpark(&self) {
        self.remote.unpark();
    }

    /// Polls up to `polls` due tasks; ends early when none is due or `poll_main` returns true.
    ///
    /// Panics of tasks end in their handles; a panic of `poll_main` goes to the caller.
    pub(crate) fn tick(&self, polls: u32, mut poll_main: impl FnMut() -> bool) {
        for _ in 0..polls {
            let Some(due) = self.next_due() else {
                return;
            };
            self.budget.refill();
            match due {
                Due::Main => {
                    if poll_main() {
                        return;
                    }
                }
                Due::Task(task, identity) => self.run(&task, identity),
            }
        }
    }

    /// Takes the head of the queue.
    fn next_due(&self) -> Option<Due> {
        let state = &mut *self.state.borrow_mut();
        loop {
            let slot = state.queue.pop_front()?;
            if slot == MAIN {
                self.main_is_due.set(false);
                return Some(Due::Main);
            }
            if let Some(tenant) = state.tasks.get_mut(key_of(slot))
                && tenant.is_due
            {
                tenant.is_due = false;
                let id = tenant.id;
                let address = self.address(slot, id);
                return Some(Due::Task(tenant.task.clone(), Identity { id, address }));
            }
        }
    }

    fn run(&self, task: &TaskRef, Identity { id, address }: Identity) {
        let is_finished = self.while_running(id, || task.run(&address.waker()));
        if is_finished {
            let tenant = self.state.borrow_mut().tasks.remove(key_of(address.slot()));
            drop(tenant);
        }
    }

    /// Runs `call` with `id` as the running task.
    fn while_running<R>(&self, id: Id, call: impl FnOnce() -> R) -> R {
        let before = self.running.replace(Some(id));
        let result = call();
        self.running.set(before);
        result
    }

    /// Drops all tasks; from now on spawns are refused.
    ///
    /// Handles say `Cancelled`, or `Panic` if the future's destructor panicked.
    pub(crate) fn close(&self) {
        self.is_closed.set(true);
        let tasks = std::mem::take(&mut self.state.borrow_mut().tasks);
        for (_, Slot { task, id, .. }) in tasks {
            self.while_running(id, || task.finish());
        }
        self.state.borrow_mut().queue.clear();
        self.main_is_due.set(false);
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        f.debug_struct("Executor")
            .field("tasks", &state.tasks.len())
            .field("due", &state.queue.len())
            .finish_non_exhaustive()
    }
}

/// The slab's key for the task in `slot`.
fn key_of(slot: u32) -> usize {
    slot as usize - 1
}

/// The slot of the task under `key`.
fn slot_of(key: usize) -> u32 {
    u32::try_from(key + 1).expect("a slab holds at most `MAX_SLOTS` tasks")
}

/// Hands out task numbers from blocks, so that only one spawn in many touches what threads share.
#[derive(Default)]
struct Ids {
    next: Cell<u64>,
    end: Cell<u64>,
}

impl Ids {
    const BLOCK: u64 = 1 << 16;

    fn next(&self) -> Id {
        static NEXT_BLOCK: AtomicU64 = AtomicU64::new(1);
        if self.next.get() == self.end.get() {
            let first = NEXT_BLOCK.fetch_add(Self::BLOCK, Ordering::Relaxed);
            self.next.set(first);
            self.end.set(first + Self::BLOCK);
        }
        let id = self.next.get();
        self.next.set(id + 1);
        Id(NonZeroU64::new(id).expect("2^64 tasks do not happen"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_task_costs_its_future_and_less_than_64_bytes() {
        const { assert!(task::OVERHEAD < 64) };
        assert_eq!(task::OVERHEAD, 32);
    }

    #[test]
    fn a_slot_takes_three_words_at_most() {
        assert!(size_of::<Slot>() <= 24);
    }
}
