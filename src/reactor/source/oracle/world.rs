//! A source in its world: the reactor, played by its rules (`Reactor::turn`, `Reactor::leave`), and what must always
//! be so.
//!
//! # Invariants
//!
//! Checked after each step:
//!
//! 1. While someone waits for a direction that is ready in the kernel, an event or the end of a rest is still to
//!    come.
//! 2. Nobody waits for a direction that the source takes for ready.
//! 3. A waker is woken by what is meant for it, once, and by nothing else; then, or when it is replaced or its
//!    wait ends, no clone of it is left.
//! 4. A direction is closed when an event has reported the hang-up, and from then on. An error does not close it.
//! 5. A direction is worth trying unless it rests, or is watched and was found empty, or had no event yet.
//! 6. What nobody waits for ends no more than three waits.

use std::collections::BTreeMap;
use std::mem;

use super::Step;
use super::kernel::{Done, Kernel};
use super::tasks::{Task, Wait, assert_woken};
use crate::reactor::source::{Direction, Directions, Source, StoredWaker, Trigger};
use crate::sys::epoll::Flags;

/// How often a task goes on at most when it may.
const PATIENCE: usize = 100;

/// A source, the kernel beneath it, and what is known of it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) source: Source,
    pub(super) kernel: Kernel,
    pub(super) trigger: Trigger,
    is_shared: bool,
    /// By direction.
    pub(super) sides: [Side; 2],
    /// An event has told of urgent data.
    pub(super) is_marked: bool,
    /// How many operations the last event is good for, if there was one; `usize::MAX`: as many as there are.
    pub(super) credit: Option<usize>,
    pub(super) last_slot: u32,
    /// Who was woken, and has not polled since.
    awake: Vec<(Task, Direction)>,
    is_refused: bool,
}

/// What is known of a direction.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) waits: BTreeMap<Task, Wait>,
    pub(super) is_resting: bool,
    pub(super) is_closed: bool,
    /// An error event came, and no operation has found the end since.
    pub(super) has_error: bool,
    /// An operation has found the end since an error event, and events still report an error: it is in the error
    /// queue, it seems. An error that comes then may be told with the next event.
    pub(super) may_be_queued: bool,
    /// Nothing has come since an operation found the end, or since the direction is watched.
    is_empty: bool,
}

impl World {
    pub(super) fn new(trigger: Trigger) -> Self {
        Self {
            source: Source::new(0, -1, trigger),
            kernel: Kernel::default(),
            trigger,
            is_shared: false,
            sides: Default::default(),
            is_marked: false,
            credit: None,
            last_slot: 1000,
            awake: Vec::new(),
            is_refused: false,
        }
    }

    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Kernel(what) => self.kernel.happen(what),
            Step::Turn(waits, is_alone) => drop(self.turn(waits, is_alone)),
            Step::Idle => self.idle(),
            Step::Poll(task, direction, most) => drop(self.poll(task, direction, most)),
            Step::PollReady(task, direction) => self.poll_ready(task, direction),
            Step::Try(direction, most) => self.try_once(direction, most),
            Step::Crowd(direction, are_gone) => self.crowd(direction, are_gone),
            Step::Cancel(number, direction) => self.cancel(number, direction),
            Step::Exhaust(task) => self.exhaust(task),
            Step::Resume => self.resume(),
            Step::Share => self.share(),
            Step::Release => self.release(),
            Step::Refuse => self.is_refused = true,
        }
    }
}

/// The reactor.
impl World {
    /// Takes an event, if there is one.
    fn turn(&mut self, waits: bool, is_alone: bool) -> Option<Flags> {
        let event = self.kernel.wait()?;
        let may_leave = self.is_shared || self.trigger == Trigger::Level;
        assert_eq!(self.source.may_leave(), may_leave);
        if !may_leave {
            self.on_event(event);
            return Some(event);
        }
        let unneeded = self.source.unneeded(event);
        for direction in Direction::EACH {
            let side = &self.sides[direction as usize];
            let may_leave = side.waits.is_empty() || side.is_resting;
            assert!(
                may_leave || !unneeded.contains(direction.into()),
                "{self:?}"
            );
        }
        let wakes = self.on_event(event);
        let credit = (is_alone && waits).then_some(wakes.max(1));
        self.source.set_credit(credit);
        self.credit = Some(credit.unwrap_or(usize::MAX));
        if waits {
            self.leave(unneeded);
        }
        Some(event)
    }

    /// Hands an event to the source; returns how many it woke.
    pub(super) fn on_event(&mut self, event: Flags) -> usize {
        let closed_by = [Flags::HUP.union(Flags::RDHUP), Flags::HUP];
        let told = Direction::EACH.map(|direction| {
            let side = &mut self.sides[direction as usize];
            let is_concerned = concerns(event, direction);
            side.is_closed |= event.intersects(closed_by[direction as usize]);
            let has_error = event.intersects(Flags::ERR);
            side.has_error |= has_error && !side.may_be_queued;
            side.may_be_queued &= has_error;
            side.is_empty &= !is_concerned;
            is_concerned && !side.is_resting
        });
        self.is_marked |= event.intersects(Flags::PRI);
        let mut woken = Vec::new();
        self.source.on_event(event, |waker| woken.push(waker));
        let wakes = woken.len();
        self.tell(told, woken);
        wakes
    }

    fn leave(&mut self, unneeded: Directions) {
        if !unneeded.is_empty() {
            self.set_watched(self.source.watched().without(unneeded));
        }
    }

    /// Watches this direction, too; false if that fails.
    pub(super) fn watch(&mut self, direction: Direction) -> bool {
        if self.source.watches(direction) {
            return true;
        }
        let is_watched = self.set_watched(self.source.watched().union(direction.into()));
        self.sides[direction as usize].is_empty |= is_watched;
        is_watched
    }

    fn set_watched(&mut self, directions: Directions) -> bool {
        if mem::take(&mut self.is_refused) {
            return false;
        }
        self.kernel.control(self.interest(directions));
        self.source.set_watched(directions);
        true
    }

    fn interest(&self, directions: Directions) -> Option<Flags> {
        (!directions.is_empty()).then(|| self.source.interest(directions))
    }

    /// An operation has found the end of what there was.
    pub(super) fn on_empty(&mut self, direction: Direction) {
        if self.source.watches(direction) {
            let side = &mut self.sides[direction as usize];
            side.is_empty = true;
            if mem::take(&mut side.has_error) {
                self.sides
                    .iter_mut()
                    .for_each(|side| side.may_be_queued = true);
            }
        }
    }

    /// Waits, if nobody waits for what does not rest.
    fn idle(&mut self) {
        let is_idle = |side: &Side| side.waits.is_empty() || side.is_resting;
        if self.sides.iter().all(is_idle) {
            for _ in 0..3 {
                self.turn(true, true);
            }
            assert_eq!(
                self.turn(true, true),
                None,
                "the loop cannot wait: {self:?}"
            );
        }
    }

    fn resume(&mut self) {
        let side = &mut self.sides[0];
        if mem::take(&mut side.is_resting) {
            side.is_empty = false;
            let mut woken = Vec::new();
            self.source
                .resume(Direction::Read, |waker| woken.push(waker));
            self.tell([true, false], woken);
        }
    }

    fn share(&mut self) {
        self.source.set_shared(7);
        self.is_shared = true;
        assert_eq!(self.source.runtimes(), Some(7));
    }

    fn release(&mut self) {
        let mut woken = Vec::new();
        self.source.take_waiters(|waker| woken.push(waker));
        self.tell([true; 2], woken);
        *self = Self::new(self.trigger);
    }

    /// Wakes what the source gave up, which must be all who wait for these directions.
    fn tell(&mut self, directions: [bool; 2], woken: Vec<StoredWaker>) {
        let mut expected = Vec::new();
        for direction in Direction::EACH {
            if directions[direction as usize] {
                for (task, wait) in mem::take(&mut self.sides[direction as usize].waits) {
                    self.awake.push((task, direction));
                    expected.push(wait);
                }
            }
        }
        assert_woken(expected, woken);
    }
}

fn concerns(event: Flags, direction: Direction) -> bool {
    let both = Flags::HUP.union(Flags::ERR);
    event.intersects(match direction {
        Direction::Read => both.union(Flags::IN).union(Flags::PRI).union(Flags::RDHUP),
        Direction::Write => both.union(Flags::OUT),
    })
}

/// The checks.
impl World {
    pub(super) fn check(&self) {
        for direction in Direction::EACH {
            let side = &self.sides[direction as usize];
            let is_ready = self.kernel.is_ready(direction, !side.may_be_queued);
            let will_be_told = self.kernel.will_tell(direction) || side.is_resting;
            assert!(
                side.waits.is_empty() || !is_ready || will_be_told,
                "{direction:?} is ready, and nobody will tell who waits: {self:?}"
            );
            let is_watched = self.source.watches(direction);
            assert_eq!(self.source.is_closed(direction), side.is_closed, "{self:?}");
            let is_empty = is_watched && side.is_empty;
            // Before its first event, a listener may have no credit.
            if self.trigger == Trigger::Edge || self.credit.is_some() || is_empty {
                let is_worth_trying = !side.is_resting && !is_empty;
                let is_ready = self.source.is_ready(direction);
                assert_eq!(is_ready, is_worth_trying, "{direction:?}: {self:?}");
            }
            side.waits.values().for_each(Wait::check);
        }
        let interest = self.interest(self.source.watched());
        assert!(self.kernel.watches_for(interest), "{self:?}");
        assert!(!self.source.has_lost_a_wake(), "{self:?}");
    }

    /// Lets everything happen that is to come, and the tasks go on as far as they can. Then all is read.
    pub(super) fn finish(&mut self) {
        self.is_refused = false;
        self.awake.push((Task::Exclusive, Direction::Read));
        if self.trigger == Trigger::Edge {
            self.awake.push((Task::Exclusive, Direction::Write));
        }
        for _ in 0..PATIENCE {
            self.resume();
            let awake = mem::take(&mut self.awake);
            let is_quiet = awake.is_empty() && !self.sides[0].is_resting;
            for (task, direction) in awake {
                self.go_on(task, direction);
            }
            if self.turn(true, true).is_none() && is_quiet && self.awake.is_empty() {
                assert_eq!(self.kernel.unread(), 0, "{self:?}");
                return self.release();
            }
            self.check();
        }
        panic!("it goes on and on: {self:?}");
    }

    /// Moves what can be moved.
    fn go_on(&mut self, task: Task, direction: Direction) {
        for _ in 0..PATIENCE {
            let most = if self.trigger == Trigger::Level { 1 } else { 4 };
            match self.poll(task, direction, most) {
                Some(Done::Moved(1..)) => {}
                Some(Done::Failed) if direction == Direction::Read => {}
                _ => return,
            }
        }
        panic!("{task:?} never waits: {self:?}");
    }
}
