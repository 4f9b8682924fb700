//! What tasks do with a source: operations and waits, played by the rules of sockets (`Registered::poll_io` and its
//! kin, `Places::settle`, `Reactor::watch`).

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::task::Waker;

use super::DIRECTIONS;
use super::kernel::Done;
use super::world::{Place, Word, World, assert_woken};
use crate::reactor::source::{Direction, Directions, Dismissed, Trigger, Waiter};

impl World {
    /// Tries an operation, and waits if it finds nothing; returns what it did unless it waits.
    pub(super) fn poll(&mut self, place: Place, direction: Direction, most: usize) -> Option<Done> {
        if self.words[direction as usize] == Word::Drained {
            self.settle(direction);
        }
        let is_here = self.words[direction as usize] == Word::Here;
        if is_here && !self.source.is_ready(direction) {
            self.wait(place, direction);
            return None;
        }
        let done = self.kernel.transfer(direction, most);
        match done {
            Done::WouldBlock if self.settle(direction) => {
                self.source.on_would_block(direction);
                self.is_empty[direction as usize] = true;
                self.wait(place, direction);
                return None;
            }
            Done::Moved(moved) => self.on_moved(direction, moved, most),
            Done::WouldBlock | Done::Failed => {}
        }
        Some(done)
    }

    fn on_moved(&mut self, direction: Direction, moved: usize, most: usize) {
        let is_short = 0 < moved && moved < most;
        match (&mut self.words[direction as usize], self.trigger) {
            (Word::Here, Trigger::Level) => self.source.on_taken(direction),
            (Word::Here, Trigger::Edge) if is_short => self.on_short(direction),
            (word @ Word::Nowhere, Trigger::Edge) if is_short && direction == Direction::Read => {
                *word = Word::Drained;
            }
            _ => {}
        }
    }

    fn on_short(&mut self, direction: Direction) {
        self.source.on_short(direction);
        let may_lie =
            self.is_final[direction as usize] || direction == Direction::Read && self.is_marked;
        self.is_empty[direction as usize] |= !may_lie;
    }

    /// Waits until the direction is ready, without trying.
    pub(super) fn poll_ready(&mut self, task: u8, direction: Direction) {
        if self.settle(direction) && !self.source.is_ready(direction) {
            self.wait(Place::of(task), direction);
        }
    }

    /// Tries an operation if it may find something, and does not wait.
    pub(super) fn try_once(&mut self, direction: Direction, most: usize) {
        let is_here = self.words[direction as usize] == Word::Here;
        if is_here && !self.source.is_ready(direction) {
            return;
        }
        match self.kernel.transfer(direction, most) {
            Done::Moved(moved) if is_here && 0 < moved && moved < most => self.on_short(direction),
            Done::WouldBlock if is_here => {
                self.source.on_would_block(direction);
                self.is_empty[direction as usize] = true;
            }
            _ => {}
        }
    }

    pub(super) fn exhaust(&mut self, place: Place) {
        if self.settle(Direction::Read) {
            self.source.back_off(Direction::Read);
            self.is_resting[0] = true;
            self.rests[0] += 1;
            self.wait(place, Direction::Read);
        }
    }

    pub(super) fn cancel(&mut self, task: u8, direction: Direction) {
        let Waiter::Ticket(ticket) = Place::of(task).waiter() else {
            return;
        };
        let waker = self.source.cancel(direction, ticket);
        let wait = self.waits[direction as usize].remove(&Place::of(task));
        assert_eq!(waker.is_some(), wait.is_some());
    }

    /// Sees to it that the direction is watched; false if that fails.
    fn settle(&mut self, direction: Direction) -> bool {
        let word = self.words[direction as usize];
        if word == Word::Here && self.source.reports(direction) {
            return true;
        }
        self.words[direction as usize] = match word {
            Word::Drained => Word::Nowhere,
            word => word,
        };
        let directions = match (self.words[direction as usize], direction) {
            (Word::Nowhere, Direction::Write) => Directions::BOTH,
            _ => direction.into(),
        };
        let is_watched = self.watch(directions);
        if is_watched {
            self.words[direction as usize] = Word::Here;
        }
        is_watched
    }

    fn watch(&mut self, directions: Directions) -> bool {
        let before = self.source.watched();
        let was_muted = self.source.unmute();
        if before.contains(directions) && !was_muted {
            return true;
        }
        if before == Directions::default() && self.trigger == Trigger::Level {
            self.source.report_levels(0);
        }
        let interest = self.source.watch(before.union(directions));
        if mem::take(&mut self.is_refused) {
            if was_muted {
                self.source.mute();
            }
            self.source.watch(before);
            return false;
        }
        self.kernel.control(interest);
        let is_new = DIRECTIONS.map(|one| !before.contains(one.into()) && self.source.watches(one));
        self.is_empty = [0, 1].map(|side| self.is_empty[side] || is_new[side]);
        true
    }

    fn wait(&mut self, place: Place, direction: Direction) {
        let waits = &mut self.waits[direction as usize];
        let known = waits.remove(&place);
        // A waker that is known to wait already is not kept twice where nobody can take it back.
        let wakes = match (&known, place) {
            (Some(known), Place::Anyone(_)) => Arc::clone(known),
            _ => Arc::default(),
        };
        let waker = Waker::from(Arc::clone(&wakes));
        match self.source.wait(direction, place.waiter(), waker) {
            Some(Dismissed::Replaced(waker)) => {
                assert!(known.is_some());
                drop(waker);
            }
            Some(Dismissed::ToBeWoken(woken)) => {
                assert!(known.is_none());
                let all = mem::take(waits).into_iter();
                let (gone, kept) = all.partition(|(place, _)| matches!(place, Place::Anyone(_)));
                *waits = kept;
                let gone: BTreeMap<_, _> = gone;
                self.awake
                    .extend(gone.keys().map(|&place| (place, direction)));
                assert_woken(gone.into_values().collect(), woken);
            }
            None => assert!(known.is_none()),
        }
        if let Some(known) = known.filter(|known| !Arc::ptr_eq(known, &wakes)) {
            assert_eq!(Arc::strong_count(&known), 1, "it was replaced");
        }
        self.waits[direction as usize].insert(place, wakes);
    }
}
