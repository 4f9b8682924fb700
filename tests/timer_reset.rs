//! A timer can be given another deadline at any time, and whoever waits for it is woken at the new one.

mod common;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::thread;

use common::{LIMIT, WakeCount, run, turned_after, within};
use futures::poll;
use runtime::Runtime;
use runtime::time::{Duration, Instant, Timer, sleep};

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);
const NEVER: Duration = Duration::MAX;

fn poll_with(timer: &mut Timer, waker: &Waker) -> bool {
    let mut cx = Context::from_waker(waker);
    Pin::new(timer).poll(&mut cx).is_ready()
}

/// The end of the clock's range.
fn far() -> Instant {
    Instant::now() + NEVER
}

#[test]
fn a_timer_reset_to_a_later_deadline_does_not_fire_at_the_old_one() {
    run(async {
        let (count, waker) = WakeCount::new();
        let mut timer = sleep(LONG);
        assert!(!poll_with(&mut timer, &waker));
        let old = Instant::now() + SHORT;
        timer.reset(old);
        timer.reset(Instant::now() + LONG);
        turned_after(old).await;
        assert_eq!(count.wakes(), 0);
        assert!(!timer.is_elapsed());
        assert!(!poll_with(&mut timer, &waker));
    });
}

#[test]
fn a_timer_reset_to_an_earlier_deadline_fires_at_the_new_one_without_a_poll() {
    run(async {
        let (count, waker) = WakeCount::new();
        let mut timer = sleep(LONG);
        assert!(!poll_with(&mut timer, &waker));
        timer.reset(Instant::now() + SHORT);
        turned_after(timer.deadline()).await;
        assert_eq!(count.wakes(), 1);
        assert!(poll_with(&mut timer, &waker));
    });
}

#[test]
fn a_timer_reset_to_the_past_fires_with_the_next_turn() {
    run(async {
        let (count, waker) = WakeCount::new();
        let mut timer = sleep(LONG);
        assert!(!poll_with(&mut timer, &waker));
        timer.reset(Instant::now() - SHORT);
        turned_after(timer.deadline()).await;
        assert_eq!(count.wakes(), 1);
        assert!(poll_with(&mut timer, &waker));
    });
}

#[test]
fn a_timer_that_is_done_waits_again_after_a_reset() {
    run(async {
        let mut timer = sleep(Duration::from_micros(10));
        for _ in 0..5 {
            (&mut timer).await;
            let deadline = Instant::now() + Duration::from_micros(100);
            timer.reset(deadline);
            assert_eq!(timer.deadline(), deadline);
        }
        let deadline = timer.deadline();
        timer.await;
        assert!(Instant::now() >= deadline);
    });
}

#[test]
fn a_timer_that_fired_unseen_and_was_reset_waits_for_its_new_deadline() {
    run(async {
        let (count, waker) = WakeCount::new();
        let mut timer = sleep(LONG);
        assert!(!poll_with(&mut timer, &waker));
        timer.reset(Instant::now() + SHORT);
        turned_after(timer.deadline()).await;
        assert_eq!(count.wakes(), 1);
        timer.reset(Instant::now() + LONG);
        assert!(
            !poll_with(&mut timer, &waker),
            "the old firing does not count"
        );
        timer.reset(Instant::now() + SHORT);
        turned_after(timer.deadline()).await;
        assert_eq!(count.wakes(), 2);
    });
}

#[test]
fn a_timer_that_was_never_polled_takes_the_new_deadline() {
    run(async {
        let mut timer = sleep(LONG);
        let deadline = Instant::now() + SHORT;
        timer.reset(deadline);
        timer.await;
        assert!(Instant::now() >= deadline);
        let mut timer = sleep(Duration::from_nanos(1));
        timer.reset(Instant::now() + LONG);
        sleep(SHORT).await;
        assert!(poll!(&mut timer).is_pending());
    });
}

#[test]
fn a_waiting_task_is_woken_at_the_deadline_that_another_task_sets() {
    run(async {
        let timer = Rc::new(RefCell::new(sleep(LONG)));
        let waiting = Rc::clone(&timer);
        let task = runtime::spawn(poll_fn(move |cx| {
            let mut timer = waiting.borrow_mut();
            Pin::new(&mut *timer).poll(cx)
        }));
        runtime::task::yield_now().await;
        let deadline = Instant::now() + SHORT;
        timer.borrow_mut().reset(deadline);
        task.await.unwrap();
        assert!(Instant::now() >= deadline);
    });
}

#[test]
fn a_timer_reset_a_thousand_times_fires_once_at_the_last_deadline() {
    run(async {
        let (count, waker) = WakeCount::new();
        let mut timer = sleep(LONG);
        assert!(!poll_with(&mut timer, &waker));
        let start = Instant::now();
        for step in 0..1000_u64 {
            let jump = step.wrapping_mul(2_654_435_761) % 10_000_000_000;
            timer.reset(start + LONG + Duration::from_nanos(jump));
        }
        timer.reset(start + SHORT);
        turned_after(start + SHORT).await;
        assert_eq!(count.wakes(), 1);
        assert_eq!(Arc::strong_count(&count), 2, "the waker is let go of");
    });
}

#[test]
fn a_timer_reset_to_never_and_back_wakes_whoever_waits() {
    run(async {
        let (count, waker) = WakeCount::new();
        let mut timer = sleep(LONG);
        assert!(!poll_with(&mut timer, &waker));
        timer.reset(far());
        timer.reset(Instant::now() + SHORT);
        turned_after(timer.deadline()).await;
        assert!(count.wakes() >= 1, "the wake is lost");
        assert!(poll_with(&mut timer, &waker));
    });
}

#[test]
fn a_timer_that_waited_for_ever_and_was_reset_wakes_whoever_waits() {
    run(async {
        let (count, waker) = WakeCount::new();
        let mut timer = sleep(NEVER);
        assert!(!poll_with(&mut timer, &waker));
        timer.reset(Instant::now() + SHORT);
        turned_after(timer.deadline()).await;
        assert!(count.wakes() >= 1, "the wake is lost");
        assert!(poll_with(&mut timer, &waker));
    });
}

#[test]
fn a_timer_reset_by_another_thread_wakes_whoever_waits() {
    run(async {
        let (count, waker) = WakeCount::new();
        let timer = Arc::new(Mutex::new(sleep(LONG)));
        assert!(!poll_with(&mut timer.lock().unwrap(), &waker));
        let shared = Arc::clone(&timer);
        let deadline = thread::spawn(move || {
            let deadline = Instant::now() + SHORT;
            shared.lock().unwrap().reset(deadline);
            deadline
        });
        let deadline = deadline.join().unwrap();
        turned_after(deadline).await;
        assert!(count.wakes() >= 1, "the wake is lost");
        assert!(poll_with(&mut timer.lock().unwrap(), &waker));
    });
}

#[test]
fn a_timer_reset_between_two_runs_of_its_runtime_wakes_whoever_waits() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (count, waker) = WakeCount::new();
        let mut timer = sleep(LONG);
        runtime.block_on(async { assert!(!poll_with(&mut timer, &waker)) });
        timer.reset(Instant::now() + SHORT);
        runtime.block_on(async {
            turned_after(timer.deadline()).await;
            assert!(count.wakes() >= 1, "the wake is lost");
            assert!(poll_with(&mut timer, &waker));
        });
    });
}

#[test]
fn a_timer_reset_after_its_runtime_is_gone_serves_the_next_one() {
    within(LIMIT, || {
        let mut timer = sleep(LONG);
        runtime::block_on(async { assert!(poll!(&mut timer).is_pending()) });
        let deadline = Instant::now() + SHORT;
        timer.reset(deadline);
        runtime::block_on(timer);
        assert!(Instant::now() >= deadline);
    });
}
