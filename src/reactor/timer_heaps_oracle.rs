//! The heaps of timers against a sorted map: what fires, in which order, and when the loop has to wake for it.
//!
//! Under test the order of timers wraps after 21 insertions, and memory is given back from 8 timers on.
//!
//! # Not here
//!
//! Examples of single rules (`timer_heaps`).

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::timer_heaps::{Key, TimerHeaps};

/// One heap takes so many bits of a distance.
const BITS_PER_HEAP: u32 = 3;
const HEAPS: u32 = u64::BITS.div_ceil(BITS_PER_HEAP);
const DAY: u64 = 24 * 3600 * 1_000_000_000;
const YEAR: u64 = 365 * DAY;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000, // unless `PROPTEST_CASES` says otherwise
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_heaps_agree_with_a_sorted_map(start in start(), steps in vec(step(), 0..60)) {
        let mut both = Both::new(start);
        for step in steps {
            both.take(step);
            both.check();
        }
        both.end();
    }
}

#[test]
fn deadlines_near_the_limits_of_each_heap_fire_at_their_nanosecond() {
    let mut tried = 0;
    for heap in 0..HEAPS {
        let least = 1_u64 << (heap * BITS_PER_HEAP);
        for start in [0, 1, DAY, YEAR] {
            for distance in [1, 2, 7, 8].map(|times| least.saturating_mul(times)) {
                for deadline in around(start.saturating_add(distance)) {
                    if start < deadline {
                        fires_at(start, deadline);
                        tried += 1;
                    }
                }
            }
        }
    }
    assert_eq!(tried, 2408);
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
    let mut timers = TimerHeaps::new(0);
    timers.insert(5000, 0);
    assert_eq!(fired(&mut timers, 5000), [0]);
    timers.insert(5001, 1);
    assert_eq!(fired(&mut timers, 100), []);
    timers.insert(4000, 2);
    assert_eq!(fired(&mut timers, 4999), [2]);
    assert_eq!(timers.next_deadline(), Some(5001));
    assert_eq!(fired(&mut timers, 5001), [1]);
}

/// Checks that a timer set at `start` fires at its deadline, and not a nanosecond before.
fn fires_at(start: u64, deadline: u64) {
    for looks_before in [false, true] {
        let mut timers = TimerHeaps::new(start);
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

fn fired(timers: &mut TimerHeaps<u32>, now: u64) -> Vec<u32> {
    std::iter::from_fn(|| timers.pop_due(now))
        .map(|(_, item)| item)
        .collect()
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

/// The heaps, and a map that should agree with it.
struct Both {
    timers: TimerHeaps<u32>,
    pending: BTreeMap<Place, u32>,
    /// All timers that were not removed, pending or fired.
    keys: Vec<(Key, Place)>,
    now: u64,
    /// When timers were last fired.
    elapsed: u64,
    set: u32,
}

impl Both {
    fn new(start: u64) -> Self {
        Self {
            timers: TimerHeaps::new(start),
            pending: BTreeMap::new(),
            keys: Vec::new(),
            now: start,
            elapsed: start,
            set: 0,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Insert(time) => self.insert(time.at(self.now)),
            Step::InsertMany(time, count, seed) => {
                self.insert_many(time.at(self.now), count, seed);
            }
            Step::RemoveMany(count, seed) => {
                let mut random = Random(seed | 1);
                for _ in 0..count.min(self.keys.len()) {
                    self.remove(random.below(self.keys.len()));
                }
            }
            Step::Remove(at) if !self.keys.is_empty() => self.remove(at % self.keys.len()),
            Step::Reset(at, time) if !self.keys.is_empty() => {
                self.reset(at % self.keys.len(), time.at(self.now));
            }
            Step::Remove(_) | Step::Reset(..) => {}
            Step::Advance(time) => {
                self.now = self.now.max(time.at(self.now));
                self.fire();
            }
            Step::AdvanceAndMeddle(time, seed) => {
                self.now = self.now.max(time.at(self.now));
                self.fire_and_meddle(seed);
                self.fire();
            }
            Step::Wait => self.wait(),
        }
    }

    fn insert(&mut self, deadline: u64) {
        if self.set.is_multiple_of(3) {
            self.elapsed = self.elapsed.max(self.now);
            self.timers.advance(self.now);
        }
        let place = self.place(deadline);
        let item = place.1;
        let key = self.timers.insert(deadline, item);
        self.pending.insert(place, item);
        self.keys.push((key, place));
    }

    fn remove(&mut self, at: usize) {
        let (key, place) = self.keys.swap_remove(at);
        let item = self.pending.remove(&place);
        assert_eq!(self.timers.item(key).copied(), item);
        assert_eq!(self.timers.remove(key), item);
    }

    fn reset(&mut self, at: usize, deadline: u64) {
        let (key, place) = self.keys[at];
        self.timers.reset(key, deadline);
        if let Some(item) = self.pending.remove(&place) {
            let place = self.place(deadline);
            self.pending.insert(place, item);
            self.keys[at].1 = place;
        }
    }

    /// Waits as the loop does: until something is due.
    fn wait(&mut self) {
        if let Some(next) = self.timers.next_deadline() {
            self.now = self.now.max(next);
            assert!(self.fire() > 0, "the loop is woken for nothing");
        }
    }

    /// Fires what is due now; how much that was.
    fn fire(&mut self) -> usize {
        self.elapsed = self.now;
        let due = take_due(&mut self.pending, self.now);
        assert_eq!(fired(&mut self.timers, self.now), due, "at {}", self.now);
        due.len()
    }

    /// Fires what is due now, while each that fires is removed, or removes or resets another, or sets a new one.
    fn fire_and_meddle(&mut self, seed: u64) {
        let mut random = Random(seed | 1);
        self.elapsed = self.now;
        for _ in 0..100 {
            let first = self.pending.first_key_value();
            let due = first.filter(|((deadline, _), _)| *deadline <= self.now);
            let due = due.map(|(&place, &item)| (place, item));
            let popped = self.timers.pop_due(self.now);
            assert_eq!(popped.map(|(_, item)| item), due.map(|(_, item)| item));
            let Some((place, _)) = due else { return };
            self.pending.remove(&place);
            let at = random.below(self.keys.len());
            match random.below(4) {
                0 => self.remove_fired(place),
                1 => self.remove(at),
                2 => self.reset(at, self.now.saturating_add(random.next() % 3)),
                _ => self.insert((self.now - 1).saturating_add(random.next() % 4)),
            }
            self.check();
        }
    }

    fn remove_fired(&mut self, place: Place) {
        let at = self.keys.iter().position(|&(_, other)| other == place);
        self.remove(at.expect("what fired was not removed"));
    }

    /// Inserts many, closely together and in random order; some are equal.
    fn insert_many(&mut self, first: u64, count: u64, seed: u64) {
        let mut random = Random(seed | 1);
        for _ in 0..count {
            self.insert(first.saturating_add(random.next() % (2 * count)));
        }
    }

    fn place(&mut self, deadline: u64) -> Place {
        self.set += 1;
        // What is overdue queues behind the others that are.
        (deadline.max(self.elapsed), self.set - 1)
    }

    fn check(&self) {
        let earliest = self.pending.keys().next().map(|&(deadline, _)| deadline);
        let next = self.timers.next_deadline();
        assert_eq!(self.timers.is_empty(), earliest.is_none());
        assert_eq!(next, earliest);
        assert_eq!(self.timers.len(), self.keys.len());
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
        while !self.pending.is_empty() {
            self.wait();
            self.check();
        }
        for (key, _) in self.keys {
            assert_eq!(self.timers.remove(key), None);
        }
        assert!(self.timers.is_empty());
    }
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("it is less than a `usize`")
    }
}

/// What a test program does to the timers; the numbers choose one of those that are there.
#[derive(Clone, Debug)]
enum Step {
    Insert(Time),
    /// So many from that time on, in an order that the seed tells.
    InsertMany(Time, u64, u64),
    RemoveMany(usize, u64),
    Remove(usize),
    Reset(usize, Time),
    Advance(Time),
    /// While timers fire, others are removed, reset and set.
    AdvanceAndMeddle(Time, u64),
    Wait,
}

/// A time, as seen from the present.
#[derive(Clone, Copy, Debug)]
enum Time {
    In(u64),
    /// It may have passed.
    At(u64),
    /// As far away as the nearest of a heap's, and a few nanoseconds less or more.
    HeapOf(u32, i64),
}

impl Time {
    fn at(self, now: u64) -> u64 {
        match self {
            Self::In(distance) => now.saturating_add(distance),
            Self::At(time) => time,
            Self::HeapOf(heap, offset) => {
                let least = 1_u64 << (heap * BITS_PER_HEAP);
                now.saturating_add(least).saturating_add_signed(offset)
            }
        }
    }
}

fn start() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => 0..10_u64,
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
        4 => (0..HEAPS, -3..=3_i64).prop_map(|(heap, offset)| Time::HeapOf(heap, offset)),
        1 => start().prop_map(Time::At),
        1 => any::<u64>().prop_map(Time::In),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => time().prop_map(Step::Insert),
        1 => (time(), 1..80_u64, any::<u64>())
            .prop_map(|(time, count, seed)| Step::InsertMany(time, count, seed)),
        1 => (1..80_usize, any::<u64>()).prop_map(|(count, seed)| Step::RemoveMany(count, seed)),
        1 => (time(), any::<u64>()).prop_map(|(time, seed)| Step::AdvanceAndMeddle(time, seed)),
        1 => any::<usize>().prop_map(Step::Remove),
        2 => (any::<usize>(), time()).prop_map(|(at, time)| Step::Reset(at, time)),
        1 => time().prop_map(Step::Advance),
        3 => Just(Step::Wait),
    ]
}
