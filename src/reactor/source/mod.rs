//! One descriptor's readiness and waiters: a state machine without system calls.
//!
//! Called by `reactor`, which feeds it events and the outcomes of operations.
//!
//! # Invariants
//!
//! 1. Readiness is set by an event and cleared by the operation that saw it end; no event can come
//!    between that operation and the clearing, because events are only fetched between polls.
//! 2. A direction that epoll does not watch counts as ready: the operation is simply tried.
//! 3. Once the peer has hung up, a short read says nothing (the hang-up may have come with the data, as
//!    one event), and neither does it once urgent data has come (reads stop at its mark); then only
//!    `EAGAIN` itself clears readiness.
//! 4. A level-triggered descriptor of which events come while nobody waits is muted, or they would keep
//!    the loop from waiting.
//! 5. No waker is cloned, woken or dropped here while it could re-enter: they go in and out by value.

mod level;
#[cfg(test)]
mod oracle;
mod waiters;

use std::os::fd::RawFd;
use std::task::Waker;

use self::level::Level;
pub(crate) use self::level::Trigger;
use self::waiters::Line;
pub(crate) use self::waiters::{Dismissed, Round, Ticket, Waiter};

pub(crate) use crate::sys::direction::{Direction, Directions};
use crate::sys::epoll::Flags;

/// A registered descriptor.
#[derive(Debug)]
pub(crate) struct Source {
    generation: u32,
    /// How many need the entry: a direction that it owns, or a guest.
    claims: u16,
    /// What epoll was told to watch.
    watched: Directions,
    /// There may be urgent data, at which reads stop short.
    is_marked: bool,
    /// Reading and writing.
    sides: [Side; 2],
    extra: Option<Box<Extra>>,
}

/// One cache line is what an event touches.
const _: () = assert!(size_of::<Source>() == 64);

/// One direction of a source.
#[derive(Debug, Default)]
struct Side {
    /// Epoll watches it, and no event has come since an operation saw the end: it is not worth trying.
    is_drained: bool,
    /// The peer hung up, or the descriptor failed, for good.
    is_final: bool,
    /// The operation failed for want of resources and is to be retried later.
    is_backing_off: bool,
    only: Option<Waker>,
}

/// What most descriptors do without.
#[derive(Debug, Default)]
struct Extra {
    /// Who shares reading, and who shares writing.
    lines: [Line; 2],
    level: Option<Level>,
}

impl Source {
    pub(crate) fn new(generation: u32) -> Self {
        Self {
            generation,
            claims: 1,
            watched: Directions::default(),
            is_marked: false,
            sides: Default::default(),
            extra: None,
        }
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Takes note of one more who needs the entry.
    pub(crate) fn claim(&mut self) {
        self.claims += 1;
    }

    /// Takes note that one less needs the entry; true if nobody does.
    pub(crate) fn release(&mut self) -> bool {
        self.claims -= 1;
        self.claims == 0
    }

    /// Takes note that epoll watches nothing any more: whoever waits must try again, and moves to `woken`.
    pub(crate) fn forget_watched(&mut self, woken: &mut Vec<Waker>) {
        self.watch(Directions::default());
        if let Some(extra) = &mut self.extra {
            extra.level = None;
        }
        self.take_waiters(woken);
    }

    /// Takes note of an event; moves the wakers of whom it concerns to `woken`.
    pub(crate) fn on_event(&mut self, event: Flags, woken: &mut Vec<Waker>) {
        const GONE: Flags = Flags::HUP.union(Flags::ERR);
        const READ_GONE: Flags = GONE.union(Flags::RDHUP);
        const READABLE: Flags = READ_GONE.union(Flags::IN).union(Flags::PRI);
        if event.intersects(Flags::PRI) {
            self.is_marked = true;
        }
        if event.intersects(READABLE) {
            self.on_ready(Direction::Read, event.intersects(READ_GONE), woken);
        }
        if event.intersects(Flags::OUT.union(GONE)) {
            self.on_ready(Direction::Write, event.intersects(GONE), woken);
        }
    }

    /// Takes note that an operation found nothing: the direction is not ready until the next event.
    pub(crate) fn on_would_block(&mut self, direction: Direction) {
        debug_assert!(
            self.level().is_none_or(|level| !level.is_muted()),
            "who waits for a muted source undoes that first"
        );
        self.side_mut(direction).is_drained = self.watches(direction);
    }

    /// Takes note that an operation moved less than it could have.
    pub(crate) fn on_short(&mut self, direction: Direction) {
        let is_marked = self.is_marked && direction == Direction::Read;
        if !is_marked && !self.is_final(direction) {
            self.on_would_block(direction);
        }
    }

    /// Takes note of an operation after which there may be more of which epoll tells by itself, if the
    /// descriptor is level-triggered: when the event's share is used up, the next one waits for an event.
    pub(crate) fn on_taken(&mut self, direction: Direction) {
        if self.level_mut().is_some_and(Level::take) {
            self.on_would_block(direction);
        }
    }

    /// Takes note that an operation must rest until [`Source::resume`].
    pub(crate) fn back_off(&mut self, direction: Direction) {
        self.side_mut(direction).is_backing_off = true;
    }

    /// Ends a rest: the direction counts as ready, its waiters move to `woken`.
    pub(crate) fn resume(&mut self, direction: Direction, woken: &mut Vec<Waker>) {
        self.side_mut(direction).is_backing_off = false;
        self.on_ready(direction, false, woken);
    }

    /// Whether the operation is worth trying.
    #[inline]
    pub(crate) fn is_ready(&self, direction: Direction) -> bool {
        let side = self.side(direction);
        !side.is_drained && !side.is_backing_off
    }

    /// Whether someone waits for a direction that is ready, and so would wait for ever.
    pub(crate) fn has_lost_a_wake(&self) -> bool {
        [Direction::Read, Direction::Write]
            .into_iter()
            .any(|direction| self.is_ready(direction) && self.has_waiters(direction))
    }

    fn has_waiters(&self, direction: Direction) -> bool {
        let line = self
            .extra
            .as_ref()
            .map(|extra| &extra.lines[direction as usize]);
        self.side(direction).only.is_some() || line.is_some_and(|line| !line.is_empty())
    }

    /// Whether the direction was closed for good, by the peer or by an error.
    pub(crate) fn is_final(&self, direction: Direction) -> bool {
        self.side(direction).is_final
    }

    #[inline]
    pub(crate) fn watches(&self, direction: Direction) -> bool {
        self.watched.contains(direction.into())
    }

    /// Whether epoll tells who waits for the direction as it should.
    pub(crate) fn reports(&self, direction: Direction) -> bool {
        self.watches(direction) && !self.level().is_some_and(Level::is_muted)
    }

    pub(crate) fn watched(&self) -> Directions {
        self.watched
    }

    /// Makes the descriptor level-triggered.
    pub(crate) fn report_levels(&mut self, fd: RawFd) {
        self.extra.get_or_insert_default().level = Some(Level::new(fd));
    }

    /// Whether epoll reports it for as long as it is ready.
    #[inline]
    pub(crate) fn is_level_triggered(&self) -> bool {
        self.level().is_some_and(|level| !level.is_muted())
    }

    /// Sets how many operations the event that just came is good for.
    pub(crate) fn share(&mut self, operations: usize) {
        if let Some(level) = self.level_mut() {
            level.share(operations);
        }
    }

    /// Lets a level-triggered descriptor report nothing, until [`Source::unmute`]; returns it, and what epoll
    /// must be told.
    pub(crate) fn mute(&mut self) -> Option<(RawFd, Flags)> {
        let fd = self.level_mut()?.mute();
        Some((fd, Flags::ET))
    }

    /// Undoes [`Source::mute`]; false if there is nothing to undo.
    pub(crate) fn unmute(&mut self) -> bool {
        self.level_mut().is_some_and(Level::unmute)
    }

    #[inline]
    fn level(&self) -> Option<&Level> {
        self.extra.as_ref()?.level.as_ref()
    }

    fn level_mut(&mut self) -> Option<&mut Level> {
        self.extra.as_mut()?.level.as_mut()
    }

    /// Sets which directions epoll watches; returns what epoll must be told.
    ///
    /// A direction that is newly watched is not ready until an event says so.
    pub(crate) fn watch(&mut self, directions: Directions) -> Flags {
        let mut interest = match self.is_level_triggered() {
            true => Flags::NONE,
            false => Flags::ET,
        };
        for direction in [Direction::Read, Direction::Write] {
            let is_new = !self.watches(direction);
            let side = self.side_mut(direction);
            if directions.contains(direction.into()) {
                side.is_drained |= is_new;
                interest = interest.union(direction.interest());
            } else {
                side.is_drained = false;
            }
        }
        self.watched = directions;
        interest
    }

    /// Lets `waiter` wait with `waker`; returns the wakers that no longer wait.
    ///
    /// When too many gather who cannot say whether they still wait, all of them go: those that do still
    /// wait will come back.
    #[inline]
    pub(crate) fn wait(
        &mut self,
        direction: Direction,
        waiter: Waiter,
        waker: Waker,
    ) -> Option<Dismissed> {
        match waiter {
            Waiter::Only => self.side_mut(direction).only.replace(waker),
            Waiter::Ticket(ticket) => self.line_mut(direction).join(ticket, waker),
            Waiter::Anyone(now) => return self.line_mut(direction).gather(waker, now),
        }
        .map(Dismissed::Replaced)
    }

    /// Ends a wait; returns its waker, if no event took it.
    pub(crate) fn cancel(&mut self, direction: Direction, ticket: Ticket) -> Option<Waker> {
        let extra = self.extra.as_mut()?;
        extra.lines[direction as usize].leave(ticket)
    }

    #[inline]
    fn on_ready(&mut self, direction: Direction, is_final: bool, woken: &mut Vec<Waker>) {
        let side = self.side_mut(direction);
        side.is_drained = false;
        side.is_final |= is_final;
        if !side.is_backing_off {
            self.take_waiters_of(direction, woken);
        }
    }

    /// Moves all wakers to `woken`.
    pub(crate) fn take_waiters(&mut self, woken: &mut Vec<Waker>) {
        self.take_waiters_of(Direction::Read, woken);
        self.take_waiters_of(Direction::Write, woken);
    }

    #[inline(always)]
    fn take_waiters_of(&mut self, direction: Direction, woken: &mut Vec<Waker>) {
        if let Some(waker) = self.side_mut(direction).only.take() {
            woken.push(waker);
        }
        if let Some(extra) = &mut self.extra {
            extra.lines[direction as usize].take(woken);
        }
    }

    #[inline]
    fn side(&self, direction: Direction) -> &Side {
        &self.sides[direction as usize]
    }

    #[inline]
    fn side_mut(&mut self, direction: Direction) -> &mut Side {
        &mut self.sides[direction as usize]
    }

    fn line_mut(&mut self, direction: Direction) -> &mut Line {
        &mut self.extra.get_or_insert_default().lines[direction as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn waker() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), count.into())
    }

    fn watching(directions: Directions) -> Source {
        let mut source = Source::new(0);
        source.watch(directions);
        source
    }

    #[test]
    fn an_unwatched_direction_counts_as_ready() {
        let source = watching(Directions::READ);
        assert!(!source.is_ready(Direction::Read));
        assert!(source.is_ready(Direction::Write));
    }

    #[test]
    fn each_event_makes_the_right_directions_ready() {
        let cases = [
            (Flags::IN, true, false),
            (Flags::OUT, false, true),
            (Flags::RDHUP, true, false),
            (Flags::HUP, true, true),
            (Flags::ERR, true, true),
        ];
        for (event, read, write) in cases {
            let mut source = watching(Directions::BOTH);
            source.on_event(event, &mut Vec::new());
            assert_eq!(source.is_ready(Direction::Read), read, "{event:?}");
            assert_eq!(source.is_ready(Direction::Write), write, "{event:?}");
        }
    }

    #[test]
    fn would_block_on_one_side_leaves_the_other_ready() {
        let mut source = watching(Directions::BOTH);
        source.on_event(Flags::IN.union(Flags::OUT), &mut Vec::new());
        source.on_would_block(Direction::Read);
        assert!(!source.is_ready(Direction::Read));
        assert!(source.is_ready(Direction::Write));
    }

    #[test]
    fn a_short_read_clears_readiness_only_before_the_hang_up() {
        let mut source = watching(Directions::BOTH);
        source.on_event(Flags::IN, &mut Vec::new());
        source.on_short(Direction::Read);
        assert!(!source.is_ready(Direction::Read));
        source.on_event(Flags::IN.union(Flags::RDHUP), &mut Vec::new());
        source.on_short(Direction::Read);
        assert!(source.is_ready(Direction::Read));
        source.on_would_block(Direction::Read);
        assert!(!source.is_ready(Direction::Read));
    }

    #[test]
    fn a_short_read_says_nothing_once_urgent_data_has_come() {
        let mut source = watching(Directions::BOTH);
        source.on_event(Flags::IN.union(Flags::PRI), &mut Vec::new());
        source.on_short(Direction::Read);
        assert!(source.is_ready(Direction::Read));
        assert!(!source.is_final(Direction::Read));
    }

    #[test]
    fn an_entry_is_free_when_its_last_claim_is_released() {
        let mut source = Source::new(0);
        source.claim();
        source.claim();
        assert!(!source.release());
        assert!(!source.release());
        assert!(source.release());
    }

    #[test]
    fn whoever_waits_tries_again_when_epoll_watches_nothing_any_more() {
        let mut source = watching(Directions::BOTH);
        let mut woken = Vec::new();
        source.wait(Direction::Read, Waiter::Only, waker().1);
        source.wait(Direction::Write, Waiter::Anyone(Round(0)), waker().1);
        source.forget_watched(&mut woken);
        assert_eq!(woken.len(), 2);
        assert!(source.is_ready(Direction::Read) && source.is_ready(Direction::Write));
    }

    #[test]
    fn a_later_waker_of_the_only_waiter_replaces_the_earlier_one() {
        let mut source = watching(Directions::BOTH);
        let ((first, first_waker), (second, second_waker)) = (waker(), waker());
        let mut woken = Vec::new();
        source.wait(Direction::Read, Waiter::Only, first_waker);
        drop(source.wait(Direction::Read, Waiter::Only, second_waker));
        assert!(woken.is_empty());
        assert_eq!(Arc::strong_count(&first), 1);
        source.on_event(Flags::IN, &mut woken);
        woken.drain(..).for_each(Waker::wake);
        assert_eq!(first.0.load(Ordering::Relaxed), 0);
        assert_eq!(second.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn all_tickets_are_woken_but_the_cancelled_one() {
        let mut source = watching(Directions::BOTH);
        let (mut counts, mut tickets, mut woken) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            let (count, waker) = waker();
            let ticket = Ticket(tickets.len() as u64);
            source.wait(Direction::Read, Waiter::Ticket(ticket), waker);
            counts.push(count);
            tickets.push(ticket);
        }
        assert!(source.cancel(Direction::Read, tickets[1]).is_some());
        assert!(source.cancel(Direction::Read, tickets[1]).is_none());
        source.on_event(Flags::IN, &mut woken);
        assert_eq!(woken.len(), 2);
        woken.drain(..).for_each(Waker::wake);
        let woken = counts.iter().map(|count| count.0.load(Ordering::Relaxed));
        assert_eq!(Vec::from_iter(woken), [1, 0, 1]);
    }

    #[test]
    fn untracked_waiters_are_woken_rather_than_gathered_without_end() {
        let mut source = watching(Directions::BOTH);
        let mut woken = Vec::new();
        for number in 0..100_000 {
            let (_, waker) = waker();
            drop(source.wait(Direction::Read, Waiter::Anyone(Round(number)), waker));
        }
        source.on_event(Flags::IN, &mut woken);
        assert!(woken.len() <= 32);
    }

    #[test]
    fn untracked_waiters_who_come_back_at_once_are_kept_however_many_they_are() {
        let mut source = watching(Directions::BOTH);
        let wakers = Vec::from_iter((0..1000).map(|_| waker().1));
        let mut dismissed = 0;
        for waker in wakers.iter().chain(&wakers[..32]) {
            let waiter = Waiter::Anyone(Round(7));
            match source.wait(Direction::Read, waiter, waker.clone()) {
                Some(Dismissed::ToBeWoken(woken)) => dismissed += woken.len(),
                left => drop(left),
            }
        }
        assert_eq!(dismissed, 32, "once, to find out who waits");
        let mut woken = Vec::new();
        source.on_event(Flags::IN, &mut woken);
        assert_eq!(woken.len(), 1000);
    }

    #[test]
    fn who_waits_for_what_is_ready_is_found_out() {
        for waiter in [
            Waiter::Only,
            Waiter::Anyone(Round(0)),
            Waiter::Ticket(Ticket(0)),
        ] {
            let mut source = watching(Directions::READ);
            source.wait(Direction::Read, waiter, waker().1);
            assert!(!source.has_lost_a_wake(), "{waiter:?}");
            source.on_event(Flags::IN, &mut Vec::new());
            assert!(!source.has_lost_a_wake(), "{waiter:?}");
            source.wait(Direction::Read, waiter, waker().1);
            assert!(source.has_lost_a_wake(), "{waiter:?}");
        }
    }

    #[test]
    fn events_during_a_rest_wake_nobody_and_its_end_wakes_all() {
        let mut source = watching(Directions::BOTH);
        let mut woken = Vec::new();
        source.back_off(Direction::Read);
        source.wait(Direction::Read, Waiter::Only, waker().1);
        source.on_event(Flags::IN, &mut woken);
        assert!(woken.is_empty() && !source.is_ready(Direction::Read));
        source.resume(Direction::Read, &mut woken);
        assert!(woken.len() == 1 && source.is_ready(Direction::Read));
    }
}
