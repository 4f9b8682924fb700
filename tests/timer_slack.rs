//! With a slack, timers that are due close to each other fire together; none fires early.

mod common;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::sockets::{counted, rounds};
use common::{LIMIT, within};
use runtime::Builder;
use runtime::task::JoinSet;
use runtime::time::{Duration, Instant, sleep_until, timeout};

/// How many times it takes until 200 timers have fired, one each 500 µs; they must not be early.
fn firings_with(slack: Duration) -> usize {
    within(LIMIT, move || {
        let runtime = Builder::new().timer_slack(slack).build().unwrap();
        let polls = Arc::new(AtomicUsize::new(0));
        runtime.block_on(counted(Arc::clone(&polls), async {
            let start = Instant::now();
            let mut timers: JoinSet<_> = (1..=200)
                .map(|number| start + Duration::from_micros(500 * number))
                .map(|deadline| async move {
                    sleep_until(deadline).await;
                    assert!(Instant::now() >= deadline);
                })
                .collect();
            while let Some(timer) = timers.join_next().await {
                timer.unwrap();
            }
        }));
        // It is polled once to begin with, then after all tasks that were woken together.
        polls.load(Ordering::Relaxed) - 1
    })
}

#[test]
fn timers_within_the_slack_fire_together() {
    // 100 ms touch six multiples of 20 ms at the most.
    let firings = firings_with(Duration::from_millis(20));
    assert!(firings <= 6, "{firings} times");
}

#[test]
fn a_slack_or_a_deadline_beyond_the_end_of_time_lets_the_loop_wait() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    for (slack, distance) in [
        (Duration::MAX, Duration::from_secs(1)),
        // No multiple of the slack follows the deadline.
        (Duration::from_nanos(1 << 63), 400 * YEAR),
    ] {
        within(LIMIT, move || {
            let runtime = Builder::new().timer_slack(slack).build().unwrap();
            runtime.block_on(async {
                let task = runtime::spawn(timeout(distance, pending::<()>()));
                // The loop waits for the kernel while the timer is pending.
                rounds(3).await;
                assert!(!task.is_finished());
                task.abort();
                assert!(task.await.unwrap_err().is_cancelled());
            });
        });
    }
}
