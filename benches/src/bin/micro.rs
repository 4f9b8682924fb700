//! One small operation, many times: for counting instructions, not for reading clocks.
//!
//! `micro SCENARIO COUNT` does it COUNT times; `instructions` runs it under callgrind with two counts
//! and takes the slope.

use std::cell::Cell;
use std::env;
use std::future::poll_fn;
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::{Poll, Waker};

use runtime::task::yield_now;
use runtime::time::{Duration, sleep};

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let scenario = arguments.next().unwrap_or_default();
    let count = arguments.next().and_then(|count| count.parse().ok());
    match (scenario.as_str(), count) {
        ("spawn-join", Some(count)) => runtime::block_on(spawn_join(count)),
        ("spawn-await", Some(count)) => runtime::block_on(spawn_await(count)),
        ("yield-1", Some(count)) => runtime::block_on(yields(1, count)),
        ("yield-100", Some(count)) => runtime::block_on(yields(100, count)),
        ("ping-pong", Some(count)) => runtime::block_on(ping_pong(count)),
        ("waker-clone", Some(count)) => runtime::block_on(waker_clone(count)),
        ("wake-due", Some(count)) => runtime::block_on(wake_due(count)),
        ("timer-0", Some(count)) => runtime::block_on(timers(0, count)),
        ("timer-10k", Some(count)) => runtime::block_on(timers(10_000, count)),
        _ => {
            eprintln!(
                "usage: micro spawn-join|spawn-await|yield-1|yield-100|ping-pong|waker-clone|\
                 wake-due|timer-0|timer-10k COUNT"
            );
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Spawns tasks by the hundred, then joins them.
async fn spawn_join(count: u32) {
    for _ in 0..count / 100 {
        let mut tasks = Vec::with_capacity(100);
        for number in 0..100 {
            tasks.push(runtime::spawn(async move { number }));
        }
        for task in tasks {
            task.await.expect("the task returns");
        }
    }
}

/// Spawns a task and waits for it, one at a time.
async fn spawn_await(count: u32) {
    for number in 0..count {
        runtime::spawn(async move { number })
            .await
            .expect("the task returns");
    }
}

/// Lets tasks yield, `count` times in all.
async fn yields(tasks: u32, count: u32) {
    let yielding = (0..tasks).map(|_| {
        runtime::spawn(async move {
            for _ in 0..count / tasks {
                yield_now().await;
            }
        })
    });
    for task in yielding.collect::<Vec<_>>() {
        task.await.expect("the task returns");
    }
}

/// One side of a rendezvous: a flag and who waits for it.
#[derive(Default)]
struct Signal {
    is_set: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Signal {
    fn set(&self) {
        self.is_set.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    async fn wait(&self) {
        poll_fn(|cx| {
            if self.is_set.replace(false) {
                return Poll::Ready(());
            }
            self.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// Two tasks wake each other in turn.
async fn ping_pong(count: u32) {
    let (ping, pong) = (Rc::new(Signal::default()), Rc::new(Signal::default()));
    let server = runtime::spawn({
        let (ping, pong) = (Rc::clone(&ping), Rc::clone(&pong));
        async move {
            for _ in 0..count {
                ping.wait().await;
                pong.set();
            }
        }
    });
    let client = runtime::spawn(async move {
        for _ in 0..count {
            ping.set();
            pong.wait().await;
        }
    });
    client.await.expect("the client returns");
    server.await.expect("the server returns");
}

/// Clones and drops a waker.
async fn waker_clone(count: u32) {
    poll_fn(|cx| {
        for _ in 0..count {
            drop(std::hint::black_box(
                std::hint::black_box(cx.waker()).clone(),
            ));
        }
        Poll::Ready(())
    })
    .await;
}

/// Wakes a task that is due already.
async fn wake_due(count: u32) {
    poll_fn(|cx| {
        for _ in 0..count {
            std::hint::black_box(cx.waker()).wake_by_ref();
        }
        Poll::Ready(())
    })
    .await;
}

/// Makes, polls and drops a timer, with others pending.
async fn timers(pending_timers: u64, count: u32) {
    let mut others = Vec::new();
    for number in 0..pending_timers {
        others.push(Box::pin(sleep(Duration::from_millis(60_000 + number))));
    }
    poll_fn(|cx| {
        for other in &mut others {
            assert!(other.as_mut().poll(cx).is_pending());
        }
        for _ in 0..count {
            let timer = pin!(sleep(Duration::from_secs(30)));
            assert!(timer.poll(cx).is_pending());
        }
        Poll::Ready(())
    })
    .await;
    drop(others);
}
