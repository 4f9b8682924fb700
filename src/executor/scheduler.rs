//! Which tasks are due, and which of them runs next: the one place that decides the order.
//!
//! Called by `executor`, which runs what it names, and by `waker` and `join` through `local`.
//!
//! # Order
//!
//! Due tasks wait in two queues, each first come first served: what an event, a timer or another thread woke,
//! and the rest (spawned, yielded, woken by a task). They take turns, so neither starves the other. The main future is in neither: when it is due, it is polled once a tick.
//!
//! # Invariants
//!
//! 1. The task that is being polled is in no queue: a wake of it is noted apart, and queues it afterwards.
//! 2. Each task has another generation than the one before it in its slot, also across the runtimes that have
//!    the same index one after the other; a target of an old one makes no task due.

use std::cell::Cell;

use super::budget::Budget;
use super::task::{Class, Slots, TaskPtr};
use crate::remote::{Generation, MAX_SLOTS, RuntimeId, WakeTarget};

/// The slot of the future that `block_on` polls; tasks have the slots after it.
pub(super) const MAIN: u32 = 0;

/// What happened to a task while it was being polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum During {
    Nothing,
    Woken,
    Aborted,
}

/// What makes tasks due, and says which one is next.
pub(crate) struct Scheduler {
    id: RuntimeId,
    /// What wakes the main future.
    main: WakeTarget,
    slots: Slots<TaskPtr>,
    /// The generation that the last task got.
    generation: Cell<u32>,
    main_is_due: Cell<bool>,
    /// The task that is being polled.
    running: Cell<WakeTarget>,
    /// What happened to the running task since its poll began.
    during: Cell<During>,
    /// The queue for what is woken now.
    class: Cell<Class>,
    budget: Budget,
}

impl Scheduler {
    /// Makes a scheduler whose first task gets the generation after `generation`.
    pub(super) fn new(id: RuntimeId, generation: u32, budget: Budget) -> Self {
        Self {
            id,
            main: WakeTarget::new(id.index(), MAIN, Generation::MAIN),
            slots: Slots::new(),
            generation: Cell::new(generation),
            main_is_due: Cell::new(false),
            running: Cell::new(WakeTarget::NONE),
            during: Cell::new(During::Nothing),
            class: Cell::new(Class::Task),
            budget,
        }
    }

    #[inline]
    pub(crate) fn id(&self) -> RuntimeId {
        self.id
    }

    /// The generation that the last task got.
    pub(super) fn generation(&self) -> u32 {
        self.generation.get()
    }

    #[inline]
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What wakes the main future.
    pub(super) fn main_target(&self) -> WakeTarget {
        self.main
    }

    /// Whether a target names a task of this runtime or one that had its index.
    #[inline]
    pub(crate) fn is_ours(&self, target: WakeTarget) -> bool {
        target.is_of(self.main)
    }

    /// The slot that the next task gets, if one is free.
    #[inline]
    pub(super) fn vacant(&self) -> Option<u32> {
        self.slots.vacant()
    }

    /// Makes more slots; returns the first slot without, or `None` if there are as many as a runtime holds.
    pub(super) fn grow(&self) -> Option<u32> {
        self.slots.grow(MAX_SLOTS).then(|| self.slots.end())
    }

    /// Puts a task into the slot that [`Scheduler::vacant`] named; it is due, behind the others.
    #[inline]
    pub(super) fn insert(&self, task: TaskPtr) {
        let generation = Generation::from_bits(self.generation.get())
            .next()
            .to_bits();
        self.generation.set(generation);
        self.slots.occupy(task, generation);
    }

    /// Wakes a target of this runtime: [`Scheduler::wake`]; false for another's.
    #[inline]
    pub(crate) fn wake_if_ours(&self, target: WakeTarget) -> bool {
        if target == self.running.get() {
            self.on_running_woken();
            return true;
        }
        let is_ours = self.is_ours(target);
        if is_ours {
            self.wake(target);
        }
        is_ours
    }

    /// Makes a task of this runtime due, unless it is due already or gone; the task that is being polled
    /// becomes due when its poll ends.
    #[inline]
    pub(crate) fn wake(&self, target: WakeTarget) {
        if target == self.running.get() {
            self.on_running_woken();
        } else if target.slot() == MAIN {
            self.main_is_due.set(true);
        } else {
            let (slot, generation) = (target.slot(), target.generation().to_bits());
            self.slots.wake(slot, generation, self.class.get());
        }
    }

    #[inline]
    fn on_running_woken(&self) {
        if self.during.get() == During::Nothing {
            self.during.set(During::Woken);
        }
    }

    /// Makes the task in a slot, which was aborted, due to be dropped.
    pub(crate) fn abort(&self, slot: u32) {
        let running = self.running.get();
        if running != WakeTarget::NONE && running.slot() == slot {
            self.during.set(During::Aborted);
        } else {
            self.wake_slot(slot);
        }
    }

    /// Makes whatever task is in a slot due; none is being polled.
    pub(crate) fn wake_slot(&self, slot: u32) {
        if slot == MAIN {
            self.main_is_due.set(true);
        } else {
            self.slots.wake_any(slot, self.class.get());
        }
    }

    /// Whether a target names a task that is alive, or the main future.
    pub(crate) fn is_live(&self, target: WakeTarget) -> bool {
        let (slot, generation) = (target.slot(), target.generation().to_bits());
        slot == MAIN || self.slots.get(slot, generation).is_some()
    }

    /// Runs `call`, whose wakes come from events, timers or other threads.
    #[inline]
    pub(super) fn with_events<R>(&self, call: impl FnOnce() -> R) -> R {
        struct Restore<'a>(&'a Cell<Class>, Class);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }
        let _restore = Restore(&self.class, self.class.replace(Class::Event));
        call()
    }

    /// Whether anything is due.
    #[inline]
    pub(super) fn has_due(&self) -> bool {
        self.main_is_due.get() || !self.slots.is_idle()
    }

    /// Whether the main future was due, which it is no longer.
    #[inline]
    pub(super) fn take_main(&self) -> bool {
        self.main_is_due.replace(false)
    }

    /// Takes the task that runs next; it counts as running from now on.
    #[inline(always)]
    pub(super) fn start_next(&self) -> Option<(u32, WakeTarget, TaskPtr)> {
        let (slot, generation, task) = self.slots.next_due()?;
        let target = self.main.beside(slot, Generation::from_bits(generation));
        self.running.set(target);
        Some((slot, target, task))
    }

    /// Ends the run of a task; returns what happened to it meanwhile.
    #[inline]
    pub(super) fn stop(&self) -> During {
        self.running.set(WakeTarget::NONE);
        self.during.replace(During::Nothing)
    }

    /// Makes a task due that ran and was woken meanwhile.
    #[inline]
    pub(super) fn requeue(&self, slot: u32) {
        self.slots.requeue(slot);
    }

    /// The task that is being polled.
    pub(super) fn running(&self) -> Option<TaskPtr> {
        let running = self.running.get();
        if running == WakeTarget::NONE {
            return None;
        }
        let (slot, generation) = (running.slot(), running.generation().to_bits());
        self.slots.get(slot, generation)
    }

    /// Whether a task is being polled.
    #[inline]
    pub(super) fn is_running(&self) -> bool {
        self.running.get() != WakeTarget::NONE
    }

    /// Frees the slot of a task that has run.
    #[inline]
    pub(super) fn remove(&self, slot: u32) {
        self.slots.remove(slot);
    }

    /// Takes out all tasks but the one that is being polled, and its slot with it.
    pub(super) fn close(&self) -> impl Iterator<Item = TaskPtr> + use<> {
        let running = self.running.get();
        self.main_is_due.set(false);
        let tasks = self.slots.take_all();
        let tasks =
            tasks.filter(move |&(slot, _)| running == WakeTarget::NONE || slot != running.slot());
        tasks.map(|(_, task)| task)
    }

    /// How many tasks there are.
    pub(super) fn tasks(&self) -> u32 {
        self.slots.occupied()
    }

    /// Whether memory is kept for many more tasks than there are.
    pub(super) fn has_excess(&self) -> bool {
        self.slots.has_excess()
    }

    /// Gives some of that memory back.
    pub(super) fn trim(&self) {
        self.slots.trim();
    }

    /// Whether something is due and yet in no queue, among `count` slots from `first`.
    #[cfg(debug_assertions)]
    pub(super) fn has_lost_one(&self, first: u32, count: usize) -> bool {
        self.slots.has_lost_one(first, count)
    }

    /// One past the last slot.
    #[cfg(debug_assertions)]
    pub(super) fn end(&self) -> u32 {
        self.slots.end()
    }
}
