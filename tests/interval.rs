//! An interval keeps to an absolute schedule, and makes up for missed ticks as it was told to.

mod common;

use std::pin::pin;
use std::task::Poll;

use common::panics::panic_of;
use common::run;
use futures::poll;
use runtime::time::{
    Duration, Instant, Interval, MissedTickBehavior, interval, interval_at, sleep_until,
};

const PERIOD: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

/// An interval whose first tick was due some and a half periods ago; its start, and its period, which is
/// long but such that all this lies after the start of the clock.
fn late(periods: u32, policy: MissedTickBehavior) -> (Interval, Instant, Duration) {
    let start_of_clock = Instant::now() - Duration::MAX;
    let period = start_of_clock.elapsed() / 20;
    let start = Instant::now() - period * periods - period / 2;
    let mut ticks = interval_at(start, period);
    ticks.set_missed_tick_behavior(policy);
    assert_eq!(ticks.missed_tick_behavior(), policy);
    (ticks, start, period)
}

#[test]
fn ticks_come_at_the_start_and_then_each_period_never_early_and_without_drift() {
    run(async {
        let start = Instant::now() + PERIOD;
        let mut ticks = interval_at(start, PERIOD);
        assert_eq!(ticks.period(), PERIOD);
        for number in 0..20 {
            let due = ticks.tick().await;
            assert_eq!(due, start + PERIOD * number);
            assert!(Instant::now() >= due);
        }
    });
}

#[test]
fn the_first_tick_of_an_interval_comes_at_once() {
    run(async {
        let before = Instant::now();
        let mut ticks = interval(LONG);
        let after = Instant::now();
        let first = poll!(pin!(ticks.tick()));
        assert!(matches!(first, Poll::Ready(due) if (before..=after).contains(&due)));
        assert!(poll!(pin!(ticks.tick())).is_pending());
    });
}

#[test]
fn burst_is_the_default_and_catches_up_tick_by_tick() {
    run(async {
        let (mut ticks, start, period) = late(5, MissedTickBehavior::default());
        assert_eq!(ticks.missed_tick_behavior(), MissedTickBehavior::Burst);
        for number in 0..=5 {
            assert_eq!(ticks.tick().await, start + period * number);
        }
        assert!(poll!(pin!(ticks.tick())).is_pending(), "it has caught up");
    });
}

#[test]
fn delay_starts_the_schedule_anew_from_the_late_tick() {
    run(async {
        let start = Instant::now() - Duration::from_secs(10);
        let mut ticks = interval_at(start, PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let before = Instant::now();
        assert_eq!(ticks.tick().await, start);
        let after = Instant::now();
        let second = ticks.tick().await;
        assert!((before + PERIOD..=after + PERIOD).contains(&second));
        assert!(Instant::now() >= second);
    });
}

#[test]
fn skip_leaves_out_the_missed_ticks_and_keeps_the_schedule() {
    run(async {
        let start = Instant::now() - Duration::from_secs(10);
        let mut ticks = interval_at(start, PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let before = Instant::now();
        assert_eq!(ticks.tick().await, start);
        let after = Instant::now();
        let second = ticks.tick().await;
        let since_start = (second - start).as_nanos();
        assert_eq!(since_start % PERIOD.as_nanos(), 0, "it is on the schedule");
        assert!(second > before && second <= after + PERIOD);
        let (mut ticks, start, _) = late(7, MissedTickBehavior::Skip);
        assert_eq!(ticks.tick().await, start);
        assert!(poll!(pin!(ticks.tick())).is_pending());
    });
}

#[test]
fn the_policy_can_change_between_ticks() {
    run(async {
        let (mut ticks, start, period) = late(9, MissedTickBehavior::Burst);
        assert_eq!(ticks.tick().await, start);
        assert_eq!(ticks.tick().await, start + period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        assert_eq!(ticks.tick().await, start + period * 2);
        assert!(poll!(pin!(ticks.tick())).is_pending());
    });
}

#[test]
fn a_dropped_tick_takes_nothing() {
    run(async {
        let start = Instant::now() + PERIOD;
        let mut ticks = interval_at(start, PERIOD);
        for _ in 0..10 {
            let _ = poll!(pin!(async {
                sleep_until(start + LONG).await;
                ticks.tick().await
            }));
        }
        assert_eq!(ticks.tick().await, start);
        for _ in 0..10 {
            // Either it is taken here, or it is left for below.
            if let Poll::Ready(due) = poll!(pin!(ticks.tick())) {
                assert_eq!(due, start + PERIOD);
                return;
            }
        }
        assert_eq!(ticks.tick().await, start + PERIOD);
    });
}

#[test]
fn reset_waits_a_whole_period_from_now() {
    run(async {
        let (mut ticks, ..) = late(3, MissedTickBehavior::Burst);
        let before = Instant::now();
        ticks.reset();
        assert!(poll!(pin!(ticks.tick())).is_pending());
        let mut ticks = interval_at(before + LONG, PERIOD);
        assert!(poll!(pin!(ticks.tick())).is_pending());
        let before = Instant::now();
        ticks.reset();
        let after = Instant::now();
        let due = ticks.tick().await;
        assert!((before + PERIOD..=after + PERIOD).contains(&due));
        assert_eq!(ticks.tick().await, due + PERIOD);
    });
}

#[test]
fn reset_immediately_ticks_at_once_and_then_each_period() {
    run(async {
        let mut ticks = interval_at(Instant::now() + LONG, PERIOD);
        assert!(poll!(pin!(ticks.tick())).is_pending());
        let before = Instant::now();
        ticks.reset_immediately();
        let after = Instant::now();
        let due = ticks.tick().await;
        assert!((before..=after).contains(&due));
        assert_eq!(ticks.tick().await, due + PERIOD);
    });
}

#[test]
fn reset_after_waits_that_long_and_then_keeps_the_period() {
    run(async {
        let mut ticks = interval(PERIOD);
        ticks.tick().await;
        let before = Instant::now();
        ticks.reset_after(3 * PERIOD);
        let after = Instant::now();
        let due = ticks.tick().await;
        assert!((before + 3 * PERIOD..=after + 3 * PERIOD).contains(&due));
        assert!(Instant::now() >= due);
        assert_eq!(ticks.tick().await, due + PERIOD);
        ticks.reset_after(Duration::MAX);
        assert!(poll!(pin!(ticks.tick())).is_pending());
    });
}

#[test]
fn reset_at_moves_the_schedule_to_there_also_into_the_past() {
    run(async {
        let mut ticks = interval(PERIOD);
        let start = Instant::now() + PERIOD;
        ticks.reset_at(start);
        assert_eq!(ticks.tick().await, start);
        assert_eq!(ticks.tick().await, start + PERIOD);
        let past = start - Duration::from_secs(10);
        ticks.reset_at(past);
        assert_eq!(ticks.tick().await, past);
        assert_eq!(ticks.tick().await, past + PERIOD, "it bursts");
    });
}

#[test]
fn a_period_of_zero_panics_where_the_interval_is_asked_for() {
    let first = line!() + 2;
    let panics = [
        panic_of(|| interval(Duration::ZERO)),
        panic_of(|| interval_at(Instant::now(), Duration::ZERO)),
    ];
    for (line, panic) in (first..).zip(panics) {
        assert_eq!(panic.message, "the period of an interval must not be zero");
        assert_eq!((panic.file.as_str(), panic.line), (file!(), line));
    }
}
