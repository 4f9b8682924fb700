//! With a slack, timers that are due close to each other fire together; none fires early.

mod common;

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use common::parked::{park, this_thread, wait_until_parked};
use common::sockets::{counted, rounds};
use common::{LIMIT, within};
use runtime::Builder;
use runtime::task::{JoinSet, unconstrained};
use runtime::time::{Duration, Instant, sleep_until, timeout};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Timers for a deadline each 500 µs, and the last deadline; no timer may be early.
fn timers() -> (JoinSet<()>, Instant) {
    let start = Instant::now();
    let deadline = |number: u64| start + Duration::from_micros(500 * number);
    let timer = |deadline| async move {
        sleep_until(deadline).await;
        assert!(Instant::now() >= deadline);
    };
    ((1..=200).map(deadline).map(timer).collect(), deadline(200))
}

/// The slack is so long that only the test ends the wait in which the deadlines pass. (On a slow machine a few of
/// them pass before it.)
#[test]
fn timers_within_the_slack_fire_together() {
    within(LIMIT, || {
        let (ready, is_ready) = mpsc::channel();
        let (wake, woken) = async_channel::bounded::<()>(1);
        let polls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&polls);
        let runtime = thread::spawn(move || {
            let runtime = Builder::new()
                .timer_slack(DAY)
                .event_interval(1000)
                .build()
                .unwrap();
            runtime.block_on(async {
                let bell = runtime::spawn(async move { woken.recv().await.unwrap() });
                let (timers, last) = timers();
                ready.send((this_thread(), last)).unwrap();
                counted(counter, unconstrained(timers.join_all())).await;
                bell.await.unwrap();
            });
        });
        let (thread, last) = is_ready.recv().unwrap();
        let parked = wait_until_parked(&thread);
        let before = polls.load(Ordering::SeqCst);
        while Instant::now() <= last {
            thread::yield_now();
        }
        let now = park(&thread).expect("nothing wakes it");
        assert_eq!(now.sleeps, parked.sleeps, "it sleeps the same sleep");
        wake.send_blocking(()).unwrap();
        runtime.join().unwrap();
        let polls = polls.load(Ordering::SeqCst) - before;
        assert!(polls <= 1, "{polls} polls of who waits for all");
    });
}

#[test]
fn an_idle_runtime_wakes_up_at_the_end_of_the_slack() {
    within(LIMIT, || {
        let runtime = Builder::new()
            .timer_slack(Duration::from_millis(20))
            .build()
            .unwrap();
        runtime.block_on(async { timers().0.join_all().await });
    });
}

#[test]
fn a_slack_or_a_deadline_beyond_the_end_of_time_lets_the_loop_wait() {
    const YEAR: Duration = DAY.saturating_mul(365);
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
