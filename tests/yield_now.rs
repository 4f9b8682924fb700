//! Yielding puts a task at the back of the queue, and lets the rest of the world through.

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::thread;

use common::{LIMIT, Trace, pair, pair_with_std, run, run_in_task, within};
use futures::poll;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::task::{JoinHandle, yield_now};
use runtime::time::{Duration, sleep};
use runtime::{Builder, Runtime};

/// Spawns a task that does nothing but yield, until it is aborted.
fn spin() -> JoinHandle<()> {
    runtime::spawn(async {
        loop {
            yield_now().await;
        }
    })
}

#[test]
fn tasks_that_yield_take_turns() {
    run(async {
        let trace = Trace::default();
        let tasks = ["a", "b", "c"].map(|name| {
            let trace = trace.clone();
            runtime::spawn(async move {
                for round in 1..=3 {
                    trace.push(format!("{name}{round}"));
                    yield_now().await;
                }
            })
        });
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(
            trace.take(),
            ["a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3", "c3"]
        );
    });
}

#[test]
fn a_yield_is_one_pending_poll_and_no_more() {
    run(async {
        let mut future = Box::pin(yield_now());
        assert!(poll!(&mut future).is_pending());
        assert!(poll!(&mut future).is_ready());
    });
}

#[test]
fn a_yield_goes_behind_what_became_due_before_it() {
    run(async {
        let trace = Trace::default();
        let note = |name: &'static str| {
            let trace = trace.clone();
            async move { trace.push(name) }
        };
        let outer = {
            let (trace, first, second) = (trace.clone(), note("first"), note("second"));
            runtime::spawn(async move {
                runtime::spawn(first);
                runtime::spawn(second);
                yield_now().await;
                trace.push("outer");
            })
        };
        outer.await.unwrap();
        assert_eq!(trace.take(), ["first", "second", "outer"]);
    });
}

#[test]
fn a_task_yields_to_all_others() {
    run_in_task(async {
        let steps = Rc::new(Cell::new(0));
        let task = runtime::spawn({
            let steps = Rc::clone(&steps);
            async move {
                loop {
                    steps.set(steps.get() + 1);
                    yield_now().await;
                }
            }
        });
        for turn in 0..100 {
            assert_eq!(steps.get(), turn);
            yield_now().await;
        }
        task.abort();
    });
}

#[test]
fn a_loop_of_yields_lets_sockets_through() {
    run(async {
        let spinning = [spin(), spin(), spin()];
        let (mut client, mut server) = pair().await;
        let echo = runtime::spawn(async move {
            let mut byte = [0];
            while server.read_exact(&mut byte).await.is_ok() {
                server.write_all(&byte).await.unwrap();
            }
        });
        for sent in 0..100 {
            client.write_all(&[sent]).await.unwrap();
            let mut received = [0];
            client.read_exact(&mut received).await.unwrap();
            assert_eq!(received, [sent]);
        }
        drop(client);
        echo.await.unwrap();
        spinning.iter().for_each(JoinHandle::abort);
    });
}

#[test]
fn a_loop_of_yields_lets_timers_through() {
    run(async {
        let spinning = spin();
        for _ in 0..5 {
            sleep(Duration::from_millis(1)).await;
        }
        spinning.abort();
    });
}

#[test]
fn a_loop_of_yields_lets_wakes_from_other_threads_through() {
    run(async {
        let spinning = spin();
        let (to_thread, inbox) = async_channel::bounded::<u32>(1);
        let (outbox, from_thread) = async_channel::bounded(1);
        let thread = thread::spawn(move || {
            while let Ok(number) = inbox.recv_blocking() {
                outbox.send_blocking(number + 1).unwrap();
            }
        });
        for number in 0..100 {
            to_thread.send(number).await.unwrap();
            assert_eq!(from_thread.recv().await, Ok(number + 1));
        }
        drop(to_thread);
        thread.join().unwrap();
        spinning.abort();
    });
}

#[test]
fn a_main_future_that_only_yields_lets_everything_through() {
    run(async {
        let (mut outside, mut stream) = pair_with_std().await;
        let (sender, receiver) = async_channel::bounded::<()>(1);
        let thread = thread::spawn(move || {
            std::io::Write::write_all(&mut outside, b"!").unwrap();
            sender.send_blocking(()).unwrap();
            outside
        });
        let tasks = [
            runtime::spawn(async move { stream.read_exact(&mut [0]).await.unwrap() }),
            runtime::spawn(async move { receiver.recv().await.unwrap() }),
            runtime::spawn(sleep(Duration::from_millis(1))),
        ];
        while !tasks.iter().all(JoinHandle::is_finished) {
            yield_now().await;
        }
        thread.join().unwrap();
    });
}

#[test]
fn a_loop_of_yields_lets_timers_through_whatever_the_event_interval() {
    for polls in [1, 2, 1000, 100_000] {
        within(LIMIT, || {
            let runtime: Runtime = Builder::new().event_interval(polls).build().unwrap();
            runtime.block_on(async {
                let spinning = spin();
                sleep(Duration::from_millis(1)).await;
                spinning.abort();
            });
        });
    }
}
