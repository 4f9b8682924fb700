//! With a slack, timers that are due close to each other fire together; none fires early.

mod common;

use std::future::pending;

use common::parked::sleeps_of_this_thread;
use common::sockets::rounds;
use common::{LIMIT, within};
use runtime::Builder;
use runtime::task::JoinSet;
use runtime::time::{Duration, Instant, sleep_until, timeout};

/// How often the thread goes to sleep while 200 timers fire, one each 500 µs; they must not be early.
fn sleeps_with(slack: Duration) -> u64 {
    within(LIMIT, move || {
        let runtime = Builder::new().timer_slack(slack).build().unwrap();
        runtime.block_on(async {
            let start = Instant::now();
            let mut timers: JoinSet<_> = (1..=200)
                .map(|number| start + Duration::from_micros(500 * number))
                .map(|deadline| async move {
                    sleep_until(deadline).await;
                    assert!(Instant::now() >= deadline);
                })
                .collect();
            let before = sleeps_of_this_thread();
            while let Some(timer) = timers.join_next().await {
                timer.unwrap();
            }
            sleeps_of_this_thread() - before
        })
    })
}

#[test]
fn timers_within_the_slack_fire_together() {
    // 100 ms touch six multiples of 20 ms at the most. The kernel also counts sleeps that are not the loop's: a
    // page fault waits for its turn when another thread changes the process's memory.
    let sleeps = sleeps_with(Duration::from_millis(20));
    assert!(sleeps <= 6 + 20, "{sleeps} sleeps");
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
