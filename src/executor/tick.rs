//! How long a tick lasts: limits of polls, budget and time.
//!
//! Called by `executor` around each poll, and by tasks that ask whether they should yield.
//!
//! The clock is read between polls, after as many as should take a quarter of the time slice by what the last ones
//! took, and after [`STRETCH`] at the most; after the thread has waited, first after [`AFTER_WAIT`]. So tasks of
//! nanoseconds read it once in 61 polls, and tasks of many microseconds before the slice is over by more than a quarter.

use std::cell::Cell;

use crate::clock;

/// A tick ends after this many polls that use up their budget, so that flooded connections do not delay the
/// next turn of the reactor.
const FULL_POLLS: i64 = 2;

/// How many polls pass at most between two readings of the clock.
const STRETCH: u32 = 64;

/// How many at most after the thread has waited: what became due may take longer than what was before.
const AFTER_WAIT: u32 = 16;

/// The reactor need not be turned again within this time, in nanoseconds.
const RECENT: u64 = 5_000;

/// What a tick has left.
#[derive(Debug)]
pub(super) struct TickLimits {
    polls_per_tick: u32,
    slice: u64,
    /// Polls until the clock is read.
    polls: Cell<u32>,
    /// Polls after that.
    further: Cell<u32>,
    /// Of the budget.
    units: Cell<i64>,
    /// How many polls are to pass between two readings.
    stretch: Cell<u32>,
    /// The first reading in this tick.
    start: Cell<Option<u64>>,
    /// The last reading, if the thread has not waited since.
    last: Cell<Option<u64>>,
    /// The last reading before the reactor was turned.
    turned: Cell<Option<u64>>,
    /// The tick ended because it had all its polls.
    is_full: Cell<bool>,
}

impl TickLimits {
    pub(super) fn new(polls_per_tick: u32, slice: u64) -> Self {
        Self {
            polls_per_tick,
            slice,
            polls: Cell::new(0),
            further: Cell::new(0),
            units: Cell::new(0),
            stretch: Cell::new(polls_per_tick.min(AFTER_WAIT)),
            start: Cell::new(None),
            last: Cell::new(None),
            turned: Cell::new(None),
            is_full: Cell::new(false),
        }
    }

    /// Begins a tick whose polls may consume as much as [`FULL_POLLS`] full ones.
    pub(super) fn begin(&self, units_per_poll: i64) {
        if !self.is_full.replace(false) {
            // Something else than polls came after the last reading.
            self.last.set(None);
        }
        self.start.set(None);
        self.units.set(units_per_poll * FULL_POLLS);
        self.begin_stretch(self.polls_per_tick);
    }

    fn begin_stretch(&self, polls: u32) {
        let stretch = self.stretch.get().min(polls);
        self.polls.set(stretch);
        self.further.set(polls - stretch);
    }

    /// Takes one poll; false if the tick is over.
    #[inline]
    pub(super) fn take_poll(&self) -> bool {
        match self.polls.get().checked_sub(1) {
            Some(polls) => self.polls.set(polls),
            None => return self.go_on(),
        }
        true
    }

    /// Takes what a poll consumed.
    #[inline]
    pub(super) fn charge(&self, units: i64) {
        let left = self.units.get() - units;
        self.units.set(left);
        if left <= 0 {
            self.end();
        }
    }

    /// Lets no further poll begin in this tick.
    fn end(&self) {
        self.polls.set(0);
        self.further.set(0);
    }

    /// Takes a poll of the next stretch, unless the tick is over.
    #[cold]
    #[inline(never)]
    fn go_on(&self) -> bool {
        if self.units.get() <= 0 {
            return false;
        }
        let now = clock::now_ns();
        if let Some(last) = self.last.replace(Some(now)) {
            self.adapt(now - last);
        }
        let further = self.further.get();
        self.is_full.set(further == 0);
        if further == 0 || self.is_over(now) {
            self.end();
            return false;
        }
        self.begin_stretch(further);
        self.polls.set(self.polls.get() - 1);
        true
    }

    /// Sets the next stretch by how long the last one took.
    fn adapt(&self, elapsed: u64) {
        let quarter = (self.slice / 4).saturating_mul(self.stretch.get().into());
        let stretch = quarter / elapsed.max(1);
        let longest = self.polls_per_tick.min(STRETCH);
        self.stretch
            .set(u32::try_from(stretch).unwrap_or(longest).clamp(1, longest));
    }

    /// Whether the tick has had its time, which begins with the first question.
    fn is_over(&self, now: u64) -> bool {
        let start = self.start.get().unwrap_or(now);
        self.start.set(Some(start));
        now - start >= self.slice
    }

    /// Whether the tick has had its time; if so, the poll that asks is its last one.
    pub(super) fn should_end(&self) -> bool {
        let is_over = self.is_over(clock::now_ns());
        if is_over {
            self.end();
        }
        is_over
    }

    /// Notes that the reactor is turned now, and whether the thread waits there.
    #[inline]
    pub(super) fn on_turn(&self, waits: bool) {
        if waits {
            self.stretch.set(self.stretch.get().min(AFTER_WAIT));
        }
        let now = if waits { None } else { self.last.get() };
        self.last.set(now);
        self.turned.set(now);
    }

    /// Whether the tick had all its polls and the reactor was turned but microseconds before its end.
    #[inline]
    pub(super) fn is_turn_recent(&self) -> bool {
        let times = self.last.get().zip(self.turned.get());
        self.is_full.get() && times.is_some_and(|(last, turned)| last - turned < RECENT)
    }
}
