//! Timers: a sleep, an interval that keeps its schedule, and a limit on a future that takes too long.
//!
//! Run it with `cargo run --release --example timers`.

use std::cell::Cell;
use std::rc::Rc;

use runtime::time::{Duration, Instant, MissedTickBehavior, interval, sleep, timeout};

#[runtime::main]
async fn main() {
    let start = Instant::now();
    sleep(Duration::from_millis(20)).await;
    println!("slept for 20 ms, which took {:?}", start.elapsed());

    // A task ticks in the background while this one goes on.
    let count = Rc::new(Cell::new(0));
    let ticking = runtime::spawn(tick(Rc::clone(&count)));

    match timeout(Duration::from_millis(100), fetch(30)).await {
        Ok(answer) => println!("the quick one answered {answer}"),
        Err(elapsed) => println!("the quick one: {elapsed}"),
    }
    match timeout(Duration::from_millis(100), fetch(3_600_000)).await {
        Ok(answer) => println!("the slow one answered {answer}"),
        Err(elapsed) => println!("the slow one: {elapsed}"),
    }

    ticking.abort();
    println!("{} ticks in {:?}", count.get(), start.elapsed());
}

/// Counts a tick each 25 ms; each is due a whole number of periods after the first, so none drifts.
async fn tick(count: Rc<Cell<u32>>) {
    let mut ticks = interval(Duration::from_millis(25));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let first = ticks.tick().await;
    loop {
        let due = ticks.tick().await;
        count.set(count.get() + 1);
        println!("  tick at {:?}, {:?} late", due - first, due.elapsed());
    }
}

/// Stands for a request whose answer takes that many milliseconds.
async fn fetch(millis: u64) -> u32 {
    sleep(Duration::from_millis(millis)).await;
    42
}
