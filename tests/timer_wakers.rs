//! A timer wakes the waker of its latest poll, once, and lets go of every other.

mod common;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use common::panics::{Panic, panic_of};
use common::sockets::timers;
use common::{LIMIT, WakeCount, run, turned, turned_after, within};
use futures::FutureExt;
use runtime::Runtime;
use runtime::time::{Duration, Instant, Timer, interval, sleep, timeout};

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

fn poll_with(timer: &mut Timer, waker: &Waker) -> bool {
    let mut cx = Context::from_waker(waker);
    Pin::new(timer).poll(&mut cx).is_ready()
}

/// How many clones of the waker live, besides the test's own.
fn clones(count: &Arc<WakeCount>) -> usize {
    Arc::strong_count(count) - 2
}

#[test]
fn only_the_waker_of_the_latest_poll_is_woken() {
    run(async {
        let (first, waker_1) = WakeCount::new();
        let (second, waker_2) = WakeCount::new();
        let mut timer = sleep(LONG);
        assert!(!poll_with(&mut timer, &waker_1));
        assert_eq!((clones(&first), clones(&second)), (1, 0));
        assert!(!poll_with(&mut timer, &waker_2));
        assert_eq!((clones(&first), clones(&second)), (0, 1));
        timer.reset(Instant::now() + SHORT);
        turned_after(timer.deadline()).await;
        assert_eq!((first.wakes(), second.wakes()), (0, 1));
        assert_eq!((clones(&first), clones(&second)), (0, 0));
        assert!(poll_with(&mut timer, &waker_1));
    });
}

#[test]
fn a_poll_with_the_same_waker_clones_nothing() {
    run(async {
        let (count, waker) = WakeCount::new();
        let mut timer = sleep(LONG);
        for _ in 0..10 {
            assert!(!poll_with(&mut timer, &waker));
            assert_eq!(clones(&count), 1);
        }
    });
}

#[test]
fn a_runtime_shows_how_many_timers_it_holds() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (_count, waker) = WakeCount::new();
        let mut fired = sleep(SHORT);
        let mut waits = sleep(LONG);
        assert_eq!(timers(&runtime), 0);
        runtime.block_on(async {
            assert!(!poll_with(&mut waits, &waker));
            assert!(!poll_with(&mut fired, &waker));
            assert_eq!(timers(&runtime), 2);
            turned_after(fired.deadline()).await;
            assert_eq!(timers(&runtime), 2);
            assert!(poll_with(&mut fired, &waker));
            assert_eq!(timers(&runtime), 1);
            drop(waits);
            assert_eq!(timers(&runtime), 0);
        });
    });
}

#[test]
fn a_dropped_timer_lets_go_of_its_waker_and_wakes_nobody() {
    run(async {
        let (count, waker) = WakeCount::new();
        let mut timer = sleep(LONG);
        assert!(!poll_with(&mut timer, &waker));
        assert_eq!(clones(&count), 1);
        let deadline = Instant::now() + SHORT;
        timer.reset(deadline);
        drop(timer);
        assert_eq!(clones(&count), 0);
        turned_after(deadline).await;
        assert_eq!(count.wakes(), 0);
    });
}

#[test]
fn a_timer_that_fires_lets_go_of_its_waker_before_it_is_polled_again() {
    run(async {
        let (count, waker) = WakeCount::new();
        let mut timer = sleep(LONG);
        assert!(!poll_with(&mut timer, &waker));
        timer.reset(Instant::now() + SHORT);
        turned_after(timer.deadline()).await;
        assert_eq!((count.wakes(), clones(&count)), (1, 0));
        drop(timer);
        assert_eq!(count.wakes(), 1);
    });
}

#[test]
fn a_dropped_tick_leaves_the_waker_with_the_interval_and_a_dropped_interval_frees_it() {
    run(async {
        let (count, waker) = WakeCount::new();
        let mut ticks = interval(LONG);
        ticks.tick().await;
        let mut cx = Context::from_waker(&waker);
        assert!(Box::pin(ticks.tick()).poll_unpin(&mut cx).is_pending());
        assert!(clones(&count) <= 1);
        drop(ticks);
        assert_eq!(clones(&count), 0);
    });
}

#[test]
fn a_timeout_that_is_dropped_or_unwrapped_lets_go_of_its_waker() {
    run(async {
        let (count, waker) = WakeCount::new();
        let mut cx = Context::from_waker(&waker);
        let mut limited = timeout(LONG, std::future::pending::<()>());
        assert!(limited.poll_unpin(&mut cx).is_pending());
        assert_eq!(clones(&count), 1);
        let _inner = limited.into_inner();
        assert_eq!(clones(&count), 0);
    });
}

#[test]
fn a_runtime_that_is_dropped_wakes_whoever_waits_for_its_timers_and_lets_go_of_them() {
    within(LIMIT, || {
        let (count, waker) = WakeCount::new();
        let mut timer = sleep(LONG);
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async { assert!(!poll_with(&mut timer, &waker)) });
        assert_eq!(clones(&count), 1);
        drop(runtime);
        assert_eq!((count.wakes(), clones(&count)), (1, 0));
        drop(timer);
        assert_eq!((count.wakes(), clones(&count)), (1, 0));
    });
}

/// Does something when it is woken.
struct OnWake<F>(F);

impl<F: Fn() + Send + Sync> Wake for OnWake<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

#[test]
fn a_wake_may_drop_reset_and_make_other_timers() {
    run(async {
        let (count, counting) = WakeCount::new();
        let mut timers: Vec<_> = (0..3).map(|_| sleep(LONG)).collect();
        for timer in &mut timers {
            assert!(!poll_with(timer, &counting));
        }
        let timers = Arc::new(Mutex::new(timers));
        let waker = Waker::from(Arc::new(OnWake({
            let timers = Arc::clone(&timers);
            move || {
                let mut timers = timers.lock().unwrap();
                drop(timers.pop());
                timers[0].reset(Instant::now() + SHORT);
                let mut new = sleep(LONG);
                assert!(!poll_with(&mut new, Waker::noop()));
                timers.push(new);
            }
        })));
        let mut timer = sleep(LONG);
        assert!(!poll_with(&mut timer, &waker));
        timer.reset(Instant::now() + SHORT);
        turned_after(timer.deadline()).await;
        let deadline = timers.lock().unwrap()[0].deadline();
        turned_after(deadline).await;
        assert_eq!(count.wakes(), 1, "of the one that was reset");
        assert_eq!(clones(&count), 1, "of the one that is left");
        assert_eq!(timers.lock().unwrap().len(), 3);
    });
}

#[test]
fn timers_of_one_deadline_may_be_dropped_by_the_first_of_them_that_wakes() {
    run(async {
        let timers = Arc::new(Mutex::new(Vec::new()));
        let start = Instant::now() + SHORT;
        for _ in 0..10 {
            let timers_of_all = Arc::clone(&timers);
            let waker = Waker::from(Arc::new(OnWake(move || {
                drop(std::mem::take(&mut *timers_of_all.lock().unwrap()));
            })));
            let mut timer = sleep(LONG);
            assert!(!poll_with(&mut timer, &waker));
            timer.reset(start);
            timers.lock().unwrap().push(timer);
        }
        turned_after(start).await;
        assert!(timers.lock().unwrap().is_empty());
    });
}

#[test]
fn wakers_that_set_timers_which_are_due_at_once_do_not_keep_a_turn_going() {
    // More than are woken at a time.
    const TIMERS: usize = 1000;
    /// Keeps a timer that is due, and wakes `waker`, with the others.
    fn set_due(timers: &Mutex<Vec<Timer>>, waker: &Waker) {
        let mut timer = sleep(LONG);
        assert!(!poll_with(&mut timer, waker));
        timer.reset(Instant::now() - LONG);
        timers.lock().unwrap().push(timer);
    }
    run(async {
        let timers = Arc::new(Mutex::new(Vec::new()));
        let itself = Arc::new(Mutex::new(None));
        let waker = Waker::from(Arc::new(OnWake({
            let (timers, itself) = (Arc::clone(&timers), Arc::clone(&itself));
            move || {
                let waker = itself.lock().unwrap().clone();
                if let Some(waker) = waker {
                    set_due(&timers, &waker);
                }
            }
        })));
        *itself.lock().unwrap() = Some(waker.clone());
        for _ in 0..TIMERS {
            set_due(&timers, &waker);
        }
        turned().await;
        turned().await;
        *itself.lock().unwrap() = None;
        let made = timers.lock().unwrap().len();
        assert!(made >= 2 * TIMERS, "{made} timers: not all have fired");
    });
}

/// Ends a runtime while a foreign waker waits for its timer; within its wake, the waker polls that
/// timer again, or a new one. Returns the panic of that poll.
fn panic_of_a_poll_at_the_end(is_known: bool) -> Panic {
    let panic = Arc::new(Mutex::new(None));
    let waiting = Arc::new(Mutex::new(Some(sleep(LONG))));
    let (seen, known) = (Arc::clone(&panic), Arc::clone(&waiting));
    let waker = Waker::from(Arc::new(OnWake(move || {
        let known = known.lock().unwrap().take();
        let mut timer = known.filter(|_| is_known).unwrap_or_else(|| sleep(LONG));
        let polled = panic_of(|| poll_with(&mut timer, Waker::noop()));
        *seen.lock().unwrap() = Some(polled);
    })));
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let mut waiting = waiting.lock().unwrap();
            assert!(!poll_with(waiting.as_mut().unwrap(), &waker));
        });
        drop(runtime);
    });
    panic.lock().unwrap().take().expect("the waker was woken")
}

#[test]
fn who_polls_a_timer_while_its_runtime_ends_is_told_that_it_would_wait_for_ever() {
    for is_known in [false, true] {
        let panic = panic_of_a_poll_at_the_end(is_known);
        assert!(panic.message.contains("has been dropped"), "{panic:?}");
    }
}
