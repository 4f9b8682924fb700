//! Which structure should hold the deadlines? The wheel beside a 4-ary heap, in one process.
//!
//! `timers [ROUNDS]` prints nanoseconds per operation, medians of interleaved rounds, with 1, 10 thousand
//! and 1 million timers pending: inserting and cancelling a timer with a deadline among the others (as a
//! timeout does), and inserting and firing all. `timers count STRUCTURE PENDING OPERATIONS` does the
//! former once, for callgrind.

mod heap;
#[path = "../../../../src/reactor/timers.rs"]
#[expect(dead_code, reason = "the reactor uses more of it")]
mod wheel;

use std::env;
use std::hint::black_box;
use std::time::Instant;

use heap::Heap;
use wheel::{Key, Timers};

/// What both structures do.
trait Deadlines {
    type Key: Copy;
    fn new() -> Self;
    fn insert(&mut self, deadline: u64) -> Self::Key;
    fn remove(&mut self, key: Self::Key);
    fn fire(&mut self, now: u64) -> u64;
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

    fn fire(&mut self, now: u64) -> u64 {
        let mut count = 0;
        self.fire(now, |_| count += 1);
        count
    }
}

struct Wheel(Timers<u64>);

impl Deadlines for Wheel {
    type Key = Key;

    fn new() -> Self {
        Self(Timers::new(START))
    }

    fn insert(&mut self, deadline: u64) -> Key {
        self.0.insert(deadline, deadline)
    }

    fn remove(&mut self, key: Key) {
        self.0.remove(key);
    }

    fn fire(&mut self, now: u64) -> u64 {
        let mut fired = Vec::new();
        self.0.fire(now, |key, _| fired.push(key));
        for &key in &fired {
            self.0.remove(key);
        }
        fired.len() as u64
    }
}

/// An arbitrary reading of the clock, a day after the start.
const START: u64 = 86_400_000_000_000;
/// Deadlines lie within a minute.
const SPAN: u64 = 60_000_000_000;

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

/// Inserts timers and cancels them soon after, 64 at a time.
fn churn<D: Deadlines>(deadlines: &mut D, operations: u64, random: &mut Random) {
    for _ in 0..operations / 64 {
        let keys: [_; 64] = std::array::from_fn(|_| deadlines.insert(black_box(random.deadline())));
        for key in keys {
            deadlines.remove(black_box(key));
        }
    }
}

/// Lets all fire, in steps of a ten-thousandth of the span.
fn drain<D: Deadlines>(deadlines: &mut D) -> u64 {
    let steps = 10_000;
    (1..=steps)
        .map(|step| deadlines.fire(START + SPAN / steps * step))
        .sum()
}

fn nanos_per(operations: u64, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64 / operations as f64
}

fn measure<D: Deadlines>(pending: u64) -> (f64, f64) {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut deadlines: D = filled(pending, &mut random);
    let operations = 640_000;
    let churned = nanos_per(operations, || {
        churn(&mut deadlines, operations, &mut random)
    });
    let filled_and_drained = nanos_per(pending, || {
        let mut deadlines: D = filled(pending, &mut random);
        assert_eq!(drain(&mut deadlines), pending);
    });
    (churned, filled_and_drained)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let number = |place: usize| arguments.get(place).and_then(|text| text.parse().ok());
    if arguments.first().is_some_and(|first| first == "count") {
        let (pending, operations) = (number(2).unwrap_or(1), number(3).unwrap_or(64_000));
        let mut random = Random(1);
        match arguments.get(1).map(String::as_str) {
            Some("heap") => churn(
                &mut filled::<Heap>(pending, &mut random),
                operations,
                &mut random,
            ),
            _ => churn(
                &mut filled::<Wheel>(pending, &mut random),
                operations,
                &mut random,
            ),
        }
        return;
    }
    let rounds = number(0).unwrap_or(5);
    println!("pending  structure  insert+cancel ns  insert+fire ns");
    for pending in [1, 10_000, 1_000_000] {
        let (mut wheel, mut heap) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            wheel.push(measure::<Wheel>(pending));
            heap.push(measure::<Heap>(pending));
        }
        for (name, results) in [("wheel", wheel), ("heap", heap)] {
            let (churned, drained): (Vec<_>, Vec<_>) = results.into_iter().unzip();
            println!(
                "{pending:>7}  {name:<9}  {:>16.1}  {:>14.1}",
                median(churned),
                median(drained)
            );
        }
    }
}
