//! Join handles: the result comes once, to whoever polls last, in any runtime of the thread or in none.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use common::panics::panic_of;
use common::{LIMIT, Trace, Traced, WakeCount, on_drop, poll_with, run, turn_of_all, within};
use futures::channel::oneshot;
use runtime::task::{JoinHandle, yield_now};
use runtime::time::{Duration, timeout};
use runtime::{Runtime, spawn};

/// How many clones of the waker live, besides the test's own.
fn clones(count: &Arc<WakeCount>) -> usize {
    Arc::strong_count(count) - 2
}

#[test]
fn a_handle_returns_the_output_whether_the_task_finished_before_or_after_the_first_poll() {
    run(async {
        let late = spawn(async {
            yield_now().await;
            "late"
        });
        assert_eq!(late.await.unwrap(), "late");

        let early = spawn(async { "early" });
        yield_now().await;
        assert!(early.is_finished());
        assert_eq!(early.await.unwrap(), "early");
    });
}

#[test]
fn a_handle_that_has_returned_its_result_panics_when_polled_again() {
    const SENTENCE: &str = "a JoinHandle was polled after it had returned its result";
    run(async {
        let mut output = spawn(async { 1 });
        (&mut output).await.unwrap();
        let mut failure = spawn(async { panic!("this one is meant") });
        (&mut failure).await.unwrap_err();
        let mut cancelled = spawn(pending::<()>());
        cancelled.abort();
        (&mut cancelled).await.unwrap_err();

        let noop = Waker::noop();
        for panic in [
            panic_of(|| poll_with(&mut output, noop).is_ready()),
            panic_of(|| poll_with(&mut output, noop).is_ready()),
            panic_of(|| poll_with(&mut failure, noop).is_ready()),
            panic_of(|| poll_with(&mut cancelled, noop).is_ready()),
        ] {
            assert_eq!(panic.message, SENTENCE);
        }
        assert!(output.is_finished());
        // The task is over for good: an abort finds nothing.
        output.abort();
    });
}

#[test]
fn a_result_waits_in_the_handle_when_a_timeout_gave_up_on_it() {
    run(async {
        let (send, receive) = oneshot::channel::<u32>();
        let mut handle = spawn(async { receive.await.unwrap() });
        timeout(Duration::from_nanos(1), &mut handle)
            .await
            .unwrap_err();
        send.send(5).unwrap();
        yield_now().await;
        assert!(handle.is_finished());
        // The deadline has passed, and still the result that is there comes first.
        let result = timeout(Duration::ZERO, &mut handle).await;
        assert_eq!(result.unwrap().unwrap(), 5);
    });
}

#[test]
fn only_the_waker_of_the_latest_poll_is_woken_and_none_is_kept() {
    run(async {
        let (send, receive) = oneshot::channel::<()>();
        let mut handle = spawn(receive);
        let (first, waker_1) = WakeCount::new();
        let (second, waker_2) = WakeCount::new();
        assert!(poll_with(&mut handle, &waker_1).is_pending());
        assert!(poll_with(&mut handle, &waker_2).is_pending());
        assert_eq!((clones(&first), clones(&second)), (0, 1));
        send.send(()).unwrap();
        yield_now().await;
        assert_eq!((first.wakes(), second.wakes()), (0, 1));
        assert_eq!((clones(&first), clones(&second)), (0, 0));
        assert!(poll_with(&mut handle, &waker_1).is_ready());
        assert_eq!((first.wakes(), second.wakes()), (0, 1));
    });
}

#[test]
fn a_poll_with_the_same_waker_keeps_the_clone_it_has() {
    run(async {
        let mut handle = spawn(pending::<()>());
        let (count, waker) = WakeCount::new();
        for _ in 0..3 {
            assert!(poll_with(&mut handle, &waker).is_pending());
            assert_eq!(clones(&count), 1);
        }
    });
}

#[test]
fn a_dropped_handle_lets_go_of_its_waker_and_wakes_nobody() {
    run(async {
        let (send, receive) = oneshot::channel::<()>();
        let mut handle = spawn(receive);
        let (count, waker) = WakeCount::new();
        assert!(poll_with(&mut handle, &waker).is_pending());
        drop(handle);
        assert_eq!(clones(&count), 0);
        send.send(()).unwrap();
        yield_now().await;
        assert_eq!(count.wakes(), 0);
    });
}

#[test]
fn a_handle_can_be_awaited_in_another_runtime_of_the_thread() {
    within(LIMIT, || {
        let home = Runtime::new().unwrap();
        let (send, receive) = oneshot::channel::<u32>();
        let mut handle = home.spawn(receive);
        run(async {
            let limit = Duration::from_nanos(1);
            timeout(limit, &mut handle).await.unwrap_err();
        });
        // The waker that is still in the handle belongs to a runtime that is gone.
        send.send(9).unwrap();
        home.block_on(yield_now());
        home.block_on(yield_now());
        assert_eq!(run(&mut handle).unwrap().unwrap(), 9);
    });
}

#[test]
fn a_runtime_that_is_dropped_inside_of_another_wakes_the_other_that_waits_for_its_task() {
    run(async {
        let home = Runtime::new().unwrap();
        let handle = home.spawn(pending::<()>());
        spawn(async move {
            yield_now().await;
            drop(home);
        });
        let error = handle.await.unwrap_err();
        assert!(error.is_cancelled());
    });
}

#[test]
fn a_result_outlives_its_runtime() {
    within(LIMIT, || {
        let home = Runtime::new().unwrap();
        let handle = home.spawn(async { String::from("kept") });
        home.block_on(yield_now());
        drop(home);
        assert!(handle.is_finished());
        assert_eq!(run(handle).unwrap(), "kept");
    });
}

#[test]
fn a_handle_needs_no_runtime_to_be_polled() {
    within(LIMIT, || {
        let home = Runtime::new().unwrap();
        let mut handle = home.spawn(async { 3 });
        let (count, waker) = WakeCount::new();
        assert!(poll_with(&mut handle, &waker).is_pending());
        home.block_on(yield_now());
        assert_eq!(count.wakes(), 1);
        assert_eq!(futures::executor::block_on(handle).unwrap(), 3);
    });
}

#[test]
fn tasks_that_wait_for_each_other_are_dropped_with_their_runtime() {
    within(LIMIT, || {
        let trace = Trace::default();
        let runtime = Runtime::new().unwrap();
        let waiting = |name, other: oneshot::Receiver<JoinHandle<()>>| {
            let guard = Traced(trace.clone(), name);
            runtime.spawn(async move {
                let _guard = guard;
                let _ = other.await.unwrap().await;
            })
        };
        let (send_a, receive_a) = oneshot::channel();
        let (send_b, receive_b) = oneshot::channel();
        let a = waiting("a", receive_b);
        let b = waiting("b", receive_a);
        send_a.send(a).unwrap();
        send_b.send(b).unwrap();
        runtime.block_on(yield_now());
        runtime.block_on(yield_now());
        assert_eq!(trace.take(), [""; 0]);
        drop(runtime);
        assert_eq!(trace.take(), ["drop a", "drop b"]);
    });
}

#[test]
fn a_task_that_waits_for_itself_is_aborted_like_any_other() {
    run(async {
        let (send, receive) = oneshot::channel::<JoinHandle<()>>();
        let dropped = Rc::new(());
        let task = spawn({
            let dropped = Rc::clone(&dropped);
            async move {
                let myself = receive.await.unwrap();
                let _ = myself.await;
                drop(dropped);
            }
        });
        let abort = task.abort_handle();
        send.send(task).unwrap();
        yield_now().await;
        assert!(!abort.is_finished());
        abort.abort();
        yield_now().await;
        assert!(abort.is_finished());
        assert_eq!(Rc::strong_count(&dropped), 1);
    });
}

#[test]
fn a_task_is_not_finished_while_its_future_is_being_dropped() {
    run(async {
        let slot: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let guard = on_drop({
            let (slot, seen) = (Rc::clone(&slot), Rc::clone(&seen));
            move || {
                let mut slot = slot.borrow_mut();
                let handle = slot.as_mut().unwrap();
                seen.borrow_mut().push(handle.is_finished());
                let poll = poll_with(handle, Waker::noop());
                seen.borrow_mut().push(poll.is_ready());
            }
        });
        let mut guard = Some(guard);
        // The guard is part of the future, which is dropped after it returned its output.
        *slot.borrow_mut() = Some(spawn(poll_fn(move |_| {
            let _ = &mut guard;
            Poll::Ready(())
        })));
        yield_now().await;
        assert_eq!(*seen.borrow(), [false, false]);
        let handle = slot.borrow_mut().take().unwrap();
        assert!(handle.is_finished());
        handle.await.unwrap();
    });
}

#[test]
fn debug_output_tells_number_and_state() {
    run(async {
        let handle = spawn(async {});
        let (id, abort) = (handle.id(), handle.abort_handle());
        assert_eq!(
            format!("{handle:?}"),
            format!("JoinHandle {{ id: {id:?}, is_finished: false }}")
        );
        handle.await.unwrap();
        assert_eq!(
            format!("{abort:?}"),
            format!("AbortHandle {{ id: {id:?}, is_finished: true }}")
        );
    });
}

/// The handle of the task before it.
struct Link {
    _before: Option<JoinHandle<Self>>,
    dropped: Rc<Cell<usize>>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.dropped.set(self.dropped.get() + 1);
    }
}

/// A chain of outputs, each of which holds the handle of the one before.
async fn chain(length: usize, dropped: &Rc<Cell<usize>>) -> JoinHandle<Link> {
    let mut last = None;
    for _ in 0..length {
        let (before, dropped) = (last.take(), Rc::clone(dropped));
        last = Some(spawn(async move {
            Link {
                _before: before,
                dropped,
            }
        }));
    }
    turn_of_all().await;
    last.expect("the chain is not empty")
}

#[test]
fn a_million_outputs_that_hold_each_other_are_dropped_in_a_loop() {
    const LENGTH: usize = if cfg!(miri) { 100 } else { 1_000_000 };
    within(3 * LIMIT, || {
        let dropped = Rc::new(Cell::new(0));
        let runtime = Runtime::new().unwrap();
        // In the runtime, outside of it, by the task that nobody waits for, and when the runtime is gone.
        runtime.block_on(async { drop(chain(LENGTH, &dropped).await) });
        assert_eq!(dropped.take(), LENGTH);
        let last = runtime.block_on(chain(LENGTH, &dropped));
        drop(last);
        assert_eq!(dropped.take(), LENGTH);
        runtime.block_on(async {
            let last = chain(LENGTH, &dropped).await;
            drop(spawn(std::future::ready(last)));
            turn_of_all().await;
        });
        assert_eq!(dropped.take(), LENGTH);
        let last = runtime.block_on(chain(LENGTH, &dropped));
        drop(runtime);
        assert_eq!(dropped.take(), 0);
        drop(last);
        assert_eq!(dropped.take(), LENGTH);
    });
}

#[test]
fn an_output_that_holds_many_handles_of_results_drops_each() {
    run(async {
        let dropped = Rc::new(Cell::new(0));
        let mut last = chain(100, &dropped).await;
        // A tree on top of a chain that is deeper than what is nested.
        for _ in 0..3 {
            let others = Vec::from_iter([chain(50, &dropped).await, chain(1, &dropped).await]);
            let (before, dropped) = (last, Rc::clone(&dropped));
            let link = Link {
                _before: Some(before),
                dropped,
            };
            last = spawn(async move {
                drop(others);
                link
            });
            turn_of_all().await;
        }
        drop(last);
        assert_eq!(dropped.get(), 100 + 3 * 52);
    });
}
