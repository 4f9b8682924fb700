//! Sleeping is never early, from a nanosecond to for ever, and a past deadline is no wait at all.

mod common;

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use common::panics::panic_of;
use common::run;
use futures::{FutureExt, poll};
use proptest::prelude::{any, prop_assert, proptest};
use runtime::Builder;
use runtime::time::{
    Duration, Instant, MissedTickBehavior, interval, interval_at, sleep, sleep_until, timeout,
    timeout_at,
};

/// Durations at which some runtime once overflowed, wrapped, or met a sentinel.
const EXTREMES: [Duration; 22] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_nanos(999_999),
    Duration::from_millis(1),
    Duration::from_millis(i32::MAX.cast_unsigned() as u64),
    Duration::from_millis(i32::MAX.cast_unsigned() as u64 + 1),
    Duration::from_millis(u32::MAX as u64),
    Duration::from_secs(30 * DAY),
    Duration::from_secs(60 * DAY),
    Duration::from_millis(1 << 36),
    Duration::from_secs(100 * 365 * DAY),
    Duration::from_nanos(i64::MAX.cast_unsigned()),
    Duration::from_nanos(i64::MAX.cast_unsigned() + 1),
    Duration::from_nanos(u64::MAX - 1),
    Duration::from_nanos(u64::MAX),
    Duration::from_secs(i32::MAX.cast_unsigned() as u64 + 1),
    Duration::from_millis(i64::MAX.cast_unsigned()),
    Duration::from_millis(u64::MAX),
    Duration::from_secs(i64::MAX.cast_unsigned()),
    Duration::from_secs(u64::MAX / 2),
    Duration::from_secs(u64::MAX),
    Duration::MAX,
];
const DAY: u64 = 24 * 3600;
const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_sleep_is_never_early() {
    run(async {
        let durations = [
            1, 2, 50, 999, 1000, 1001, 50_000, 300_000, 999_999, 1_000_000, 1_000_001, 2_345_678,
        ];
        for nanos in durations {
            let duration = Duration::from_nanos(nanos);
            let (ours, std) = (Instant::now(), std::time::Instant::now());
            sleep(duration).await;
            assert!(ours.elapsed() >= duration, "{duration:?}");
            assert!(std.elapsed() >= duration, "{duration:?} on std's clock");
        }
    });
}

#[test]
fn a_sleep_until_is_never_early() {
    run(async {
        for nanos in [1, 700, 65_536, 300_000, 1_500_000] {
            let deadline = Instant::now() + Duration::from_nanos(nanos);
            let timer = sleep_until(deadline);
            assert_eq!(timer.deadline(), deadline);
            timer.await;
            assert!(Instant::now() >= deadline);
        }
    });
}

#[test]
fn a_thousand_sleeps_at_once_are_none_of_them_early() {
    run(async {
        let tasks = (0..1000_u64).map(|number| {
            runtime::spawn(async move {
                let duration = Duration::from_nanos(number * 7_919);
                let before = Instant::now();
                sleep(duration).await;
                assert!(before.elapsed() >= duration, "{duration:?}");
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

#[test]
fn a_sleep_below_a_millisecond_waits_without_being_polled_meanwhile() {
    run(async {
        for micros in [1, 50, 300, 999] {
            let mut timer = sleep(Duration::from_micros(micros));
            let mut polls = 0;
            poll_fn(|cx| {
                polls += 1;
                Pin::new(&mut timer).poll(cx)
            })
            .await;
            assert!(polls <= 2, "{micros} µs: one poll to wait, one to be done");
        }
    });
}

#[test]
fn a_sleep_of_zero_is_done_at_once() {
    run(async {
        assert!(poll!(pin!(sleep(Duration::ZERO))).is_ready());
        assert!(poll!(pin!(timeout(Duration::ZERO, pending::<()>()))).is_ready());
    });
}

#[test]
fn a_deadline_that_has_passed_is_done_at_once_also_as_the_only_work() {
    run(async {
        let now = Instant::now();
        let past = [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_secs(1),
            Duration::MAX,
        ];
        for ago in past {
            assert!(poll!(pin!(sleep_until(now - ago))).is_ready(), "{ago:?}");
            sleep_until(now - ago).await;
            assert!(poll!(pin!(timeout_at(now - ago, pending::<()>()))).is_ready());
            let mut ticks = interval_at(now - ago, SOON);
            assert_eq!(poll!(pin!(ticks.tick())), Poll::Ready(now - ago));
        }
    });
}

#[test]
fn a_timer_whose_deadline_passes_before_its_first_poll_is_ready_at_that_poll() {
    run(async {
        for nanos in [1, 1_000_000, 20_000_000] {
            let duration = Duration::from_nanos(nanos);
            let mut timers = [sleep(duration), sleep_until(Instant::now() + duration)];
            let mut limited = timeout(duration, pending::<()>());
            let mut reset = sleep(SOON);
            reset.reset(Instant::now() + duration);
            while !reset.is_elapsed() {}
            for timer in timers.iter_mut().chain([&mut reset]) {
                assert_eq!(timer.now_or_never(), Some(()), "{duration:?}");
            }
            let limited = (&mut limited).now_or_never();
            assert!(limited.is_some_and(|output| output.is_err()));
        }
    });
}

#[test]
fn a_timer_that_is_done_stays_done() {
    run(async {
        let mut timer = sleep(Duration::from_micros(10));
        (&mut timer).await;
        assert!(timer.is_elapsed());
        for _ in 0..3 {
            assert!(poll!(&mut timer).is_ready());
        }
    });
}

#[test]
fn a_timer_outside_of_a_runtime_is_made_but_not_polled() {
    let timer = sleep(Duration::from_micros(10));
    assert!(timer.deadline() <= Instant::now() + Duration::from_micros(10));
    let panic = panic_of(|| futures::executor::block_on(timer));
    assert!(
        panic
            .message
            .starts_with("there is no runtime on this thread"),
        "{panic:?}"
    );
}

#[test]
fn no_duration_is_too_long_for_any_constructor() {
    run(async {
        for duration in EXTREMES {
            let deadline = Instant::now() + duration;
            let mut timers = [sleep(duration), sleep_until(deadline)];
            let mut slept = timeout(duration, pending::<()>());
            let mut until = timeout_at(deadline, pending::<()>());
            for _ in 0..2 {
                for timer in &mut timers {
                    let is_ready = poll!(timer).is_ready();
                    assert!(!is_ready || duration < SOON, "{duration:?} was over early");
                }
                for limited in [&mut slept, &mut until] {
                    let is_ready = poll!(pin!(limited)).is_ready();
                    assert!(!is_ready || duration < SOON, "{duration:?} was over early");
                }
                sleep(Duration::from_micros(1)).await;
            }
        }
    });
}

#[test]
fn no_duration_is_too_long_for_a_reset() {
    run(async {
        for first in EXTREMES {
            for second in EXTREMES {
                let mut timer = sleep(first);
                let _ = poll!(&mut timer);
                timer.reset(Instant::now() + second);
                let is_ready = poll!(&mut timer).is_ready();
                assert!(!is_ready || second < SOON, "{first:?} reset to {second:?}");
            }
        }
        sleep(Duration::from_micros(1)).await;
    });
}

#[test]
fn no_period_is_too_long_for_an_interval() {
    run(async {
        let policies = [
            MissedTickBehavior::Burst,
            MissedTickBehavior::Delay,
            MissedTickBehavior::Skip,
        ];
        for period in EXTREMES.into_iter().skip(1) {
            for (policy, ago) in policies.into_iter().zip([0, 10, DAY]) {
                let start = Instant::now() - Duration::from_secs(ago);
                let mut ticks = interval_at(start, period);
                ticks.set_missed_tick_behavior(policy);
                assert_eq!(ticks.tick().await, start);
                if period > 2 * Duration::from_secs(DAY) {
                    assert!(poll!(pin!(ticks.tick())).is_pending(), "{period:?}");
                    ticks.reset();
                    assert!(poll!(pin!(ticks.tick())).is_pending(), "{period:?}");
                }
                ticks.reset_after(period);
                ticks.reset_at(Instant::now() + period);
                ticks.reset_immediately();
                ticks.tick().await;
            }
            interval(period).tick().await;
        }
    });
}

#[test]
fn timers_that_never_end_leave_the_others_alone() {
    run(async {
        for never in [
            Duration::MAX,
            Duration::from_secs(u64::MAX),
            Duration::from_nanos(u64::MAX),
        ] {
            runtime::spawn(sleep(never));
        }
        for _ in 0..5 {
            let before = Instant::now();
            sleep(Duration::from_micros(200)).await;
            assert!(before.elapsed() >= Duration::from_micros(200));
        }
    });
}

#[test]
fn a_timer_polled_again_and_again_within_one_poll_comes_due() {
    run(async {
        let mut timer = sleep(Duration::from_millis(1));
        let deadline = timer.deadline();
        let _ = poll!(&mut timer);
        // Some combinators poll again at once when their inner future woke them: no event is seen
        // meanwhile, so the timer itself has to look at the clock.
        while Instant::now() < deadline {}
        assert!(poll!(&mut timer).is_ready(), "the deadline has passed");
    });
}

#[test]
fn a_timer_polled_after_a_future_that_ate_the_budget_comes_due() {
    run(async {
        let turns = Cell::new(0);
        let mut eat = pin!(async {
            loop {
                runtime::task::consume_budget().await;
                turns.set(turns.get() + 1);
            }
        });
        let mut timer = sleep(Duration::from_millis(1));
        let mut polls_when_due = 0;
        // What `select_biased!` does with a socket that never runs dry and a deadline after it.
        poll_fn(|cx| {
            let eaten: Poll<()> = eat.as_mut().poll(cx);
            assert!(eaten.is_pending(), "it has to yield");
            polls_when_due += usize::from(timer.is_elapsed());
            assert!(
                polls_when_due < 1000,
                "the timer starves for want of budget"
            );
            Pin::new(&mut timer).poll(cx)
        })
        .await;
        assert!(turns.get() > 0);
    });
}

#[test]
fn a_runtime_and_its_first_sleep_fit_into_a_small_stack() {
    common::within(common::LIMIT, || {
        let thread = std::thread::Builder::new().stack_size(128 * 1024);
        let thread = thread.spawn(|| {
            let runtime = Builder::new().build().unwrap();
            runtime.block_on(sleep(Duration::from_micros(1)));
        });
        thread.unwrap().join().unwrap();
    });
}

proptest! {
    #[test]
    fn any_duration_can_be_slept_for_and_reset_to(
        first in (any::<u64>(), 0..1_000_000_000_u32),
        second in any::<u64>(),
        shift in 0..64_u32,
    ) {
        let first = Duration::new(first.0 >> shift, first.1);
        let second = Duration::from_nanos(second >> shift);
        let finished = run(async move {
            let done = Rc::new(Cell::new(false));
            let mut timer = sleep(first);
            let is_ready = poll!(&mut timer).is_ready();
            done.set(is_ready && first > SOON);
            timer.reset(Instant::now() + second);
            let is_ready = poll!(&mut timer).is_ready();
            done.set(done.get() || is_ready && second > SOON);
            done.get()
        });
        prop_assert!(!finished, "{:?} or {:?} was early", first, second);
    }
}
