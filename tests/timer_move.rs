//! A timer belongs to the runtime that polls it, whichever thread made it, polled it before or drops it.

mod common;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use common::{LIMIT, WakeCount, run, turned_after, within};
use futures::poll;
use runtime::Runtime;
use runtime::time::{
    Duration, Elapsed, Instant, Interval, Timeout, Timer, interval, sleep, timeout,
};
use static_assertions::assert_impl_all;

assert_impl_all!(Timer: Send, Sync, Unpin);
assert_impl_all!(Interval: Send, Sync, Unpin);
assert_impl_all!(Timeout<Timer>: Send, Sync, Unpin);
assert_impl_all!(Elapsed: Send, Sync, Copy);
assert_impl_all!(Instant: Send, Sync, Copy);

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

/// Runs a future in a runtime on a thread of its own.
fn elsewhere<F: Future>(future: impl FnOnce() -> F + Send) -> F::Output
where
    F::Output: Send,
{
    thread::scope(|scope| {
        let thread = scope.spawn(|| runtime::block_on(future()));
        thread.join().unwrap()
    })
}

#[test]
fn a_timer_made_without_a_runtime_runs_in_the_one_that_polls_it() {
    within(LIMIT, || {
        let timer = sleep(SHORT);
        let deadline = timer.deadline();
        runtime::block_on(timer);
        assert!(Instant::now() >= deadline);
        assert_eq!(
            runtime::block_on(timeout(LONG, async { 1 })),
            Ok(1),
            "a timeout too"
        );
        let mut ticks = interval(SHORT);
        runtime::block_on(async {
            let first = ticks.tick().await;
            assert_eq!(ticks.tick().await, first + SHORT);
        });
    });
}

#[test]
fn a_timer_polled_in_one_runtime_ends_in_another() {
    run(async {
        let mut timer = sleep(2 * SHORT);
        let _ = poll!(&mut timer);
        let deadline = timer.deadline();
        elsewhere(async || {
            timer.await;
            assert!(Instant::now() >= deadline);
        });
    });
}

#[test]
fn a_timer_that_moved_wakes_nobody_where_it_was() {
    run(async {
        let (count, waker) = WakeCount::new();
        let mut timer = sleep(LONG);
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut timer).poll(&mut cx).is_pending());
        let deadline = Instant::now() + SHORT;
        timer.reset(deadline);
        elsewhere(async || {
            timer.reset(Instant::now() + LONG);
            assert!(poll!(&mut timer).is_pending());
        });
        turned_after(deadline).await;
        assert!(count.wakes() <= 1, "at most a spurious one");
        assert_eq!(Arc::strong_count(&count), 2, "the waker is let go of");
        drop(timer);
    });
}

#[test]
fn a_timer_goes_back_and_forth_between_runtimes() {
    within(LIMIT, || {
        let here = Runtime::new().unwrap();
        let there = Runtime::new().unwrap();
        let mut timer = sleep(SHORT);
        let deadline = timer.deadline();
        for round in 0..100 {
            let runtime = if round % 2 == 0 { &here } else { &there };
            let is_ready = runtime.block_on(async { poll!(&mut timer).is_ready() });
            assert!(!is_ready || Instant::now() >= deadline, "never early");
        }
        here.block_on(&mut timer);
        assert!(Instant::now() >= deadline);
        // Both runtimes still keep time.
        for runtime in [here, there] {
            runtime.block_on(sleep(SHORT));
        }
    });
}

#[test]
fn a_timer_dropped_on_another_thread_is_forgotten_where_it_was() {
    run(async {
        let (count, waker) = WakeCount::new();
        let mut timer = sleep(LONG);
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut timer).poll(&mut cx).is_pending());
        let deadline = Instant::now() + SHORT;
        timer.reset(deadline);
        thread::spawn(move || drop(timer)).join().unwrap();
        turned_after(deadline).await;
        assert_eq!(
            count.wakes(),
            0,
            "it was dropped before its deadline was looked at"
        );
        assert_eq!(Arc::strong_count(&count), 2, "the waker is let go of");
    });
}

#[test]
fn a_place_that_a_moved_timer_left_can_be_taken_by_the_next() {
    run(async {
        for _ in 0..100 {
            let mut timer = sleep(LONG);
            assert!(poll!(&mut timer).is_pending());
            thread::spawn(move || drop(timer)).join().unwrap();
            let mut next = sleep(Duration::from_micros(50));
            let deadline = next.deadline();
            let _ = poll!(&mut next);
            next.await;
            assert!(Instant::now() >= deadline);
        }
    });
}

#[test]
fn a_timer_outlives_its_runtime_and_its_thread() {
    run(async {
        let timers = elsewhere(async || {
            let mut timers = [sleep(SHORT), sleep(LONG), sleep(LONG)];
            for timer in &mut timers {
                let _ = poll!(timer);
            }
            timers
        });
        let [short, mut long, unused] = timers;
        let deadline = short.deadline();
        short.await;
        assert!(Instant::now() >= deadline);
        assert!(poll!(&mut long).is_pending(), "it is not over yet");
        drop(unused);
        long.reset(Instant::now() + SHORT);
        long.await;
    });
}

#[test]
fn an_interval_keeps_its_schedule_when_it_moves() {
    run(async {
        let mut ticks = interval(SHORT);
        let first = ticks.tick().await;
        let waited = poll!(Box::pin(ticks.tick()));
        let last = if let Poll::Ready(due) = waited {
            due
        } else {
            first
        };
        let next = elsewhere(async || ticks.tick().await);
        assert_eq!(next, last + SHORT);
    });
}

#[test]
fn many_timers_change_hands_at_once() {
    run(async {
        let (timers, arrived) = async_channel::unbounded::<Timer>();
        let receiver = thread::spawn(move || {
            runtime::block_on(async {
                let mut ended = 0;
                while let Ok(timer) = arrived.recv().await {
                    let deadline = timer.deadline();
                    timer.await;
                    assert!(Instant::now() >= deadline);
                    ended += 1;
                }
                ended
            })
        });
        for number in 0..1000_u64 {
            let mut timer = sleep(Duration::from_micros(number));
            let _ = poll!(&mut timer);
            timers.send(timer).await.unwrap();
        }
        drop(timers);
        assert_eq!(receiver.join().unwrap(), 1000);
    });
}
