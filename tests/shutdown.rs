//! Dropping a runtime: every task dies in order and inside of it, and whoever waits is told.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use common::{LIMIT, Trace, Traced, WakeCount, listen, on_drop, pair, poll_with, run, within};
use futures::FutureExt;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::TcpStream;
use runtime::task::{AbortHandle, JoinHandle, yield_now};
use runtime::time::{Duration, interval, sleep};
use runtime::{Builder, Runtime, spawn};

type DynFuture = Pin<Box<dyn Future<Output = ()>>>;

/// Futures that wait for one thing each, by name, and what must live for that.
async fn all_kinds_of_waits() -> ([(&'static str, DynFuture); 7], impl Sized) {
    let (mut reads, peer) = pair().await;
    let (mut writes, full_peer) = pair().await;
    let (listener, _) = listen().await;
    let (send, receive) = async_channel::bounded::<()>(1);
    let waits: [(_, DynFuture); 7] = [
        ("idle", Box::pin(pending())),
        ("timer", Box::pin(sleep(Duration::from_secs(3600)))),
        (
            "interval",
            Box::pin(async {
                let mut interval = interval(Duration::from_secs(3600));
                loop {
                    interval.tick().await;
                }
            }),
        ),
        (
            "reader",
            Box::pin(async move { drop(reads.read(&mut [0]).await) }),
        ),
        (
            "writer",
            Box::pin(async move { while writes.write_all(&[0; 65536]).await.is_ok() {} }),
        ),
        (
            "listener",
            Box::pin(async move { drop(listener.accept().await) }),
        ),
        (
            "channel",
            Box::pin(async move { assert!(receive.recv().await.is_err()) }),
        ),
    ];
    (waits, (peer, full_peer, send))
}

#[test]
fn tasks_die_in_the_order_of_spawning_whatever_they_wait_for() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let trace = Trace::default();
        let (waits, _kept) = runtime.block_on(all_kinds_of_waits());
        let spawn_guarded = |(name, future): (&'static str, DynFuture)| {
            let guard = Traced(trace.clone(), name);
            runtime.spawn(async move {
                let _guard = guard;
                future.await;
            })
        };
        let mut tasks = Vec::from_iter(waits.map(spawn_guarded));
        // Until the writer's buffers are full.
        runtime.block_on(async {
            for _ in 0..1000 {
                yield_now().await;
            }
        });
        tasks.push(spawn_guarded(("unpolled", Box::pin(pending()))));
        assert_eq!(trace.take(), [""; 0]);
        drop(runtime);
        let names = [
            "idle", "timer", "interval", "reader", "writer", "listener", "channel", "unpolled",
        ];
        assert_eq!(trace.take(), names.map(|name| format!("drop {name}")));
        for task in tasks {
            let error = task.now_or_never().unwrap().unwrap_err();
            assert!(error.is_cancelled());
        }
    });
}

/// A future whose destructor spawns such a future, `depth` times.
fn begets(depth: u32, cancelled: Rc<Cell<u32>>) -> impl Future<Output = ()> + 'static {
    let guard = on_drop(move || {
        if depth > 0 {
            let handle: JoinHandle<()> =
                spawn(Box::pin(begets(depth - 1, Rc::clone(&cancelled))) as DynFuture);
            assert!(handle.is_finished());
            handle.abort();
            let error = handle.now_or_never().unwrap().unwrap_err();
            assert!(error.is_cancelled());
            cancelled.set(cancelled.get() + 1);
        }
    });
    async move {
        let _guard = guard;
        pending::<()>().await;
    }
}

#[test]
fn what_destructors_spawn_is_cancelled_and_dropped_at_once() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let cancelled = Rc::new(Cell::new(0));
        for _ in 0..3 {
            runtime.spawn(begets(20, Rc::clone(&cancelled)));
        }
        runtime.block_on(yield_now());
        drop(runtime);
        assert_eq!(cancelled.get(), 3 * 20);
        assert_eq!(Rc::strong_count(&cancelled), 1);
    });
}

#[test]
fn each_destructor_has_a_budget_whatever_was_used_up_before() {
    within(LIMIT, || {
        let runtime = Builder::new().budget(1).build().unwrap();
        let finished = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let finished = Rc::clone(&finished);
            let guard = on_drop(move || {
                let task = spawn(async {});
                if task.now_or_never().is_some() {
                    finished.set(finished.get() + 1);
                }
            });
            runtime.spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            });
        }
        runtime.block_on(async {
            yield_now().await;
            spawn(async {}).await.unwrap();
        });
        drop(runtime);
        assert_eq!(finished.get(), 3, "a finished task looked unfinished");
    });
}

#[test]
fn a_panic_in_one_destructor_keeps_no_other_from_running_even_while_unwinding() {
    within(LIMIT, || {
        let dropped = Rc::new(Cell::new(0));
        let mut tasks = Vec::new();
        let thrown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let runtime = Runtime::new().unwrap();
            for number in 0..10 {
                let dropped = Rc::clone(&dropped);
                let guard = on_drop(move || {
                    dropped.set(dropped.get() + 1);
                    if number % 3 == 1 {
                        std::panic::resume_unwind(Box::new(number));
                    }
                });
                tasks.push(runtime.spawn(async move {
                    let _guard = guard;
                    pending::<()>().await;
                }));
            }
            std::panic::resume_unwind(Box::new("outermost"));
        }));
        assert_eq!(thrown.unwrap_err().downcast_ref(), Some(&"outermost"));
        assert_eq!(dropped.get(), 10);
        for (number, task) in (0..).zip(tasks) {
            let error = task.now_or_never().unwrap().unwrap_err();
            assert_eq!(error.is_panic(), number % 3 == 1);
            if let Ok(payload) = error.try_into_panic() {
                assert_eq!(payload.downcast_ref(), Some(&number));
            }
        }
    });
}

#[test]
fn destructors_may_wake_and_abort_the_dead_and_the_living() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let polls = Rc::new(Cell::new(0));
        let all: Rc<RefCell<Vec<(Waker, AbortHandle)>>> = Rc::default();
        let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
        let tasks = Vec::from_iter((0..5).map(|_| {
            let (polls, wakers) = (Rc::clone(&polls), Rc::clone(&wakers));
            let all = Rc::clone(&all);
            let mut guard = Some(on_drop(move || {
                for (waker, abort) in all.borrow().iter() {
                    waker.wake_by_ref();
                    abort.abort();
                }
            }));
            runtime.spawn(poll_fn(move |cx| {
                let _ = &mut guard;
                polls.set(polls.get() + 1);
                wakers.borrow_mut().push(cx.waker().clone());
                Poll::<()>::Pending
            }))
        }));
        runtime.block_on(yield_now());
        let aborts = tasks.iter().map(JoinHandle::abort_handle);
        *all.borrow_mut() = wakers.take().into_iter().zip(aborts).collect();
        drop(runtime);
        assert_eq!(polls.get(), 5);
        assert!(tasks.iter().all(JoinHandle::is_finished));
        for (waker, abort) in all.borrow().iter() {
            waker.wake_by_ref();
            abort.abort();
        }
        assert_eq!(polls.get(), 5);
    });
}

#[test]
fn whoever_waits_from_outside_is_woken_once_and_let_go() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (connection, _peer) = runtime.block_on(pair());
        let mut task = runtime.spawn(pending::<()>());
        let mut timer = sleep(Duration::from_secs(3600));
        let wakers = [(); 3].map(|()| WakeCount::new());
        runtime.block_on(poll_fn(|_| {
            let mut cx = Context::from_waker(&wakers[0].1);
            assert!(connection.poll_read_ready(&mut cx).is_pending());
            assert!(poll_with(&mut timer, &wakers[1].1).is_pending());
            assert!(poll_with(&mut task, &wakers[2].1).is_pending());
            Poll::Ready(())
        }));
        drop(runtime);
        for (count, _) in &wakers {
            assert_eq!(count.wakes(), 1);
            assert_eq!(Arc::strong_count(count), 2);
        }
    });
}

#[test]
fn a_destructor_that_waits_for_a_socket_is_told_of_the_end() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let connections = Rc::new(runtime.block_on(pair()));
        let (count, waker) = WakeCount::new();
        let is_told = Rc::new(Cell::new(false));
        let guard = on_drop({
            let (connections, is_told) = (Rc::clone(&connections), Rc::clone(&is_told));
            move || {
                let mut cx = Context::from_waker(&waker);
                let polled = connections.0.poll_read_ready(&mut cx);
                is_told.set(matches!(polled, Poll::Ready(Err(_))));
            }
        });
        runtime.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        drop(runtime);
        // By an error at once, or by a wake when the reactor ends.
        assert!(is_told.get() || count.wakes() == 1);
        assert_eq!(Arc::strong_count(&count), 1);
    });
}

#[test]
fn sockets_and_timers_outlive_their_runtime_and_go_on_in_the_next() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (mut client, mut server) = runtime.block_on(pair());
        let mut timer = sleep(Duration::from_millis(1));
        runtime.block_on(poll_fn(|cx| {
            // Both are registered with the runtime that will be gone.
            assert!(server.poll_read_ready(cx).is_pending());
            let _ = timer.poll_unpin(cx);
            Poll::Ready(())
        }));
        drop(runtime);
        run(async {
            timer.await;
            client.write_all(b"moved").await.unwrap();
            let mut buffer = [0; 5];
            server.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, b"moved");
        });
    });
}

#[test]
fn destructors_close_sockets_as_ever() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (client, server) = runtime.block_on(pair());
        let mut client = client.into_std().unwrap();
        client.set_nonblocking(false).unwrap();
        let hold = |server: TcpStream| async move {
            let _ = server.readable().await;
            unreachable!("nobody wrote");
        };
        runtime.spawn(hold(server));
        runtime.block_on(yield_now());
        drop(runtime);
        assert_eq!(std::io::Read::read(&mut client, &mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_task_may_own_another_runtime_with_tasks_of_its_own() {
    within(LIMIT, || {
        let trace = Trace::default();
        let outer = Runtime::new().unwrap();
        let inner = Runtime::new().unwrap();
        let guard = Traced(trace.clone(), "inner task");
        inner.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        let guard = Traced(trace.clone(), "outer task");
        outer.spawn(async move {
            let _guard = guard;
            let _inner = inner;
            pending::<()>().await;
        });
        outer.block_on(yield_now());
        drop(outer);
        assert_eq!(trace.take(), ["drop inner task", "drop outer task"]);
    });
}

#[test]
fn a_runtime_that_never_ran_can_be_dropped() {
    within(LIMIT, || {
        drop(Runtime::new().unwrap());
        let dropped = Rc::new(());
        let runtime = Runtime::new().unwrap();
        let kept = Rc::clone(&dropped);
        drop(runtime.spawn(async move { drop(kept) }));
        drop(runtime);
        assert_eq!(Rc::strong_count(&dropped), 1);
    });
}
