//! Which structure should hold the deadlines? The runtime's heaps by magnitude, one heap, and a wheel, in one process.
//!
//! `timers [ROUNDS]` prints medians of interleaved rounds, beside 1, 100, 10 thousand and 1 million pending timers whose
//! deadlines are evenly spread over a minute and were inserted in random order: nanoseconds to insert and cancel a timer
//! alone (as a timeout does), and among 64; to insert and fire one; and how long turns take that fire 16 or fewer, at most and at the
//! 99.9th percentile.
//! `timers count STRUCTURE BATCH PENDING OPERATIONS` inserts and cancels, for callgrind.

mod heap;
#[path = "../../../../src/reactor/timer_heaps.rs"]
#[expect(dead_code, reason = "the reactor uses more of it")]
mod timer_heaps;
mod wheel;

use std::env;
use std::hint::black_box;
use std::time::Instant;

use heap::Heap;
use timer_heaps::TimerHeaps;
use wheel::Wheel;

/// What all structures do.
trait Deadlines {
    type Key: Copy;
    fn new() -> Self;
    fn insert(&mut self, deadline: u64) -> Self::Key;
    fn remove(&mut self, key: Self::Key);
    fn next_deadline(&self) -> Option<u64>;
    /// Fires and frees what is due.
    fn fire(&mut self, now: u64) -> u64;
}

/// What a timer does when it fires takes as much room as in the runtime.
type Item = [u64; 3];

impl Deadlines for TimerHeaps<Item> {
    type Key = timer_heaps::Key;

    fn new() -> Self {
        Self::new(START)
    }

    fn insert(&mut self, deadline: u64) -> Self::Key {
        self.insert(deadline, [deadline; 3])
    }

    fn remove(&mut self, key: Self::Key) {
        self.remove(key);
    }

    fn next_deadline(&self) -> Option<u64> {
        self.next_deadline()
    }

    fn fire(&mut self, now: u64) -> u64 {
        let mut count = 0;
        while let Some((key, item)) = self.pop_due(now) {
            self.remove(key);
            black_box(item);
            count += 1;
        }
        count
    }
}

impl Deadlines for Heap {
    type Key = u32;

    fn new() -> Self {
        Self::default()
    }

    fn insert(&mut self, deadline: u64) -> u32 {
        self.insert(deadline)
    }

    fn remove(&mut self, key: u32) {
        self.remove(key);
    }

    fn next_deadline(&self) -> Option<u64> {
        self.next_deadline()
    }

    fn fire(&mut self, now: u64) -> u64 {
        let mut count = 0;
        self.fire(now, |_| count += 1);
        count
    }
}

impl Deadlines for Wheel<Item> {
    type Key = wheel::Key;

    fn new() -> Self {
        Self::new(START)
    }

    fn insert(&mut self, deadline: u64) -> Self::Key {
        self.insert(deadline, [deadline; 3])
    }

    fn remove(&mut self, key: Self::Key) {
        self.remove(key);
    }

    fn next_deadline(&self) -> Option<u64> {
        self.next_deadline()
    }

    fn fire(&mut self, now: u64) -> u64 {
        let mut fired = Vec::new();
        self.fire(now, |key, _| fired.push(key));
        for &key in &fired {
            self.remove(key);
        }
        fired.len() as u64
    }
}

/// An arbitrary reading of the clock, a day after the start.
const START: u64 = 86_400_000_000_000;
/// Deadlines lie within a minute.
const SPAN: u64 = 60_000_000_000;
/// So many timers are set before they are cancelled in one of the measurements.
const BATCH: u64 = 64;
/// A turn that fires no more is to be short.
const FEW: u64 = 16;

/// Marsaglia's xorshift: the same numbers in each run.
struct Random(u64);

impl Random {
    fn deadline(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        START + self.0 % SPAN
    }
}

fn filled<D: Deadlines>(pending: u64, random: &mut Random) -> D {
    let mut deadlines = D::new();
    for _ in 0..pending {
        deadlines.insert(random.deadline());
    }
    deadlines
}

/// Inserts timers and cancels them soon after, `batch` at a time.
fn churn<D: Deadlines>(deadlines: &mut D, batch: u64, operations: u64, random: &mut Random) {
    let mut keys = Vec::with_capacity(64);
    for _ in 0..operations / batch {
        keys.extend((0..batch).map(|_| deadlines.insert(black_box(random.deadline()))));
        for key in keys.drain(..) {
            deadlines.remove(black_box(key));
        }
    }
}

/// Lets all fire, some eight a turn; returns how long turns took that fired few, at most and at the 99.9th percentile.
fn drain<D: Deadlines>(deadlines: &mut D, pending: u64) -> (u64, u64) {
    let mut turns = Vec::new();
    let mut fired = 0;
    while let Some(next) = deadlines.next_deadline() {
        let now = next + SPAN / pending * FEW / 2;
        let start = Instant::now();
        let count = deadlines.fire(now);
        let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if count <= FEW {
            turns.push(took);
        }
        fired += count;
    }
    assert_eq!(fired, pending);
    turns.sort_unstable();
    (turns[turns.len() - 1], turns[turns.len() * 999 / 1000])
}

fn nanos_per(operations: u64, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64 / operations as f64
}

/// In the order of [`COLUMNS`].
type Results = [f64; COLUMNS.len()];

const COLUMNS: [&str; 5] = [
    "alone ns",
    "of 64 ns",
    "insert+fire ns",
    "longest turn µs",
    "p99.9 turn µs",
];

fn measure<D: Deadlines>(pending: u64) -> Results {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut deadlines: D = filled(pending, &mut random);
    let operations = 640_000;
    let mut churned = |batch| {
        nanos_per(operations, || {
            churn(&mut deadlines, batch, operations, &mut random)
        })
    };
    let (alone, batch) = (churned(1), churned(BATCH));
    let mut turns = (0, 0);
    let fired = nanos_per(pending, || {
        let mut deadlines: D = filled(pending, &mut random);
        turns = drain(&mut deadlines, pending);
    });
    [
        alone,
        batch,
        fired,
        turns.0 as f64 / 1e3,
        turns.1 as f64 / 1e3,
    ]
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// The structures, by name, and what measures and what only churns them.
type Measure = fn(u64) -> Results;
type Churn = fn(u64, u64, u64);

const STRUCTURES: [(&str, Measure, Churn); 3] = [
    (
        "heaps",
        measure::<TimerHeaps<Item>>,
        count::<TimerHeaps<Item>>,
    ),
    ("wheel", measure::<Wheel<Item>>, count::<Wheel<Item>>),
    ("heap", measure::<Heap>, count::<Heap>),
];

fn count<D: Deadlines>(batch: u64, pending: u64, operations: u64) {
    let mut random = Random(1);
    let mut deadlines: D = filled(pending, &mut random);
    churn(&mut deadlines, batch, operations, &mut random);
}

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let number = |place: usize| arguments.get(place).and_then(|text| text.parse().ok());
    if arguments.first().is_some_and(|first| first == "count") {
        let wanted = arguments.get(1).map_or("heaps", String::as_str);
        let structure = STRUCTURES.iter().find(|(name, ..)| *name == wanted);
        let (_, _, count) = structure.expect("a structure is called heaps, wheel or heap");
        let (batch, pending) = (number(2).unwrap_or(1), number(3).unwrap_or(1));
        return count(batch, pending, number(4).unwrap_or(64_000));
    }
    let rounds = number(0).unwrap_or(5);
    println!(
        "{:>9}  structure{}",
        "pending",
        COLUMNS.map(|name| format!("{name:>17}")).concat()
    );
    for pending in [1, 100, 10_000, 1_000_000] {
        let mut results = STRUCTURES.map(|_| Vec::new());
        for _ in 0..rounds {
            for ((_, measure, _), results) in STRUCTURES.iter().zip(&mut results) {
                results.push(measure(pending));
            }
        }
        for ((name, ..), results) in STRUCTURES.iter().zip(&results) {
            print!("{pending:>9}  {name:<9}");
            for column in 0..COLUMNS.len() {
                print!(
                    "{:>17.1}",
                    median(results.iter().map(|result| result[column]).collect())
                );
            }
            println!();
        }
    }
}
