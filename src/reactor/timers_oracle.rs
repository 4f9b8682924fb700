//! The timer wheel against a sorted map: what fires, in which order, and how often it wakes too early.
//!
//! # Not here
//!
//! Examples of single rules (`timers`).

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::timers::{Key, Timers};

/// One level of the wheel takes so many bits of a time.
const DIGIT_BITS: u32 = 6;
const LEVELS: u32 = u64::BITS.div_ceil(DIGIT_BITS);
const DAY: u64 = 24 * 3600 * 1_000_000_000;
const YEAR: u64 = 365 * DAY;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000, // unless `PROPTEST_CASES` says otherwise
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_wheel_agrees_with_a_sorted_map(start in start(), steps in vec(step(), 0..60)) {
        let mut both = Both::new(start);
        for step in steps {
            both.take(step);
            both.check();
        }
        both.end();
    }
}

#[test]
fn deadlines_near_each_carry_fire_at_their_nanosecond_from_each_start_near_it() {
    let mut tried = 0;
    for level in 0..LEVELS {
        let carry = 1_u64 << (level * DIGIT_BITS);
        for start in around(carry) {
            for deadline in [1, 2, 63, 64].map(|digit| carry.saturating_mul(digit)) {
                for deadline in around(deadline).filter(|&deadline| start < deadline) {
                    fires_at(start, deadline);
                    tried += 1;
                }
            }
        }
    }
    assert_eq!(tried, 1733);
}

#[test]
fn deadlines_years_ahead_and_at_the_end_of_the_clock_fire_at_their_nanosecond() {
    let distances = [1, DAY, 25 * DAY, YEAR, 100 * YEAR, 292 * YEAR, u64::MAX];
    for start in [0, 1, DAY, 12 * DAY, YEAR, 292 * YEAR, u64::MAX - 1] {
        for distance in distances {
            fires_at(start, start.saturating_add(distance));
        }
    }
}

#[test]
fn a_clock_that_goes_back_fires_nothing_before_its_deadline() {
    let mut timers = Timers::new(0);
    timers.insert(5000, 0);
    assert_eq!(fired(&mut timers, 5000), [0]);
    timers.insert(5001, 1);
    assert_eq!(fired(&mut timers, 100), []);
    timers.insert(4000, 2);
    // One nanosecond less, in the same turn of the lowest level.
    assert_eq!(fired(&mut timers, 4999), [2]);
    assert_eq!(timers.next_deadline(), Some(5001));
    assert_eq!(fired(&mut timers, 5001), [1]);
}

/// Checks that a timer set at `start` fires at its deadline, and not a nanosecond before.
fn fires_at(start: u64, deadline: u64) {
    for looks_before in [false, true] {
        let mut timers = Timers::new(start);
        timers.insert(deadline, 7);
        assert_eq!(timers.next_deadline(), Some(deadline), "from {start}");
        if looks_before {
            assert_eq!(fired(&mut timers, deadline - 1), [], "{start}, {deadline}");
            assert_eq!(timers.next_deadline(), Some(deadline), "from {start}");
        }
        assert_eq!(fired(&mut timers, deadline), [7], "{start}, {deadline}");
        assert!(timers.is_empty());
    }
}

/// The times that are at most three nanoseconds away from `time`.
fn around(time: u64) -> impl Iterator<Item = u64> {
    (-3..=3).filter_map(move |offset| time.checked_add_signed(offset))
}

fn fired(timers: &mut Timers<u32>, now: u64) -> Vec<u32> {
    let mut items = Vec::new();
    timers.fire(now, |_, item| items.push(item));
    items
}

/// Takes out what is due at `now`, in the order in which it fires.
fn take_due(pending: &mut BTreeMap<Place, u32>, now: u64) -> Vec<u32> {
    let mut due = Vec::new();
    while let Some(first) = pending.first_entry().filter(|entry| entry.key().0 <= now) {
        due.push(first.remove());
    }
    due
}

/// A deadline, and what tells it from equal ones: how many were set before.
type Place = (u64, u32);

/// The wheel, and a map that should agree with it.
struct Both {
    timers: Timers<u32>,
    pending: BTreeMap<Place, u32>,
    /// All timers that were not removed, pending or fired.
    keys: Vec<(Key, Place)>,
    now: u64,
    set: u32,
    /// How many deadlines were taken back, by removing or resetting a timer.
    taken_back: usize,
    /// How often the loop was woken, and no timer was due.
    early: usize,
}

impl Both {
    fn new(start: u64) -> Self {
        Self {
            timers: Timers::new(start),
            pending: BTreeMap::new(),
            keys: Vec::new(),
            now: start,
            set: 0,
            taken_back: 0,
            early: 0,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Insert(time) => self.insert(time.at(self.now)),
            Step::Remove(at) if !self.keys.is_empty() => self.remove(at % self.keys.len()),
            Step::Reset(at, time) if !self.keys.is_empty() => {
                self.reset(at % self.keys.len(), time.at(self.now));
            }
            Step::Remove(_) | Step::Reset(..) => {}
            Step::Advance(time) => {
                self.now = self.now.max(time.at(self.now));
                self.fire();
            }
            Step::Wait => self.wait(),
        }
    }

    fn insert(&mut self, deadline: u64) {
        let place = self.place(deadline);
        let item = place.1;
        let key = self.timers.insert(deadline, item);
        self.pending.insert(place, item);
        self.keys.push((key, place));
    }

    fn remove(&mut self, at: usize) {
        let (key, place) = self.keys.swap_remove(at);
        let item = self.pending.remove(&place);
        self.taken_back += usize::from(item.is_some());
        assert_eq!(self.timers.item(key).copied(), item);
        assert_eq!(self.timers.remove(key), item);
    }

    fn reset(&mut self, at: usize, deadline: u64) {
        let (key, place) = self.keys[at];
        self.timers.reset(key, deadline);
        if let Some(item) = self.pending.remove(&place) {
            self.taken_back += 1;
            let place = self.place(deadline);
            self.pending.insert(place, item);
            self.keys[at].1 = place;
        }
    }

    /// Waits as the loop does: until the wheel says that something may be due.
    fn wait(&mut self) {
        if let Some(next) = self.timers.next_deadline() {
            self.now = self.now.max(next);
            self.early += usize::from(!self.fire());
        }
    }

    /// Fires what is due now; true if that was anything.
    fn fire(&mut self) -> bool {
        let due = take_due(&mut self.pending, self.now);
        assert_eq!(fired(&mut self.timers, self.now), due, "at {}", self.now);
        !due.is_empty()
    }

    fn place(&mut self, deadline: u64) -> Place {
        self.set += 1;
        (deadline, self.set - 1)
    }

    fn check(&self) {
        let earliest = self.pending.keys().next().map(|&(deadline, _)| deadline);
        let next = self.timers.next_deadline();
        assert_eq!(self.timers.is_empty(), earliest.is_none());
        assert_eq!(next.is_none(), earliest.is_none());
        assert!(next <= earliest, "{next:?} is after {earliest:?}");
        if self.taken_back == 0 {
            assert_eq!(next, earliest);
        }
        assert!(
            self.early <= self.taken_back,
            "each deadline that was taken back costs one early wake at the most"
        );
    }

    /// Waits for whatever is left, or takes it out, and checks that then nothing is.
    fn end(mut self) {
        if self.set.is_multiple_of(2) {
            let mut items = Vec::from_iter(self.timers.take_items());
            items.sort_unstable();
            let mut left = Vec::from_iter(std::mem::take(&mut self.pending).into_values());
            left.sort_unstable();
            assert_eq!(items, left);
        }
        // Each wait fires a timer, or is one of the early ones, which `check` counts.
        for _ in 0..=self.pending.len() + self.taken_back {
            self.wait();
            self.check();
        }
        assert!(self.pending.is_empty(), "waiting has no end");
        for (key, _) in self.keys {
            assert_eq!(self.timers.remove(key), None);
        }
        assert!(self.timers.is_empty());
    }
}

/// What a test program does to the timers; the numbers choose one of those that are there.
#[derive(Clone, Debug)]
enum Step {
    Insert(Time),
    Remove(usize),
    Reset(usize, Time),
    Advance(Time),
    Wait,
}

/// A time, as seen from the present.
#[derive(Clone, Copy, Debug)]
enum Time {
    In(u64),
    /// It may have passed.
    At(u64),
    /// When the digit of a level next carries, and a few nanoseconds before or after.
    NextCarry(u32, i64),
}

impl Time {
    fn at(self, now: u64) -> u64 {
        match self {
            Self::In(distance) => now.saturating_add(distance),
            Self::At(time) => time,
            Self::NextCarry(level, offset) => {
                let unit = 1_u64 << (level * DIGIT_BITS);
                let carry = (now / unit).saturating_add(1).saturating_mul(unit);
                carry.saturating_add_signed(offset)
            }
        }
    }
}

fn start() -> impl Strategy<Value = u64> {
    let carry = (0..LEVELS, 1..64_u64, -3..=3_i64).prop_map(|(level, digit, offset)| {
        let carry = digit.saturating_mul(1 << (level * DIGIT_BITS));
        carry.saturating_add_signed(offset)
    });
    prop_oneof![
        4 => carry,
        1 => (0..100_u64).prop_map(|years| years * YEAR),
        1 => (0..5_u64).prop_map(|left| u64::MAX - left),
        1 => any::<u64>(),
    ]
}

fn time() -> impl Strategy<Value = Time> {
    let power = (0..u64::BITS, -3..=3_i64);
    prop_oneof![
        2 => (0..100_u64).prop_map(Time::In),
        2 => power.prop_map(|(bit, offset)| Time::In((1_u64 << bit).saturating_add_signed(offset))),
        4 => (0..LEVELS, -3..=3_i64).prop_map(|(level, offset)| Time::NextCarry(level, offset)),
        1 => start().prop_map(Time::At),
        1 => any::<u64>().prop_map(Time::In),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => time().prop_map(Step::Insert),
        1 => any::<usize>().prop_map(Step::Remove),
        2 => (any::<usize>(), time()).prop_map(|(at, time)| Step::Reset(at, time)),
        1 => time().prop_map(Step::Advance),
        3 => Just(Step::Wait),
    ]
}
