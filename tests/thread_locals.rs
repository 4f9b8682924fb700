//! Thread-locals: whatever of a runtime ends with its thread, in whichever order, ends quietly.
//!
//! Thread-locals are destroyed in an order that follows the order of their first use, and a panic in one
//! of their destructors would end the process; so each test runs in both orders.

mod common;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::env;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{self, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

use common::{LIMIT, on_drop, pair, poll_with, within};
use futures::FutureExt;
use runtime::task::{JoinSet, try_id, yield_now};
use runtime::time::{Duration, sleep};
use runtime::{Runtime, spawn};

thread_local! {
    static EARLY: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
    static LATE: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
    static ORDER: Cell<&'static str> = const { Cell::new("") };
}

/// Runs `fill` on threads of their own, with places for two values: one that is first used before the
/// runtime's own thread-locals and one that is first used after them, then the other way round.
fn in_both_orders(fill: impl Fn() -> (Box<dyn Any>, Box<dyn Any>) + Send + Sync) {
    within(LIMIT, || {
        for order in ["first is early", "second is early"] {
            thread::scope(|scope| {
                let thread = scope.spawn(|| {
                    ORDER.set(order);
                    EARLY.set(None);
                    let (first, second) = fill();
                    let (early, late) = match order {
                        "first is early" => (first, second),
                        _ => (second, first),
                    };
                    EARLY.set(Some(early));
                    LATE.set(Some(late));
                });
                // The thread's destructors have run when this returns.
                thread.join().unwrap();
            });
        }
    });
}

/// A runtime with a task whose destructor uses it and counts itself.
fn runtime_with_a_task(dropped: &Arc<AtomicUsize>) -> Runtime {
    let runtime = Runtime::new().unwrap();
    let dropped = Arc::clone(dropped);
    let guard = on_drop(move || {
        let task = spawn(async {});
        assert!(task.is_finished());
        assert!(sleep(Duration::from_secs(1)).now_or_never().is_none());
        assert!(try_id().is_some());
        dropped.fetch_add(1, Ordering::SeqCst);
    });
    runtime.spawn(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    runtime.block_on(yield_now());
    runtime
}

#[test]
fn a_runtime_ends_with_its_thread_and_drops_its_tasks() {
    let dropped = Arc::new(AtomicUsize::new(0));
    in_both_orders(|| {
        (
            Box::new(runtime_with_a_task(&dropped)),
            Box::new(runtime_with_a_task(&dropped)),
        )
    });
    assert_eq!(dropped.load(Ordering::SeqCst), 4);
}

#[test]
fn handles_end_before_and_after_their_runtime() {
    let dropped = Arc::new(AtomicUsize::new(0));
    in_both_orders(|| {
        let runtime = runtime_with_a_task(&dropped);
        let output = {
            let dropped = Arc::clone(&dropped);
            on_drop(move || {
                dropped.fetch_add(1, Ordering::SeqCst);
            })
        };
        let finished = runtime.spawn(async { output });
        let waiting = runtime.spawn(pending::<()>());
        let abort = waiting.abort_handle();
        let mut set = JoinSet::new();
        runtime.block_on(async {
            set.spawn(async { 1 });
            yield_now().await;
            set.spawn(pending());
        });
        let aborts = on_drop(move || abort.abort());
        (
            Box::new(runtime),
            Box::new((finished, aborts, waiting, set)),
        )
    });
    assert_eq!(dropped.load(Ordering::SeqCst), 4);
}

#[test]
fn wakers_are_used_before_and_after_their_runtime() {
    let dropped = Arc::new(AtomicUsize::new(0));
    in_both_orders(|| {
        let runtime = runtime_with_a_task(&dropped);
        let task = runtime.spawn(poll_fn(|cx| Poll::Ready(cx.waker().clone())));
        let mut wakers = Vec::new();
        runtime.block_on(async {
            wakers.push(task.await.unwrap());
            wakers.push(poll_fn(|cx| Poll::Ready(cx.waker().clone())).await);
        });
        let waking = on_drop(move || {
            for waker in wakers {
                waker.wake_by_ref();
                waker.wake();
            }
        });
        (Box::new(runtime), Box::new(waking))
    });
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
}

#[test]
fn registered_sockets_and_timers_end_before_and_after_their_runtime() {
    let dropped = Arc::new(AtomicUsize::new(0));
    in_both_orders(|| {
        let runtime = runtime_with_a_task(&dropped);
        let (client, server) = runtime.block_on(pair());
        let mut timer = sleep(Duration::from_secs(3600));
        runtime.block_on(poll_fn(|cx| {
            assert!(server.poll_read_ready(cx).is_pending());
            assert!(timer.poll_unpin(cx).is_pending());
            Poll::Ready(())
        }));
        let (read, write) = client.into_split();
        let resets = on_drop(move || timer.reset(runtime::time::Instant::now()));
        (Box::new(runtime), Box::new((resets, read, write, server)))
    });
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
}

#[test]
fn a_destructor_of_a_thread_local_may_run_a_runtime() {
    let ran = Arc::new(AtomicUsize::new(0));
    in_both_orders(|| {
        let run_one = || {
            let (ran, order) = (Arc::clone(&ran), ORDER.get());
            on_drop(move || {
                // A panic that left this destructor would end the process.
                let run = catch_unwind(AssertUnwindSafe(|| {
                    runtime::block_on(async {
                        let task = spawn(async {
                            sleep(Duration::from_micros(100)).await;
                            yield_now().await;
                            1
                        });
                        let (client, server) = pair().await;
                        drop(client);
                        server.readable().await.unwrap();
                        ran.fetch_add(task.await.unwrap(), Ordering::SeqCst);
                    });
                }));
                if run.is_err() {
                    eprintln!("a runtime could not run in a destructor ({order})");
                }
            })
        };
        drop(Runtime::new().unwrap());
        (Box::new(run_one()), Box::new(run_one()))
    });
    assert_eq!(ran.load(Ordering::SeqCst), 4);
}

/// Uses a runtime that is not gone, in each way that touches a thread-local of ours.
fn use_from_a_destructor(runtime: &Runtime) {
    // A panic that left the destructor would end the process.
    let result = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            sleep(Duration::from_micros(100)).await;
            let (client, server) = pair().await;
            drop(client);
            server.readable().await.unwrap();
            spawn(yield_now()).await.unwrap();
        });
        drop(runtime.spawn(async { on_drop(|| drop(spawn(async {}))) }));
    }));
    if result.is_err() {
        process::abort();
    }
}

#[test]
fn a_destructor_of_a_thread_local_may_use_the_runtime_of_another() {
    thread_local! {
        static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
    }
    let [used, missed] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let user = || {
        let (used, missed) = (Arc::clone(&used), Arc::clone(&missed));
        on_drop(move || {
            let result = RUNTIME.try_with(|runtime| {
                use_from_a_destructor(runtime.borrow().as_ref().unwrap());
            });
            let count = if result.is_ok() { used } else { missed };
            count.fetch_add(1, Ordering::SeqCst);
        })
    };
    within(LIMIT, || {
        let (early, late) = (user(), user());
        let lives = move || {
            RUNTIME.set(None);
            EARLY.set(Some(Box::new(early)));
            // The runtime's own thread-locals come after these two, so they are gone before them.
            RUNTIME.set(Some(runtime_with_a_task(&Arc::default())));
            LATE.set(Some(Box::new(late)));
        };
        thread::spawn(lives).join().unwrap();
    });
    let [used, missed] = [used, missed].map(|count| count.load(Ordering::SeqCst));
    assert_eq!(used + missed, 2);
    assert!(used > 0, "the runtime was always gone before");
}

/// Ends the process in its own way if it is dropped twice.
struct Once(Cell<bool>);

impl Drop for Once {
    fn drop(&mut self) {
        if self.0.replace(true) {
            process::abort();
        }
    }
}

/// Ends the process with 42 from within a task of a runtime in a thread-local.
fn exit_in(case: &str) {
    thread_local! {
        static RUNTIME: Runtime = Runtime::new().unwrap();
    }
    // Thread-locals that were used before the runtime's end after it.
    EARLY.set(None);
    let once = Once(Cell::new(false));
    let exits = on_drop(|| process::exit(42));
    let in_a_poll = async move {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        EARLY.set(Some(Box::new(on_drop(move || {
            waker.wake();
            assert!(spawn(async {}).is_finished());
        }))));
        yield_now().await;
        drop(once);
        // The future still looks as if it waited above, with what has just been dropped.
        drop(exits);
    };
    let (panics, is_in_poll) = (case == "drop after a panic", case == "poll");
    let mut captured = (Once(Cell::new(false)), on_drop(|| process::exit(42)));
    let in_a_drop = poll_fn(move |_| {
        let _ = &mut captured;
        if panics {
            std::panic::resume_unwind(Box::new(()));
        }
        Poll::Ready(())
    });
    RUNTIME.with(|runtime| {
        runtime.spawn(pending::<()>());
        runtime.block_on(async {
            if is_in_poll {
                std::mem::forget(in_a_drop);
                let _ = spawn(in_a_poll).await;
            } else {
                std::mem::forget(in_a_poll);
                let _ = spawn(in_a_drop).await;
            }
        });
    });
}

/// `exit` runs the destructors of this thread's thread-locals on top of the stack that called it, so a
/// runtime in one of them is dropped in the midst of a poll, while that poll still borrows its future.
#[test]
fn a_process_may_exit_in_a_task_of_a_runtime_that_a_thread_local_holds() {
    const CASE: &str = "RUNTIME_TEST_EXIT_IN";
    within(LIMIT, || {
        if let Ok(case) = env::var(CASE) {
            return exit_in(&case);
        }
        let endings = ["poll", "drop after the end", "drop after a panic"].map(|case| {
            let status = Command::new(env::current_exe().unwrap())
                .args(["--exact", thread::current().name().unwrap()])
                .env(CASE, case)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            (case, status.code())
        });
        assert_eq!(endings.map(|(_, code)| code), [Some(42); 3], "{endings:?}");
    });
}

#[test]
fn an_output_is_dropped_by_a_handle_that_ends_with_the_thread_inside_of_its_runtime() {
    // The runtime lives on the stack of a value in the same place, so it is there until the handle is
    // gone, though the thread-local that finds runtimes may not be.
    let dropped = Arc::new(AtomicUsize::new(0));
    in_both_orders(|| {
        let runtime = Runtime::new().unwrap();
        let output = {
            let dropped = Arc::clone(&dropped);
            on_drop(move || {
                dropped.fetch_add(1, Ordering::SeqCst);
            })
        };
        let handle = runtime.spawn(async { output });
        runtime.block_on(yield_now());
        (Box::new((handle, runtime)), Box::new(()))
    });
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
}

#[test]
fn sockets_and_timers_without_a_runtime_end_with_their_thread() {
    in_both_orders(|| {
        let socket = runtime::net::TcpSocket::new_v4().unwrap();
        let timer = sleep(Duration::from_secs(3600));
        (Box::new(socket), Box::new(timer))
    });
}

#[test]
fn foreign_wakers_are_let_go_when_the_runtime_ends_with_its_thread() {
    let count = Arc::new(common::WakeCount::default());
    in_both_orders(|| {
        let runtime = Runtime::new().unwrap();
        let waker = Waker::from(Arc::clone(&count));
        let (client, server) = runtime.block_on(pair());
        let mut timer = sleep(Duration::from_secs(3600));
        let mut task = runtime.spawn(pending::<()>());
        runtime.block_on(poll_fn(|_| {
            let mut cx = Context::from_waker(&waker);
            assert!(server.poll_read_ready(&mut cx).is_pending());
            assert!(poll_with(&mut timer, &waker).is_pending());
            assert!(poll_with(&mut task, &waker).is_pending());
            Poll::Ready(())
        }));
        (Box::new(runtime), Box::new((client, server, timer, task)))
    });
    assert_eq!(Arc::strong_count(&count), 1);
}
