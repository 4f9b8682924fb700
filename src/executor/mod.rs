//! The executor: a table of tasks, and what is due of them.
//!
//! Called by `runtime`, which spawns into it and ticks it; calls the tasks' futures and nothing else.
//!
//! | file | holds |
//! |---|---|
//! | `scheduler` | which task runs next; where a wake makes one due |
//! | `task` | one task's memory and states; `task::slots`: the table of all, and the queues through it |
//! | `tick`, `budget` | how long a tick lasts, and a poll |
//! | `waker`, `local` | how a waker finds the scheduler |
//! | `join` | the handles that users have |
//!
//! # Invariants
//!
//! 1. Only [`Executor::retire`], [`Executor::fail_running`] and [`Executor::close`] take a task out of its slot, and
//!    the last one leaves out the task that is being polled; so a poll needs no count of references.
//! 2. No borrow is held while a future is polled or dropped.
//!
//! # Not here
//!
//! I/O and timers (`reactor`); other threads' wakes (`remote`); when to tick and when to wait (`runtime`).

mod budget;
pub(crate) mod id;
pub(crate) mod join;
pub(crate) mod local;
mod scheduler;
mod task;
mod tick;
pub(crate) mod waker;

use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;

pub(crate) use self::budget::{Budget, DEFAULT as DEFAULT_BUDGET};
use self::id::{Id, Ids};
use self::join::JoinHandle;
use self::scheduler::{During, MAIN, Scheduler};
use self::task::{Joiner, Payload, Pool, Settled, TaskPtr};
use self::tick::TickLimits;
use crate::clock;
use crate::quiet::quietly;
use crate::remote::{MAX_SLOTS, RegistryEntry, Remote, WakeTarget};

/// How long memory must be unused before it is given back, in nanoseconds.
const KEPT_FOR: u64 = 100_000_000;

/// How many slots the check before a wait looks at.
#[cfg(debug_assertions)]
const CHECKED: usize = if cfg!(runtime_full_checks) {
    usize::MAX
} else {
    16
};

/// How much an executor does at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Units of the budget.
    pub(crate) units_per_poll: u32,
    pub(crate) polls_per_tick: u32,
    /// Nanoseconds.
    pub(crate) time_slice: u64,
}

/// Runs the tasks of one thread.
pub(crate) struct Executor {
    scheduler: Scheduler,
    limits: TickLimits,
    ids: Ids,
    pool: Pool,
    remote: &'static Remote,
    is_closed: Cell<bool>,
    /// The task whose future or output is being dropped.
    dropped: Cell<Option<Id>>,
    /// Slots below this one can be marked by other threads.
    reserved: Cell<u32>,
    /// Since when memory has been unused, or when it was last given back as far as it could be.
    unused_since: Cell<Option<u64>>,
    /// Where the next check for a lost wake begins.
    #[cfg(debug_assertions)]
    checked: Cell<u32>,
}

impl Executor {
    /// Makes an executor without tasks.
    pub(crate) fn new(entry: &RegistryEntry, limits: Limits) -> Self {
        let remote = entry.remote();
        remote.reserve(MAIN);
        let budget = Budget::new(limits.units_per_poll);
        Self {
            scheduler: Scheduler::new(entry.id(), remote.generation(), budget),
            limits: TickLimits::new(limits.polls_per_tick, limits.time_slice),
            ids: Ids::default(),
            pool: Pool::new(entry.id()),
            remote,
            is_closed: Cell::new(false),
            dropped: Cell::new(None),
            reserved: Cell::new(Remote::RESERVED_AT_ONCE),
            unused_since: Cell::new(None),
            #[cfg(debug_assertions)]
            checked: Cell::new(0),
        }
    }

    #[inline]
    pub(crate) fn budget(&self) -> &Budget {
        self.scheduler.budget()
    }

    /// Makes this executor current while `call` runs.
    pub(crate) fn enter<R>(&self, call: impl FnOnce() -> R) -> R {
        local::enter(&self.scheduler, call)
    }

    /// The task that is being polled or dropped; none in the main future.
    pub(crate) fn running(&self) -> Option<Id> {
        if self.scheduler.is_running() {
            return self.scheduler.running().map(TaskPtr::id);
        }
        self.dropped.get()
    }

    /// Whether a task is being polled.
    pub(crate) fn is_polling(&self) -> bool {
        self.scheduler.is_running()
    }

    /// Whether the task that is being polled has had its share.
    pub(crate) fn should_yield(&self) -> bool {
        !self.budget().is_left() || self.limits.should_end()
    }

    /// The waker of the main future: the same for all that one runtime ever runs.
    pub(crate) fn main_waker(&self) -> ManuallyDrop<Waker> {
        waker::waker(self.scheduler.main_target())
    }

    /// Adds a task, due behind the other tasks.
    ///
    /// An executor that is closing refuses: the future is dropped and the handle says `Cancelled`.
    ///
    /// # Panics
    ///
    /// When 16,777,215 tasks are alive.
    #[inline]
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        let Some(slot) = self.scheduler.vacant().or_else(|| self.make_room()) else {
            return self.refuse(future);
        };
        let (task, joinable) = task::new(&self.pool, future, self.ids.next(), slot);
        self.scheduler.insert(task);
        JoinHandle::new(joinable)
    }

    /// Makes slots for more tasks, and lets other threads wake them; `None` if there shall be no more.
    ///
    /// Rare things hide behind an empty list of free slots, so that a spawn asks for one thing only.
    #[cold]
    #[inline(never)]
    fn make_room(&self) -> Option<u32> {
        if self.is_closed.get() {
            return None;
        }
        let end = self.scheduler.grow()?;
        while self.reserved.get() < end {
            self.remote.reserve(self.reserved.get());
            self.reserved
                .set(self.reserved.get() + Remote::RESERVED_AT_ONCE);
        }
        self.scheduler.vacant()
    }

    /// Cancels a task that has no slot.
    #[cold]
    fn refuse<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        let (task, joinable) = task::new(&self.pool, future, self.ids.next(), MAIN);
        self.finish(task, None);
        assert!(
            self.is_closed.get(),
            "a runtime holds at most {} tasks",
            MAX_SLOTS - 1
        );
        JoinHandle::new(joinable)
    }

    /// Makes the task or main future that a target names due, here or in another runtime; if it is gone, nothing
    /// happens.
    #[inline]
    pub(crate) fn wake(&self, target: WakeTarget) {
        if self.scheduler.is_ours(target) {
            self.scheduler.wake(target);
        } else {
            waker::wake_elsewhere(target);
        }
    }

    /// Runs `call`: whatever it wakes, an event or a timer has woken, which takes turns with what tasks wake.
    #[inline]
    pub(crate) fn with_events<R>(&self, call: impl FnOnce() -> R) -> R {
        self.scheduler.with_events(call)
    }

    /// Makes the main future due.
    pub(crate) fn wake_main(&self) {
        self.scheduler.wake_slot(MAIN);
    }

    /// Takes the wakes that other threads left; such a mark has no generation, so it may wake a later
    /// task of the slot without need.
    pub(crate) fn take_remote_wakes(&self) {
        self.with_events(|| {
            self.remote
                .drain_woken(|slot| self.scheduler.wake_slot(slot));
        });
    }

    /// Whether a tick would find something to do.
    #[inline]
    pub(crate) fn has_due(&self) -> bool {
        self.scheduler.has_due()
    }

    /// Whether a due task would not be polled, now that the thread is parked. Checks a few tasks each
    /// time, or all of them with `--cfg runtime_full_checks`.
    #[cfg(debug_assertions)]
    pub(crate) fn has_lost_a_wake(&self) -> bool {
        let first = self.checked.get();
        let next = first.saturating_add(u32::try_from(CHECKED).unwrap_or(u32::MAX));
        self.checked
            .set(if next < self.scheduler.end() { next } else { 0 });
        self.has_due()
            || self.scheduler.has_lost_one(first, CHECKED)
            || self.remote.has_lost_a_wake()
    }

    /// Notes that the reactor is turned now, and whether the thread waits there.
    #[inline]
    pub(crate) fn on_turn(&self, waits: bool) {
        self.limits.on_turn(waits);
    }

    /// Whether the reactor was turned so recently that the next tick may begin at once.
    #[inline]
    pub(crate) fn may_go_on(&self) -> bool {
        self.limits.is_turn_recent() && self.has_due()
    }

    /// Gives memory back that has not been used for a while; true if some may be given back later, and so reason to
    /// ask again after [`KEPT_FOR`] for this alone.
    pub(crate) fn trim(&self) -> bool {
        if !self.has_excess() {
            self.unused_since.set(None);
            return false;
        }
        let now = clock::now_ns();
        let since = self.unused_since.get().unwrap_or(now);
        let is_early = now - since < KEPT_FOR;
        if !is_early {
            self.pool.trim();
            self.scheduler.trim();
        }
        self.unused_since
            .set(Some(if is_early { since } else { now }));
        is_early
    }

    fn has_excess(&self) -> bool {
        self.scheduler.has_excess() || self.pool.has_excess()
    }

    /// Polls what is due: the main future once, first, and tasks until none is due or the tick has had its polls,
    /// its budget or its time; the main future again where no task is due. Ends early when `poll_main` returns true.
    ///
    /// Panics of tasks end in their handles; a panic of `poll_main` goes to the caller.
    pub(crate) fn tick(&self, mut poll_main: impl FnMut() -> bool) {
        self.limits.begin(self.budget().per_poll());
        self.budget().refill();
        let mut main_first = true;
        // Caught here rather than around each poll, which would cost every poll.
        while let Err(payload) = catch_unwind(AssertUnwindSafe(|| {
            if std::mem::take(&mut main_first) && self.run_main(&mut poll_main) == Some(true) {
                return;
            }
            self.poll_due(&mut poll_main);
        })) {
            self.fail_running(payload);
        }
    }

    #[inline(never)]
    fn poll_due(&self, poll_main: &mut impl FnMut() -> bool) {
        while self.limits.take_poll() {
            if let Some((slot, target, task)) = self.scheduler.start_next() {
                self.run(slot, target, task);
            } else if self.run_main(poll_main) != Some(false) {
                return;
            }
        }
    }

    /// Polls the main future if it is due: whether it is done.
    #[inline]
    fn run_main(&self, poll_main: &mut impl FnMut() -> bool) -> Option<bool> {
        if !self.scheduler.take_main() {
            return None;
        }
        let is_done = poll_main();
        self.settle_budget();
        Some(is_done)
    }

    /// Polls a task that was due, or drops it if it was aborted.
    #[inline(always)]
    fn run(&self, slot: u32, target: WakeTarget, task: TaskPtr) {
        let is_done = task.is_aborted() || task.poll(&waker::waker(target)).is_ready();
        let during = self.scheduler.stop();
        if is_done || during == During::Aborted {
            self.retire(slot, task);
        } else if during == During::Woken {
            self.scheduler.requeue(slot);
        }
        self.settle_budget();
    }

    /// Charges the tick for what the last poll consumed, and gives the next one its full share.
    #[inline]
    fn settle_budget(&self) {
        if let Some(consumed) = self.budget().settle() {
            self.limits.charge(consumed);
        }
    }

    /// Ends a task and lets go of it.
    #[inline(always)]
    fn retire(&self, slot: u32, task: TaskPtr) {
        self.scheduler.remove(slot);
        match task.settle() {
            Settled::Kept => task.release(),
            Settled::Awaited(target) => {
                self.wake(target);
                task.release();
            }
            Settled::Unfinished => self.finish(task, None),
        }
    }

    /// Gives the panic that ended a poll to the task's handle, or to the caller if it was the main
    /// future's.
    #[cold]
    fn fail_running(&self, payload: Payload) {
        let running = self.scheduler.running();
        self.scheduler.stop();
        self.budget().refill();
        let Some(task) = running else {
            resume_unwind(payload);
        };
        self.scheduler.remove(task.slot());
        self.finish(task, Some(payload));
    }

    /// Ends a task that no slot holds any more, and whose poll may have panicked, and lets go of it.
    #[inline(never)]
    fn finish(&self, task: TaskPtr, panic: Option<Payload>) {
        let before = self.dropped.replace(Some(task.id()));
        let joiner = task.finish(panic);
        self.dropped.set(before);
        match joiner {
            Some(Joiner::Ours(target)) => self.wake(target),
            Some(Joiner::Foreign(waker)) => quietly(|| waker.wake()),
            None => {}
        }
        task.release();
    }

    /// Drops all tasks; from now on spawns are refused.
    ///
    /// Handles say `Cancelled`, or `Panic` if the future's destructor panicked. The task that is being polled is
    /// left out, and its memory: its poll called `exit`, which drops thread-locals, a runtime among them.
    pub(crate) fn close(&self) {
        self.is_closed.set(true);
        self.remote.set_generation(self.scheduler.generation());
        for task in self.scheduler.close() {
            self.budget().refill();
            self.finish(task, None);
        }
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("tasks", &self.scheduler.tasks())
            .field("has_due", &self.has_due())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::task::Poll;

    #[test]
    fn an_idle_task_costs_its_future_and_less_than_64_bytes() {
        assert_eq!(task::OVERHEAD, 32);
        assert_eq!(size_of::<JoinHandle<[u64; 10]>>(), size_of::<usize>());
        assert_eq!(size_of::<Option<JoinHandle<()>>>(), size_of::<usize>());
    }

    #[test]
    fn a_target_is_live_until_its_task_ends_and_not_for_the_next_task_of_the_slot() {
        let entry = RegistryEntry::new().expect("there are indices left");
        let limits = Limits {
            units_per_poll: 1,
            polls_per_tick: 1,
            time_slice: u64::MAX,
        };
        let executor = Executor::new(&entry, limits);
        let target = Rc::new(Cell::new(None));
        let spawn = || {
            let target = Rc::clone(&target);
            executor.spawn(poll_fn(move |cx| {
                target.set(waker::target_of(cx.waker()));
                Poll::<()>::Pending
            }))
        };
        let polled = || {
            executor.tick(|| true);
            target.take().expect("a task was polled")
        };
        executor.enter(|| {
            let task = spawn();
            let first = polled();
            assert!(
                executor.scheduler.is_live(first)
                    && executor.scheduler.is_live(executor.scheduler.main_target())
            );
            executor.wake(first);
            assert!(executor.scheduler.is_live(first), "also while it is due");
            task.abort();
            executor.tick(|| true);
            assert!(task.is_finished() && !executor.scheduler.is_live(first));
            let _task = spawn();
            let second = polled();
            assert_eq!(second.slot(), first.slot());
            assert!(executor.scheduler.is_live(second) && !executor.scheduler.is_live(first));
            executor.wake(first);
            assert!(!executor.has_due());
            executor.close();
            assert!(!executor.scheduler.is_live(second));
        });
    }

    #[test]
    fn memory_that_is_unused_soon_after_some_was_given_back_is_waited_for_as_well() {
        let entry = RegistryEntry::new().expect("there are indices left");
        let limits = Limits {
            units_per_poll: 1,
            polls_per_tick: 1000,
            time_slice: u64::MAX,
        };
        let executor = Executor::new(&entry, limits);
        let burst = || {
            for _ in 0..10_000 {
                executor.spawn(std::future::ready(()));
            }
            while executor.has_due() {
                executor.tick(|| true);
            }
            assert!(executor.has_excess());
        };
        executor.enter(|| {
            burst();
            while executor.has_excess() {
                executor.trim();
            }
            burst();
            // Unless the burst took so long that it was given back at once.
            assert!(executor.trim() || !executor.has_excess());
            executor.close();
        });
    }

    #[test]
    fn a_slot_takes_two_words() {
        assert_eq!(task::SLOT_SIZE, 16);
    }
}
