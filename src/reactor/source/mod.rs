//! One descriptor's readiness and waiters: a state machine without system calls.
//!
//! Called by `reactor`, which feeds it events and the outcomes of operations.
//!
//! # Invariants
//!
//! 1. Readiness is set by an event and cleared by the operation that saw it end; no event can come
//!    between that operation and the clearing, because events are only fetched between polls.
//! 2. A direction that epoll does not watch counts as ready: the operation is simply tried.
//! 3. A short read says nothing once the peer has hung up (the hang-up may have come with the data, as one
//!    event), nor once urgent data has come (reads stop at its mark). After an error event it says nothing until
//!    an operation has found the end: it may be the operation that returns the error. Then only `EAGAIN` clears
//!    readiness.
//! 4. No waker is cloned, woken or dropped here while it could re-enter: they go in and out by value.

mod completion;
mod level;
#[cfg(test)]
mod oracle;
mod waiters;

use std::os::fd::RawFd;

pub(crate) use self::completion::{After, Completion};
use self::level::Credit;
pub(crate) use self::level::Trigger;
use self::waiters::WaitList;
pub(crate) use self::waiters::{StoredWaker, Ticket, TicketSlot, TicketedWait, Waiter, WakerRef};
use crate::remote::WakeTarget;
pub(crate) use crate::sys::direction::{Direction, Directions};
use crate::sys::epoll::Flags;

/// Both directions have gone.
const HUNG_UP: Flags = Flags::HUP;
/// What ends reading.
const READ_CLOSED: Flags = HUNG_UP.union(Flags::RDHUP);
/// What says more than that something can be read or written.
const RARE: Flags = READ_CLOSED.union(Flags::ERR).union(Flags::PRI);
/// What lets a read go on.
const READABLE: Flags = READ_CLOSED
    .union(Flags::ERR)
    .union(Flags::IN)
    .union(Flags::PRI);
/// What lets a write go on.
const WRITABLE: Flags = HUNG_UP.union(Flags::ERR).union(Flags::OUT);

/// A registered descriptor.
#[derive(Debug)]
pub(crate) struct Source {
    generation: u32,
    /// Another thread may have closed it; then a message that says so is in the inbox.
    fd: RawFd,
    /// Reading and writing.
    states: [DirectionState; 2],
    trigger: Trigger,
    /// There may be urgent data, at which reads stop short.
    saw_urgent_data: bool,
    /// No operation has returned the error of an error event: it is in the error queue, and reported until someone
    /// takes it out.
    has_queued_error: bool,
    /// A direction without waiters leaves the epoll set: the source is level-triggered, or other runtimes wait, too.
    may_leave: bool,
    exclusive: [StoredWaker; 2],
    extra: Option<Box<Extra>>,
}

/// One cache line is what an event touches.
const _: () = assert!(size_of::<Source>() <= 64);

/// One direction of a source: a set of these bits.
#[derive(Clone, Copy, Debug)]
struct DirectionState(u8);

impl DirectionState {
    /// The operation is worth trying: an event has come since it last found the end, or epoll does not watch.
    const READY: u8 = 1;
    /// Epoll watches the direction.
    const WATCHED: u8 = 1 << 1;
    /// The peer hung up, for good.
    const CLOSED: u8 = 1 << 2;
    /// An error event came, and no operation has found the end since: the next one may return the error.
    const ERROR: u8 = 1 << 3;
    /// The operation failed for want of resources and is to be retried later.
    const BACKING_OFF: u8 = 1 << 4;

    #[inline]
    fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }
}

/// What most descriptors do without.
#[derive(Debug, Default)]
struct Extra {
    /// The waiters that share reading, and those that share writing.
    lists: [WaitList; 2],
    credit: Credit,
    /// The list of the runtimes that wait for it, if they are several.
    runtimes: Option<u32>,
}

/// Making and watching.
impl Source {
    /// A descriptor that epoll does not watch yet.
    pub(crate) fn new(generation: u32, fd: RawFd, trigger: Trigger) -> Self {
        Self {
            generation,
            fd,
            states: [DirectionState(DirectionState::READY); 2],
            trigger,
            saw_urgent_data: false,
            has_queued_error: false,
            may_leave: trigger == Trigger::Level,
            exclusive: [StoredWaker::NONE, StoredWaker::NONE],
            extra: None,
        }
    }

    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.fd
    }

    #[inline]
    pub(crate) fn may_leave(&self) -> bool {
        self.may_leave
    }

    /// Says that other runtimes wait for the descriptor, too: those of this list.
    pub(crate) fn set_shared(&mut self, runtimes: u32) {
        self.may_leave = true;
        self.extra.get_or_insert_default().runtimes = Some(runtimes);
    }

    /// The list of the runtimes that wait for the descriptor, if they are several.
    pub(crate) fn runtimes(&self) -> Option<u32> {
        self.extra.as_ref()?.runtimes
    }

    #[inline]
    pub(crate) fn watches(&self, direction: Direction) -> bool {
        self.state(direction).has(DirectionState::WATCHED)
    }

    pub(crate) fn watched(&self) -> Directions {
        self.directions(|state| state.has(DirectionState::WATCHED))
    }

    /// What epoll must be told to watch these directions.
    pub(crate) fn interest(&self, directions: Directions) -> Flags {
        let trigger = match self.trigger {
            Trigger::Edge => Flags::ET,
            Trigger::Level => Flags::NONE,
        };
        Direction::EACH
            .into_iter()
            .filter(|&direction| directions.contains(direction.into()))
            .fold(trigger, |flags, direction| {
                flags.union(direction.interest())
            })
    }

    /// Epoll watches these directions now. One that is newly watched is not ready until an event says so.
    pub(crate) fn set_watched(&mut self, directions: Directions) {
        for direction in Direction::EACH {
            let state = &mut self.states[direction as usize];
            if !directions.contains(direction.into()) {
                state.0 = state.0 & !DirectionState::WATCHED | DirectionState::READY;
            } else if !state.has(DirectionState::WATCHED) {
                state.0 = state.0 & !DirectionState::READY | DirectionState::WATCHED;
            }
        }
    }
}

/// Readiness.
impl Source {
    /// Whether the operation is worth trying.
    #[inline]
    pub(crate) fn is_ready(&self, direction: Direction) -> bool {
        let bits = DirectionState::READY | DirectionState::BACKING_OFF;
        self.state(direction).0 & bits == DirectionState::READY
    }

    /// Whether the peer has closed the direction for good.
    pub(crate) fn is_closed(&self, direction: Direction) -> bool {
        self.state(direction).has(DirectionState::CLOSED)
    }

    /// Takes in an event that says only that something can be read, or only that something can be written, where
    /// an exclusive waiter of ours waits, or none; returns the target to wake. `None`, and nothing has changed, for any
    /// other event.
    #[inline]
    pub(crate) fn on_plain_event(&mut self, event: Flags) -> Option<WakeTarget> {
        let direction = match event {
            Flags::IN => Direction::Read,
            Flags::OUT => Direction::Write,
            _ => return None,
        };
        let state = &mut self.states[direction as usize];
        if state.has(DirectionState::BACKING_OFF) || self.has_queued_error || self.extra.is_some() {
            return None;
        }
        let waker = &mut self.exclusive[direction as usize];
        let StoredWaker::Target(target) = *waker else {
            return None;
        };
        *waker = StoredWaker::NONE;
        state.0 |= DirectionState::READY;
        Some(target)
    }

    /// Takes in an event: the directions that it concerns are ready, and their waiters go to `woken`.
    #[inline]
    pub(crate) fn on_event(&mut self, event: Flags, mut woken: impl FnMut(StoredWaker)) {
        if event.intersects(RARE) || self.has_queued_error {
            self.on_rare_event(event);
        }
        let is_readable = u8::from(event.intersects(READABLE));
        let is_writable = u8::from(event.intersects(WRITABLE));
        self.on_ready(is_readable | is_writable << 1, &mut woken);
    }

    /// Takes in what an event says besides that something can be read or written.
    #[cold]
    fn on_rare_event(&mut self, event: Flags) {
        self.saw_urgent_data |= event.intersects(Flags::PRI);
        let is_error = event.intersects(Flags::ERR);
        for (state, closes) in self.states.iter_mut().zip([READ_CLOSED, HUNG_UP]) {
            if event.intersects(closes) {
                state.0 |= DirectionState::CLOSED;
            }
            if is_error && !self.has_queued_error {
                state.0 |= DirectionState::ERROR;
            }
        }
        self.has_queued_error &= is_error;
    }

    /// An operation found nothing: the direction is not ready until the next event.
    #[inline]
    pub(crate) fn on_would_block(&mut self, direction: Direction) {
        let state = self.state_mut(direction);
        if state.has(DirectionState::WATCHED) {
            let had_error = state.has(DirectionState::ERROR);
            state.0 &= !(DirectionState::READY | DirectionState::ERROR);
            self.has_queued_error |= had_error;
        }
    }

    /// An operation succeeded.
    #[inline]
    pub(crate) fn on_completed(&mut self, direction: Direction, after: After) {
        match after {
            After::MayHaveMore => {}
            After::Drained => self.on_drained(direction),
            After::LevelReported => self.on_taken(direction),
        }
    }

    #[inline]
    fn on_drained(&mut self, direction: Direction) {
        const UNSURE: u8 = DirectionState::CLOSED | DirectionState::ERROR;
        let stops_short = self.saw_urgent_data && direction == Direction::Read;
        if !stops_short && !self.state(direction).has(UNSURE) {
            self.on_would_block(direction);
        }
    }

    /// One of several things was taken: when the event's credit is used up, the next one waits for an event.
    fn on_taken(&mut self, direction: Direction) {
        if self.trigger == Trigger::Level
            && let Some(extra) = &mut self.extra
            && extra.credit.take()
        {
            self.on_would_block(direction);
        }
    }

    /// Sets how many operations the event of a level-triggered descriptor allows; `None`: until `EAGAIN`.
    pub(crate) fn set_credit(&mut self, operations: Option<usize>) {
        if self.trigger == Trigger::Level {
            let operations = operations.and_then(|operations| u32::try_from(operations).ok());
            let credit = operations.unwrap_or(Credit::UNLIMITED);
            self.extra.get_or_insert_default().credit.set(credit);
        }
    }

    /// Events of a direction wake nobody until [`Source::resume`].
    pub(crate) fn back_off(&mut self, direction: Direction) {
        self.state_mut(direction).0 |= DirectionState::BACKING_OFF;
    }

    /// Ends a back-off: the direction counts as ready, its waiters go to `woken`.
    pub(crate) fn resume(&mut self, direction: Direction, mut woken: impl FnMut(StoredWaker)) {
        self.state_mut(direction).0 &= !DirectionState::BACKING_OFF;
        self.on_ready(1 << direction as u8, &mut woken);
    }

    /// Makes directions ready: a bit for each.
    #[inline(always)]
    fn on_ready(&mut self, mut directions: u8, woken: &mut impl FnMut(StoredWaker)) {
        while directions != 0 {
            let direction = directions.trailing_zeros() as usize & 1;
            directions &= directions - 1;
            let state = &mut self.states[direction];
            state.0 |= DirectionState::READY;
            if state.has(DirectionState::BACKING_OFF) {
                continue;
            }
            let waker = self.exclusive[direction].take();
            if !waker.is_none() {
                woken(waker);
            }
            if let Some(extra) = &mut self.extra {
                extra.lists[direction].drain_into(woken);
            }
        }
    }

    #[inline]
    fn state(&self, direction: Direction) -> DirectionState {
        self.states[direction as usize]
    }

    #[inline]
    fn state_mut(&mut self, direction: Direction) -> &mut DirectionState {
        &mut self.states[direction as usize]
    }

    fn directions(&self, is_in: impl Fn(DirectionState) -> bool) -> Directions {
        Direction::EACH
            .into_iter()
            .filter(|&direction| is_in(self.state(direction)))
            .fold(Directions::default(), |all, one| all.union(one.into()))
    }
}

/// Waiters.
impl Source {
    /// Lets the one user of a direction wait; returns the waker that no longer waits.
    #[inline]
    pub(crate) fn wait_exclusively(
        &mut self,
        direction: Direction,
        waker: StoredWaker,
    ) -> StoredWaker {
        std::mem::replace(&mut self.exclusive[direction as usize], waker)
    }

    /// Lets a wait with a ticket go on; returns the waker that no longer waits.
    pub(crate) fn wait_with_ticket(
        &mut self,
        direction: Direction,
        ticket: Ticket,
        waker: StoredWaker,
    ) -> StoredWaker {
        self.list_mut(direction).insert(ticket, waker)
    }

    /// Adds a waiter that is known by its waker only. Now and then drops those of ours that `is_gone`.
    pub(crate) fn wait_anonymously(
        &mut self,
        direction: Direction,
        waker: StoredWaker,
        is_gone: impl Fn(WakeTarget) -> bool,
    ) {
        self.list_mut(direction).insert_anonymous(waker, is_gone);
    }

    /// Whether this waker waits already, without a ticket.
    pub(crate) fn has_anonymous(&self, direction: Direction, waker: WakerRef<'_>) -> bool {
        self.list(direction)
            .is_some_and(|list| list.has_anonymous(waker))
    }

    /// Ends a wait; returns its waker, if no event took it.
    pub(crate) fn cancel(&mut self, direction: Direction, ticket: Ticket) -> StoredWaker {
        match &mut self.extra {
            Some(extra) => extra.lists[direction as usize].remove(ticket),
            None => StoredWaker::NONE,
        }
    }

    /// Takes all waiters out.
    pub(crate) fn take_waiters(&mut self, mut woken: impl FnMut(StoredWaker)) {
        for waker in &mut self.exclusive {
            let waker = waker.take();
            if !waker.is_none() {
                woken(waker);
            }
        }
        for list in self.extra.iter_mut().flat_map(|extra| &mut extra.lists) {
            list.drain_into(&mut woken);
        }
    }

    /// The directions that `event` concerns and that have no waiters now, or are backing off.
    pub(crate) fn unneeded(&self, event: Flags) -> Directions {
        let concerned = [READABLE, WRITABLE];
        Direction::EACH
            .into_iter()
            .filter(|&direction| event.intersects(concerned[direction as usize]))
            .filter(|&direction| self.watches(direction))
            .filter(|&direction| {
                let is_resting = self.state(direction).has(DirectionState::BACKING_OFF);
                is_resting || !self.has_waiters(direction)
            })
            .fold(Directions::default(), |all, one| all.union(one.into()))
    }

    /// Whether a direction is ready and has waiters, which no event would wake.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn has_lost_a_wake(&self) -> bool {
        Direction::EACH
            .into_iter()
            .any(|direction| self.is_ready(direction) && self.has_waiters(direction))
    }

    fn has_waiters(&self, direction: Direction) -> bool {
        !self.exclusive[direction as usize].is_none()
            || self.list(direction).is_some_and(|list| !list.is_empty())
    }

    fn list(&self, direction: Direction) -> Option<&WaitList> {
        Some(&self.extra.as_ref()?.lists[direction as usize])
    }

    fn list_mut(&mut self, direction: Direction) -> &mut WaitList {
        &mut self.extra.get_or_insert_default().lists[direction as usize]
    }
}

#[cfg(test)]
mod tests;
