//! Timers by hand: an ordered map of deadlines, one timerfd, and epoll.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::alarm::Timer;
use super::epoll::Epoll;
use super::per_operation;
use crate::samples::{Random, Samples};
use crate::scenarios::lateness::{
    LEAD, SPREAD, lateness, nanoseconds_since, processor_time, shuffled, volley_metrics,
};
use crate::scenarios::timers::{duration, durations};

/// Deadlines and, as two timers may have the same, their numbers.
type Deadlines = BTreeSet<(Instant, u64)>;

/// Inserts and removes a deadline, beside others, all at random times.
pub(super) fn set_and_drop(pending: u64, count: u64) -> Value {
    let mut random = Random::default();
    let mut deadlines = Deadlines::new();
    for number in 0..pending {
        deadlines.insert((Instant::now() + duration(&mut random), number));
    }
    let durations = durations(&mut random);
    per_operation(count, |count| {
        for (number, &duration) in (pending..pending + count).zip(durations.iter().cycle()) {
            let deadline = (Instant::now() + duration, number);
            deadlines.insert(black_box(deadline));
            deadlines.remove(black_box(&deadline));
        }
    })
}

/// A thread that sleeps until a time.
struct Sleeper {
    epoll: Epoll,
    timer: Timer,
}

impl Sleeper {
    fn new() -> io::Result<Self> {
        let (epoll, timer) = (Epoll::new()?, Timer::new()?);
        epoll.add(&timer, 0, libc::EPOLLIN)?;
        Ok(Self { epoll, timer })
    }

    fn sleep(&mut self, duration: Duration) -> io::Result<()> {
        self.timer.set(duration)?;
        self.epoll.wait(true).map(drop)
    }
}

/// Sleeps one after the other; the metrics are how late they end.
pub(super) fn sleeps(micros: u64, count: u64) -> io::Result<Value> {
    let mut sleeper = Sleeper::new()?;
    let duration = Duration::from_micros(micros);
    let mut samples = Samples::with_capacity(count);
    for _ in 0..count {
        let deadline = Instant::now() + duration;
        sleeper.sleep(duration)?;
        samples.push(nanoseconds_since(deadline));
    }
    Ok(lateness(samples))
}

/// Fires timers that are spread evenly over a second, from an ordered set.
pub(super) fn fire(count: u64) -> io::Result<Value> {
    let mut sleeper = Sleeper::new()?;
    let mut samples = Samples::with_capacity(count);
    let count_32 = u32::try_from(count).expect("there are fewer than 4 billion timers");
    let start = Instant::now() + Duration::from_millis(100) + LEAD * count_32;
    // One by one, as timers come: `collect` would sort them first.
    let mut deadlines = Deadlines::new();
    for number in shuffled(count_32) {
        deadlines.insert((start + SPREAD * number / count_32, number.into()));
    }
    sleeper.sleep(start - Duration::from_millis(5) - Instant::now())?;
    let before = processor_time();
    while let Some(&(deadline, _)) = deadlines.first() {
        let now = Instant::now();
        if deadline > now {
            sleeper.sleep(deadline - now)?;
        } else {
            deadlines.pop_first();
            samples.push(nanoseconds_since(deadline));
        }
    }
    let used = processor_time() - before;
    Ok(volley_metrics(samples, used, count))
}
