//! The executor: a slab of tasks and a queue of those that are due.
//!
//! Called by `runtime`, which spawns into it and ticks it, and by `waker`, which makes tasks due; calls
//! the tasks' futures and nothing else.
//!
//! # Invariants
//!
//! 1. A task is marked due while its slot is in the queue and while it is being polled, so it is queued
//!    at most once; a wake of the task that is being polled is noted apart, and queues it afterwards. A
//!    slot that is found in the queue with a task that is not due belongs to an earlier tenant.
//! 2. No borrow of the slab or the queue is held while a future is polled or dropped.
//! 3. A slot gets a new generation with each task; a waker of an old one makes nobody due.
//!
//! # Not here
//!
//! I/O and timers (`reactor`); when to tick and when to wait (`runtime`).

mod budget;
pub(crate) mod join;
pub(crate) mod local;
mod queue;
mod task;
pub(crate) mod waker;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use slab::Slab;

pub(crate) use self::budget::{Budget, DEFAULT as DEFAULT_BUDGET};
use self::join::{Id, Identity, JoinHandle};
use self::queue::Queue;
use self::task::{Payload, TaskRef};
use crate::remote::{Generation, MAX_SLOTS, RegistryEntry, Remote, RuntimeId, WakeTarget};

/// The slot of the future that `block_on` polls; tasks have the slots after it.
const MAIN: u32 = 0;

/// Runs the tasks of one thread in the order in which they became due.
pub(crate) struct Executor {
    id: RuntimeId,
    remote: &'static Remote,
    state: RefCell<State>,
    budget: Budget,
    ids: Ids,
    main_is_due: Cell<bool>,
    is_closed: Cell<bool>,
    /// The task that is being polled.
    running: Cell<WakeTarget>,
    /// The running task was woken since its poll began.
    is_rewoken: Cell<bool>,
    /// The task whose future or output is being dropped.
    dropped: Cell<Option<Id>>,
    /// Slots below this one can be marked by other threads.
    reserved: Cell<u32>,
}

struct State {
    tasks: Slab<Slot>,
    /// The slots of the due tasks, first come first served.
    queue: Queue,
}

/// A task in the slab: two words, and the slab adds none.
struct Slot {
    task: TaskRef,
    id: Id,
}

/// After as many polls that use up their budget a tick ends, so that a turn of the reactor does not wait
/// long for flooded connections.
const FULL_POLLS: i64 = 4;

/// What a tick has left.
struct Allowance {
    polls: u32,
    /// Of the budget.
    units: i64,
}

impl Slot {
    #[inline]
    fn generation(&self) -> Generation {
        Generation::new(self.id.0.get())
    }
}

impl Executor {
    /// Makes an executor without tasks.
    pub(crate) fn new(entry: &RegistryEntry, budget_per_poll: u32) -> Self {
        let remote = entry.remote();
        remote.reserve(MAIN);
        Self {
            id: entry.id(),
            remote,
            state: RefCell::new(State {
                tasks: Slab::new(),
                queue: Queue::new(),
            }),
            budget: Budget::new(budget_per_poll),
            ids: Ids::default(),
            main_is_due: Cell::new(false),
            is_closed: Cell::new(false),
            running: Cell::new(WakeTarget::NONE),
            is_rewoken: Cell::new(false),
            dropped: Cell::new(None),
            reserved: Cell::new(Remote::RESERVED_AT_ONCE),
        }
    }

    #[inline]
    pub(crate) fn id(&self) -> RuntimeId {
        self.id
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The task that is being polled or dropped; none in the main future.
    pub(crate) fn running(&self) -> Option<Id> {
        let polled = self.running.get();
        if polled != WakeTarget::NONE {
            let state = self.state.borrow();
            return Some(state.tasks.get(key_of(polled.slot()))?.id);
        }
        self.dropped.get()
    }

    /// Whether a task is being polled.
    pub(crate) fn is_polling(&self) -> bool {
        self.running.get() != WakeTarget::NONE
    }

    /// The waker of the main future: the same for all that one runtime ever runs.
    pub(crate) fn main_waker(&self) -> ManuallyDrop<Waker> {
        waker::waker(WakeTarget::new(self.id.index(), MAIN, Generation::MAIN))
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
            self.finish(&task, id, None);
            let (slot, runtime) = (MAIN, None);
            return JoinHandle::new(joinable, Identity { id, slot, runtime });
        }
        let (slot, runtime) = (self.insert(task, id), Some(self.id));
        JoinHandle::new(joinable, Identity { id, slot, runtime })
    }

    #[inline(always)]
    fn insert(&self, task: TaskRef, id: Id) -> u32 {
        let mut state = self.state.borrow_mut();
        let entry = state.tasks.vacant_entry();
        let Some(slot) = slot_of(entry.key()) else {
            drop(state);
            self.overflow(&task, id);
        };
        entry.insert(Slot { task, id });
        state.queue.push(slot);
        if slot >= self.reserved.get() {
            self.reserve(slot);
        }
        slot
    }

    #[cold]
    fn overflow(&self, task: &TaskRef, id: Id) -> ! {
        self.finish(task, id, None);
        panic!("a runtime holds at most {} tasks", MAX_SLOTS - 1);
    }

    /// Makes room for other threads' wakes of a slot and its neighbours.
    #[cold]
    fn reserve(&self, slot: u32) {
        self.remote.reserve(slot);
        let first = slot - slot % Remote::RESERVED_AT_ONCE;
        self.reserved.set(first + Remote::RESERVED_AT_ONCE);
    }

    #[inline]
    fn target(&self, slot: u32, generation: Generation) -> WakeTarget {
        WakeTarget::new(self.id.index(), slot, generation)
    }

    /// Makes a task of this executor due, unless it is due already or gone; the task that is being polled
    /// becomes due when its poll ends.
    #[inline]
    pub(crate) fn wake(&self, target: WakeTarget) {
        if target == self.running.get() {
            self.is_rewoken.set(true);
        } else {
            self.wake_other(target);
        }
    }

    /// Whether a target of this runtime names a task that has not ended.
    pub(crate) fn is_live(&self, target: WakeTarget) -> bool {
        if target.slot() == MAIN {
            return true;
        }
        let state = self.state.borrow();
        let task = state.tasks.get(key_of(target.slot()));
        task.is_some_and(|task| task.generation() == target.generation())
    }

    #[inline]
    fn wake_other(&self, target: WakeTarget) {
        self.wake_slot(target.slot(), |tenant| {
            tenant.generation() == target.generation()
        });
    }

    /// Makes whoever is in `slot` due if it is meant, and not due already.
    #[inline]
    fn wake_slot(&self, slot: u32, is_meant: impl FnOnce(&Slot) -> bool) {
        if slot == MAIN {
            return self.wake_main();
        }
        let state = &mut *self.state.borrow_mut();
        if let Some(tenant) = state.tasks.get(key_of(slot))
            && is_meant(tenant)
            && !tenant.task.is_due()
        {
            tenant.task.set_due(true);
            state.queue.push(slot);
        }
    }

    /// Makes the main future due.
    pub(crate) fn wake_main(&self) {
        if !self.main_is_due.replace(true) {
            self.state.borrow_mut().queue.push(MAIN);
        }
    }

    /// Takes the wakes that other threads left; such a mark has no generation, so it may wake a later
    /// tenant of the slot without need.
    pub(crate) fn take_remote_wakes(&self) {
        self.remote
            .drain_woken(|slot| self.wake_slot(slot, |_| true));
    }

    /// Whether a tick would find something to do.
    pub(crate) fn has_due(&self) -> bool {
        !self.state.borrow().queue.is_empty()
    }

    /// Whether somebody is due and would wait for ever, now that the thread is parked.
    #[cfg(debug_assertions)]
    pub(crate) fn has_lost_a_wake(&self) -> bool {
        let state = self.state.borrow();
        let is_due = |(_, tenant): (usize, &Slot)| tenant.task.is_due();
        !state.queue.is_empty()
            || self.main_is_due.get()
            || state.tasks.iter().any(is_due)
            || self.remote.has_lost_a_wake()
    }

    /// Polls up to `polls` due tasks; ends early when none is due, when the tasks have consumed as much as
    /// [`FULL_POLLS`] may (a poll that panics counts as a poll only), or when `poll_main` returns true.
    ///
    /// Panics of tasks end in their handles; a panic of `poll_main` goes to the caller.
    pub(crate) fn tick(&self, polls: u32, mut poll_main: impl FnMut() -> bool) {
        let units = self.budget.per_poll() * FULL_POLLS;
        let mut left = Allowance { polls, units };
        // Caught here rather than around each poll, which would cost every poll.
        while let Err(payload) = catch_unwind(AssertUnwindSafe(|| {
            self.poll_due(&mut left, &mut poll_main);
        })) {
            self.fail_running(payload);
        }
    }

    #[inline(never)]
    fn poll_due(&self, left: &mut Allowance, poll_main: &mut impl FnMut() -> bool) {
        while left.polls > 0 && left.units > 0 {
            left.polls -= 1;
            let Some((slot, task)) = self.next_due() else {
                return;
            };
            self.budget.refill();
            if let Some((task, generation)) = task {
                self.run(slot, &task, generation);
            } else if poll_main() {
                return;
            }
            left.units -= self.budget.consumed();
        }
    }

    /// Takes the head of the queue: a task with its slot and generation, or the main future.
    #[inline]
    fn next_due(&self) -> Option<(u32, Option<(TaskRef, Generation)>)> {
        let state = &mut *self.state.borrow_mut();
        loop {
            let slot = state.queue.pop()?;
            if slot == MAIN {
                self.main_is_due.set(false);
                return Some((slot, None));
            }
            if let Some(tenant) = state.tasks.get(key_of(slot))
                && tenant.task.is_due()
            {
                return Some((slot, Some((tenant.task.clone(), tenant.generation()))));
            }
        }
    }

    /// Polls a task that was due, or drops it if it was aborted.
    #[inline(always)]
    fn run(&self, slot: u32, task: &TaskRef, generation: Generation) {
        let target = self.target(slot, generation);
        self.running.set(target);
        let is_done = task.is_aborted() || task.poll(&waker::waker(target)).is_ready();
        self.running.set(WakeTarget::NONE);
        let is_rewoken = self.is_rewoken.replace(false);
        if is_done || (is_rewoken && task.is_aborted()) {
            self.retire(slot, task);
        } else if is_rewoken {
            self.state.borrow_mut().queue.push(slot);
        } else {
            task.set_due(false);
        }
    }

    /// Ends a task and lets go of it.
    fn retire(&self, slot: u32, task: &TaskRef) {
        let tenant = self.state.borrow_mut().tasks.remove(key_of(slot));
        self.finish(task, tenant.id, None);
    }

    /// Gives the panic that ended a poll to the task's handle, or to the caller if it was the main
    /// future's.
    #[cold]
    fn fail_running(&self, payload: Payload) {
        let target = self.running.replace(WakeTarget::NONE);
        self.is_rewoken.set(false);
        if target == WakeTarget::NONE {
            resume_unwind(payload);
        }
        let key = key_of(target.slot());
        let tenant = self.state.borrow_mut().tasks.remove(key);
        self.finish(&tenant.task, tenant.id, Some(payload));
    }

    /// Ends a task that no slot holds any more, and whose poll may have panicked.
    #[inline]
    fn finish(&self, task: &TaskRef, id: Id, panic: Option<Payload>) {
        let before = self.dropped.replace(Some(id));
        task.finish(panic);
        self.dropped.set(before);
    }

    /// Drops all tasks; from now on spawns are refused.
    ///
    /// Handles say `Cancelled`, or `Panic` if the future's destructor panicked.
    pub(crate) fn close(&self) {
        self.is_closed.set(true);
        let tasks = std::mem::take(&mut self.state.borrow_mut().tasks);
        let running = self.running.get();
        for (key, tenant) in tasks {
            if slot_of(key) == Some(running.slot()) && tenant.generation() == running.generation() {
                // Its poll called `exit`, which drops thread-locals, a runtime among them.
                std::mem::forget(tenant);
                continue;
            }
            self.budget.refill();
            self.finish(&tenant.task, tenant.id, None);
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

/// The slot of the task under `key`, if there are as many.
#[inline]
fn slot_of(key: usize) -> Option<u32> {
    let slot = u32::try_from(key).ok()? + 1;
    (slot < MAX_SLOTS).then_some(slot)
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
        Id::new(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_task_costs_its_future_and_less_than_64_bytes() {
        const { assert!(task::OVERHEAD < 64) };
        assert_eq!(task::OVERHEAD, 24);
    }

    #[test]
    fn a_slot_takes_two_words() {
        assert_eq!(size_of::<Slot>(), 16);
    }
}
