//! Timers of all lengths, reset and dropped, and intervals.

use fastrand::Rng;
use runtime::time::{Duration, Instant, Timer, interval, sleep, timeout};

/// Several timers at once: none is early, also after a reset, and those that are far end with their drop.
pub(crate) async fn timers(random: &mut Rng) {
    let mut timers: Vec<_> = (0..random.usize(1..16))
        .map(|_| sleep(length(random)))
        .collect();
    for timer in &mut timers {
        // Registers it, or finds it over.
        let _ = timeout(Duration::ZERO, &mut *timer).await;
        if random.bool() {
            timer.reset(Instant::now() + length(random));
        }
    }
    let near = Instant::now() + Duration::from_secs(1);
    for mut timer in timers {
        if timer.deadline() < near {
            wait(&mut timer).await;
        }
    }
}

async fn wait(timer: &mut Timer) {
    let deadline = timer.deadline();
    timer.await;
    assert!(Instant::now() >= deadline, "a timer was early");
}

/// Nanoseconds to milliseconds, or hours and centuries.
fn length(random: &mut Rng) -> Duration {
    match random.u8(..8) {
        0 => Duration::from_secs(random.u64(3_600..)),
        1..3 => Duration::from_nanos(random.u64(..2_000)),
        3..6 => Duration::from_nanos(random.u64(..200_000)),
        _ => Duration::from_nanos(random.u64(..5_000_000)),
    }
}

/// A few ticks of an interval, which are as far apart as its schedule says.
pub(crate) async fn ticks(random: &mut Rng) {
    let period = Duration::from_nanos(random.u64(1..300_000));
    let mut ticks = interval(period);
    let first = ticks.tick().await;
    for count in 1..=random.u32(1..5) {
        let tick = ticks.tick().await;
        assert_eq!(tick - first, period * count);
        assert!(Instant::now() >= tick, "a tick was early");
    }
}
