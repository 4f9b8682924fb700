//! The budget of a poll: everything that makes progress takes from it, and without it a task yields.

mod common;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;

use common::{LIMIT, pair, run, within};
use futures::poll;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::task::{JoinSet, consume_budget, unconstrained, yield_now};
use runtime::time::{Duration, Instant, interval_at, sleep, timeout};
use runtime::{Builder, Runtime};

/// Runs a future with that many units for each poll; returns how many polls it took.
fn polls_of<F: Future>(budget: u32, future: F) -> usize {
    within(LIMIT, || {
        let runtime = Builder::new().budget(budget).build().unwrap();
        runtime.block_on(counted(future)).1
    })
}

/// Counts the polls of a future.
async fn counted<F: Future>(future: F) -> (F::Output, usize) {
    let mut future = pin!(future);
    let mut polls = 0;
    let output = poll_fn(|cx| {
        polls += 1;
        future.as_mut().poll(cx)
    });
    (output.await, polls)
}

async fn consume(units: usize) {
    for _ in 0..units {
        consume_budget().await;
    }
}

#[test]
fn a_poll_consumes_its_budget_and_not_a_unit_more() {
    for (budget, units, polls) in [(1, 1, 1), (1, 5, 5), (4, 4, 1), (4, 5, 2), (4, 12, 3)] {
        assert_eq!(
            polls_of(budget, consume(units)),
            polls,
            "{units} by {budget}"
        );
    }
    assert_eq!(polls_of(u32::MAX, consume(100_000)), 1);
}

#[test]
fn the_default_budget_is_128_units() {
    run(async {
        yield_now().await;
        assert_eq!(counted(consume(128)).await.1, 1);
        yield_now().await;
        assert_eq!(counted(consume(129)).await.1, 2);
    });
}

#[test]
fn every_task_has_a_budget_of_its_own_each_turn() {
    within(LIMIT, || {
        let runtime = Builder::new().budget(10).build().unwrap();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..5)
                .map(|_| runtime::spawn(counted(consume(25))))
                .collect();
            for task in tasks {
                assert_eq!(task.await.unwrap().1, 3);
            }
        });
    });
}

#[test]
fn consume_budget_without_a_runtime_has_no_limit() {
    futures::executor::block_on(async {
        assert_eq!(counted(consume(1000)).await.1, 1);
        unconstrained(consume(1000)).await;
    });
}

#[test]
fn unconstrained_lifts_the_limit_and_puts_it_back() {
    assert_eq!(polls_of(4, unconstrained(consume(1000))), 1);
    let around = async {
        consume(3).await;
        unconstrained(consume(1000)).await;
        consume(1).await;
        // Nothing is left now.
        assert!(poll!(pin!(consume_budget())).is_pending());
        assert!(poll!(pin!(unconstrained(consume_budget()))).is_ready());
        assert!(poll!(pin!(consume_budget())).is_pending());
    };
    assert_eq!(polls_of(4, around), 1);
}

#[test]
fn unconstrained_puts_the_limit_back_after_a_panic() {
    let around = async {
        let panicking = unconstrained(async { panic!("on purpose") });
        let caught = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(panicking));
        assert!(caught.await.is_err());
        consume(8).await;
    };
    assert_eq!(polls_of(4, around), 2);
}

#[test]
fn unconstrained_can_be_nested() {
    let nested = unconstrained(async {
        unconstrained(consume(100)).await;
        consume(100).await;
    });
    assert_eq!(polls_of(1, nested), 1);
}

#[test]
fn a_poll_without_budget_makes_the_task_due_again() {
    within(LIMIT, || {
        let runtime = Builder::new().budget(1).build().unwrap();
        runtime.block_on(async {
            let other = runtime::spawn(async {});
            consume(2).await;
            assert!(other.is_finished(), "it had its turn");
        });
    });
}

#[test]
fn timers_and_ticks_that_are_over_take_a_unit_each() {
    let sleeps = async {
        for _ in 0..10 {
            sleep(Duration::ZERO).await;
        }
    };
    assert_eq!(polls_of(5, sleeps), 2);
    let ticks = async {
        let start = Instant::now() - Duration::from_secs(10);
        let mut ticks = interval_at(start, Duration::from_millis(1));
        for _ in 0..10 {
            ticks.tick().await;
        }
    };
    assert_eq!(polls_of(5, ticks), 2);
}

#[test]
fn join_handles_and_sets_take_a_unit_for_each_task() {
    let handles = async {
        let tasks: Vec<_> = (0..10).map(|_| runtime::spawn(async {})).collect();
        yield_now().await;
        for task in tasks {
            task.await.unwrap();
        }
    };
    assert_eq!(polls_of(5, handles), 3);
    let set = async {
        let mut set: JoinSet<()> = (0..10).map(|_| async {}).collect();
        yield_now().await;
        while set.join_next().await.is_some() {}
    };
    assert_eq!(polls_of(5, set), 3);
}

/// How many polls `operations` on a connection take, counted from a fresh budget.
fn polls_on_a_connection<F: Future>(
    budget: u32,
    operations: impl FnOnce(runtime::net::TcpStream, runtime::net::TcpStream) -> F,
) -> usize {
    within(LIMIT, || {
        let runtime = Builder::new().budget(budget).build().unwrap();
        runtime.block_on(async {
            let (client, server) = pair().await;
            yield_now().await;
            counted(operations(client, server)).await.1
        })
    })
}

#[test]
fn small_writes_take_a_unit_each() {
    let polls = polls_on_a_connection(5, async |mut client, _server| {
        for _ in 0..10 {
            client.write_all(b"!").await.unwrap();
        }
    });
    assert_eq!(polls, 2);
}

#[test]
fn large_writes_take_a_unit_more_for_each_4_kib() {
    let polls = polls_on_a_connection(3, async |mut client, _server| {
        for _ in 0..4 {
            // 1 + 2 units.
            client.write_all(&[0; 8 * 1024]).await.unwrap();
        }
    });
    assert_eq!(polls, 4);
}

#[test]
fn errors_take_a_unit_each() {
    let polls = polls_on_a_connection(5, async |mut client, _server| {
        client.shutdown(std::net::Shutdown::Write).unwrap();
        for _ in 0..10 {
            let error = client.write(b"!").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }
    });
    assert_eq!(polls, 2);
}

#[test]
fn ends_of_streams_take_a_unit_each() {
    within(LIMIT, || {
        let runtime = Builder::new().budget(5).build().unwrap();
        runtime.block_on(async {
            let (client, mut server) = pair().await;
            drop(client);
            assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
            yield_now().await;
            let ends = async {
                for _ in 0..10 {
                    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
                }
            };
            assert_eq!(counted(ends).await.1, 2);
        });
    });
}

#[test]
fn a_budget_of_one_unit_is_enough_for_everything() {
    within(LIMIT, || {
        let runtime = Builder::new().budget(1).build().unwrap();
        runtime.block_on(async {
            let (mut client, mut server) = pair().await;
            let echo = runtime::spawn(async move {
                let mut buffer = vec![0; 1 << 16];
                server.read_exact(&mut buffer).await.unwrap();
                server.write_all(&buffer).await.unwrap();
            });
            let sent: Vec<u8> = (0..=255).cycle().take(1 << 16).collect();
            client.write_all(&sent).await.unwrap();
            let mut received = vec![0; 1 << 16];
            client.read_exact(&mut received).await.unwrap();
            assert!(sent == received);
            echo.await.unwrap();
            let mut set: JoinSet<u32> = (0..10).map(|number| async move { number }).collect();
            let mut sum = 0;
            while let Some(number) = set.join_next().await {
                sum += number.unwrap();
            }
            assert_eq!(sum, 45);
            sleep(Duration::from_micros(100)).await;
            let never = std::future::pending::<()>();
            assert!(timeout(Duration::from_micros(100), never).await.is_err());
            assert_eq!(timeout(Duration::from_secs(60), async { 1 }).await, Ok(1));
        });
    });
}

#[test]
fn a_future_that_waits_takes_nothing() {
    let waiting = async {
        let polled = Cell::new(0);
        let mut timers: Vec<_> = (0..100).map(|_| sleep(Duration::MAX)).collect();
        for timer in &mut timers {
            polled.set(polled.get() + 1);
            assert!(poll!(timer).is_pending());
        }
        consume(1).await;
        polled.get()
    };
    assert_eq!(polls_of(1, waiting), 1);
}

#[test]
fn a_destructor_of_another_runtime_that_comes_back_refills_no_budget() {
    within(LIMIT, || {
        let ours = Runtime::new().unwrap();
        let theirs = Runtime::new().unwrap();
        // Each of their outputs drops one of ours, inside of our runtime.
        let detour = |_| {
            let output = ours.spawn(async { Box::new(1) });
            theirs.spawn(async move { [output] })
        };
        let detours = Vec::from_iter((0..100).map(detour));
        theirs.block_on(async {
            while detours.iter().any(|task| !task.is_finished()) {
                yield_now().await
            }
        });
        let task = ours.spawn(async move {
            let mut consumed = 0;
            for detour in detours {
                drop(detour);
                let mut unit = pin!(consume_budget());
                if poll!(&mut unit).is_ready() {
                    consumed += 1;
                }
                let mut more = pin!(consume_budget());
                consumed += u32::from(poll!(&mut more).is_ready());
            }
            consumed
        });
        ours.block_on(async { assert!(task.await.unwrap() <= 128) });
    });
}
