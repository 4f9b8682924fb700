//! The timers of a reactor: which wakers they wake, and when the timer descriptor is armed.
//!
//! A part of `Reactor`; `timer_heaps` keeps the order of deadlines.

use super::source::{Direction, WakerRef};
use super::{Reactor, State, StoredWaker, TimerKey, UNARMED, named};
use crate::clock;
use crate::log;
use crate::quiet;
use crate::sys::epoll::RawToken;

/// What a timer does when it fires.
#[derive(Debug)]
pub(super) enum TimerAction {
    Wake(StoredWaker),
    /// Ends a source's back-off.
    Resume(RawToken, Direction),
}

/// For the loop.
impl Reactor {
    /// Arms the timer descriptor, so that the wait ends when the earliest timer is due; false if that fails.
    pub(super) fn is_armed(&self) -> bool {
        let Some(earliest) = self.timers.borrow().next_deadline() else {
            return true;
        };
        let deadline = self.expiry(earliest);
        if deadline < self.armed.get() {
            if let Err(error) = self.timer_fd.arm(deadline) {
                if !self.is_warned.replace(true) {
                    log::timer_is_not_armed(&error);
                }
                return false;
            }
            self.is_warned.set(false);
            self.armed.set(deadline);
        }
        true
    }

    /// When the timer descriptor is to expire for this deadline.
    fn expiry(&self, deadline: u64) -> u64 {
        match self.granularity_ns {
            1 => deadline,
            granularity => deadline
                .checked_next_multiple_of(granularity)
                .unwrap_or(UNARMED - 1),
        }
    }

    /// Fires what is due.
    pub(super) fn fire(&self, woken: &mut impl FnMut(StoredWaker)) {
        let mut timers = self.timers.borrow_mut();
        if timers.is_empty() {
            return;
        }
        let now = clock::now_ns();
        while let Some((key, action)) = timers.pop_due(now) {
            match action {
                TimerAction::Wake(waker) => woken(waker),
                TimerAction::Resume(token, direction) => {
                    timers.remove(key);
                    if let Some(source) = named(&mut self.sources.borrow_mut(), token) {
                        source.resume(direction, &mut *woken);
                    }
                }
            }
        }
    }

    /// Whether a deadline may have passed in a wait without limit. With a slack it may have passed before the
    /// timer descriptor expires.
    pub(super) fn may_be_due(&self) -> bool {
        self.armed.get() == UNARMED || self.granularity_ns > 1
    }

    /// Whether the timer descriptor ends a wait that begins now in time for the earliest deadline.
    #[cfg(debug_assertions)]
    pub(super) fn is_armed_in_time(&self) -> bool {
        let earliest = self.timers.borrow().next_deadline();
        earliest.is_none_or(|earliest| self.armed.get() <= self.expiry(earliest))
    }
}

/// For timers.
impl Reactor {
    /// Adds a timer that wakes `waker` at `deadline`, nanoseconds on the monotonic clock, where it is `now` or later.
    ///
    /// # Panics
    ///
    /// When the reactor is closed.
    pub(crate) fn insert_timer(&self, deadline: u64, now: u64, waker: WakerRef<'_>) -> TimerKey {
        let waker = self.kept(waker);
        let mut timers = self.timers.borrow_mut();
        timers.advance(now);
        timers.insert(deadline, TimerAction::Wake(waker))
    }

    /// Lets a timer that has not fired wake `waker`, and only it; false if it has fired.
    ///
    /// # Panics
    ///
    /// When the reactor is closed.
    pub(crate) fn renew_timer(&self, key: TimerKey, waker: WakerRef<'_>) -> bool {
        match self.timers.borrow_mut().item(key) {
            Some(TimerAction::Wake(known)) if known.will_wake(waker) => return true,
            // A closed reactor has no wakers, whether or not their timers have fired.
            None if self.state.get() != State::Closed => return false,
            _ => {}
        }
        let mut action = TimerAction::Wake(self.kept(waker));
        if let Some(known) = self.timers.borrow_mut().item(key) {
            std::mem::swap(known, &mut action);
        }
        quiet::quietly(|| drop(action));
        true
    }

    /// Moves a timer that has not fired; false if it has.
    pub(crate) fn reset_timer(&self, key: TimerKey, deadline: u64) -> bool {
        let mut timers = self.timers.borrow_mut();
        let is_pending = timers.item(key).is_some();
        if is_pending {
            timers.reset(key, deadline);
        }
        is_pending
    }

    /// Frees a timer.
    pub(crate) fn remove_timer(&self, key: TimerKey) {
        let action = self.timers.borrow_mut().remove(key);
        quiet::quietly(|| drop(action));
    }
}

impl Reactor {
    /// Keeps a waker.
    ///
    /// # Panics
    ///
    /// When the reactor is closed, perhaps by the clone of a foreign waker: a timer of it never fires,
    /// and the waiter would not be woken.
    #[inline]
    fn kept(&self, waker: WakerRef<'_>) -> StoredWaker {
        let waker = waker.store();
        if self.state.get() == State::Closed {
            // A drop that panics while a panic unwinds would end the process.
            quiet::quietly(|| drop(waker));
            closed();
        }
        waker
    }
}

#[cold]
fn closed() -> ! {
    panic!("the runtime has been dropped, so a timer that is polled in it could never fire")
}
