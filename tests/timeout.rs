//! A timeout lets a future that is ready win, and ends any other, whatever that does with its budget.

mod common;

use std::cell::Cell;
use std::error::Error;
use std::future::{pending, poll_fn, ready};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use common::{Trace, Traced, pair, run};
use futures::poll;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::task::{consume_budget, unconstrained, yield_now};
use runtime::time::{Duration, Elapsed, Instant, sleep, timeout, timeout_at};

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_future_that_is_ready_wins_even_when_the_time_has_passed() {
    run(async {
        let past = Instant::now() - LONG;
        assert_eq!(timeout(Duration::ZERO, ready(1)).await, Ok(1));
        assert_eq!(timeout_at(past, ready(2)).await, Ok(2));
        let deadline = Instant::now() + SHORT;
        let mut limited = pin!(timeout_at(deadline, async {
            yield_now().await;
            3
        }));
        let _ = poll!(limited.as_mut());
        while Instant::now() < deadline {}
        assert_eq!(limited.await, Ok(3));
    });
}

#[test]
fn a_future_is_polled_once_even_without_any_time() {
    run(async {
        let polls = Cell::new(0);
        let count = poll_fn(|_| {
            polls.set(polls.get() + 1);
            Poll::<()>::Pending
        });
        assert!(timeout(Duration::ZERO, count).await.is_err());
        assert_eq!(polls.get(), 1);
    });
}

#[test]
fn a_future_that_never_ends_is_ended_and_not_early() {
    run(async {
        let before = Instant::now();
        let result: Result<(), Elapsed> = timeout(SHORT, pending()).await;
        assert!(result.is_err());
        assert!(before.elapsed() >= SHORT);
        let deadline = Instant::now() + SHORT;
        assert!(timeout_at(deadline, pending::<()>()).await.is_err());
        assert!(Instant::now() >= deadline);
    });
}

#[test]
fn a_future_that_takes_less_time_than_it_may_ends_by_itself() {
    run(async {
        assert_eq!(timeout(LONG, sleep(SHORT)).await, Ok(()));
        assert_eq!(timeout(Duration::MAX, sleep(SHORT)).await, Ok(()));
    });
}

#[test]
fn a_future_that_eats_its_whole_budget_still_times_out() {
    run(async {
        // Until the limit is long enough for several polls.
        let (mut limit, mut eaten) = (SHORT, 0_u64);
        while eaten <= 128 {
            eaten = 0;
            let eat = async {
                loop {
                    consume_budget().await;
                    eaten += 1;
                }
            };
            let before = Instant::now();
            let result: Result<(), Elapsed> = timeout(limit, eat).await;
            assert!(result.is_err());
            assert!(before.elapsed() >= limit);
            limit *= 2;
        }
    });
}

#[test]
fn a_limit_that_has_passed_ends_a_future_that_eats_its_whole_budget_in_its_first_poll() {
    run(async {
        for limit in [Duration::ZERO, Duration::from_nanos(1)] {
            // With a budget that was eaten before, it would first let others run.
            yield_now().await;
            let deadline = Instant::now() + limit;
            while Instant::now() < deadline {}
            let eat = async {
                loop {
                    consume_budget().await;
                }
            };
            let limited: Poll<Result<(), Elapsed>> = poll!(pin!(timeout_at(deadline, eat)));
            assert!(matches!(limited, Poll::Ready(Err(_))));
        }
    });
}

#[test]
fn a_socket_that_never_runs_dry_still_times_out() {
    run(async {
        let (mut client, mut server) = pair().await;
        let echo = async {
            let mut buffer = [1; 1024];
            loop {
                client.write_all(&buffer).await.unwrap();
                server.read_exact(&mut buffer).await.unwrap();
            }
        };
        let result: Result<(), Elapsed> = timeout(SHORT, echo).await;
        assert!(result.is_err());
    });
}

#[test]
fn a_future_that_yields_without_end_still_times_out() {
    run(async {
        let spin = async {
            loop {
                yield_now().await;
            }
        };
        let result: Result<(), Elapsed> = timeout(SHORT, spin).await;
        assert!(result.is_err());
    });
}

#[test]
fn a_timeout_inside_of_unconstrained_still_times_out() {
    run(async {
        assert!(
            unconstrained(timeout(SHORT, pending::<()>()))
                .await
                .is_err()
        );
    });
}

#[test]
fn the_tighter_of_two_nested_limits_counts() {
    run(async {
        assert_eq!(
            timeout(LONG, timeout(SHORT, pending::<()>()))
                .await
                .map(|inner| inner.is_err()),
            Ok(true)
        );
        assert!(
            timeout(SHORT, timeout(LONG, pending::<()>()))
                .await
                .is_err()
        );
    });
}

#[test]
fn the_future_that_was_limited_can_be_taken_out_and_goes_on() {
    run(async {
        let mut limited = timeout(SHORT, sleep(LONG));
        assert!((&mut limited).await.is_err());
        assert!(!limited.get_ref().is_elapsed());
        let deadline = Instant::now() + SHORT;
        limited.get_mut().reset(deadline);
        limited.into_inner().await;
        assert!(Instant::now() >= deadline);
    });
}

#[test]
fn the_future_that_was_limited_is_dropped_with_the_timeout_and_not_before() {
    run(async {
        let trace = Trace::default();
        let kept = Traced(trace.clone(), "inner");
        let mut limited = Box::pin(timeout(SHORT, async move {
            let _kept = kept;
            pending::<()>().await;
        }));
        assert!(limited.as_mut().await.is_err());
        trace.push("elapsed");
        drop(limited);
        assert_eq!(trace.take(), ["elapsed", "drop inner"]);
    });
}

#[test]
fn a_timeout_in_a_task_ends_in_its_handle() {
    run(async {
        let shared = Rc::new(Cell::new(0));
        let task = runtime::spawn({
            let shared = Rc::clone(&shared);
            async move {
                let result = timeout(SHORT, pending::<()>()).await;
                shared.set(1);
                result
            }
        });
        assert!(task.await.unwrap().is_err());
        assert_eq!(shared.get(), 1);
    });
}

#[test]
fn the_error_says_what_happened_and_becomes_an_io_error() {
    run(async {
        let elapsed = timeout(Duration::ZERO, pending::<()>()).await.unwrap_err();
        assert_eq!(elapsed.to_string(), "deadline has elapsed");
        assert!(elapsed.source().is_none());
        assert_eq!(elapsed, elapsed.clone());
        let error = io::Error::from(elapsed);
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "deadline has elapsed");
        assert!(error.get_ref().is_some_and(|inner| inner.is::<Elapsed>()));
    });
}

#[test]
fn timeouts_that_are_over_at_once_let_other_tasks_run() {
    run(async {
        let mut task = runtime::spawn(async { 1 });
        while timeout(Duration::ZERO, &mut task).await.is_err() {}
        let late = Instant::now();
        let mut task = runtime::spawn(async { 1 });
        while timeout_at(late, &mut task).await.is_err() {}
    });
}
