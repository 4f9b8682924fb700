//! Aborting: the future is dropped in the task's turn, wherever and whenever the abort was asked for.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

use common::{LIMIT, Trace, Traced, WakeCount, on_drop, poll_with, run, within};
use runtime::task::{AbortHandle, yield_now};
use runtime::{Runtime, spawn};

#[test]
fn a_task_aborted_before_its_first_poll_is_dropped_unpolled() {
    run(async {
        let trace = Trace::default();
        let guard = Traced(trace.clone(), "future");
        let task = spawn({
            let trace = trace.clone();
            async move {
                let _guard = guard;
                trace.push("poll");
            }
        });
        task.abort();
        let error = task.await.unwrap_err();
        assert!(error.is_cancelled() && !error.is_panic());
        assert_eq!(trace.take(), ["drop future"]);
    });
}

#[test]
fn an_abort_drops_nothing_where_it_stands() {
    run(async {
        let trace = Trace::default();
        let guard = Traced(trace.clone(), "future");
        let task = spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        trace.push("aborted");
        assert!(!task.is_finished());
        yield_now().await;
        trace.push("turn over");
        assert!(task.is_finished());
        assert_eq!(trace.take(), ["aborted", "drop future", "turn over"]);
        assert!(task.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn an_aborted_task_takes_its_turn_in_the_queue() {
    run(async {
        let trace = Trace::default();
        let guard = Traced(trace.clone(), "aborted");
        let aborted = spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        yield_now().await;
        spawn({
            let trace = trace.clone();
            async move { trace.push("due before") }
        });
        aborted.abort();
        spawn({
            let trace = trace.clone();
            async move { trace.push("due after") }
        });
        yield_now().await;
        assert_eq!(trace.take(), ["due before", "drop aborted", "due after"]);
    });
}

#[test]
fn a_due_task_that_is_aborted_is_not_polled_again() {
    run(async {
        let polls = Rc::new(Cell::new(0));
        let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
        let task = spawn({
            let (polls, waker) = (Rc::clone(&polls), Rc::clone(&waker));
            poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                waker.borrow_mut().replace(cx.waker().clone());
                Poll::<()>::Pending
            })
        });
        yield_now().await;
        waker.take().unwrap().wake();
        task.abort();
        yield_now().await;
        assert_eq!(polls.get(), 1);
        assert!(task.is_finished());
    });
}

#[test]
fn a_finished_task_keeps_its_output() {
    run(async {
        let task = spawn(async { 4 });
        yield_now().await;
        task.abort();
        yield_now().await;
        assert_eq!(task.await.unwrap(), 4);
    });
}

/// A task that is given its own abort handle, and what it then does.
fn spawn_with_abort<T: 'static>(
    mut poll: impl FnMut(&AbortHandle) -> Poll<T> + 'static,
) -> runtime::task::JoinHandle<T> {
    let slot: Rc<RefCell<Option<AbortHandle>>> = Rc::default();
    let task = spawn({
        let slot = Rc::clone(&slot);
        poll_fn(move |_| poll(slot.borrow().as_ref().unwrap()))
    });
    *slot.borrow_mut() = Some(task.abort_handle());
    task
}

#[test]
fn a_task_that_aborts_itself_is_dropped_when_its_poll_returns() {
    run(async {
        let trace = Trace::default();
        let guard = Traced(trace.clone(), "future");
        let task = spawn_with_abort({
            let trace = trace.clone();
            move |abort| {
                let _ = &guard;
                abort.abort();
                abort.abort();
                trace.push(format!("finished: {}", abort.is_finished()));
                Poll::<()>::Pending
            }
        });
        let error = task.await.unwrap_err();
        assert!(error.is_cancelled());
        assert_eq!(trace.take(), ["finished: false", "drop future"]);
    });
}

#[test]
fn a_task_that_aborts_itself_is_dropped_before_the_next_one_runs() {
    run(async {
        let trace = Trace::default();
        let guard = Traced(trace.clone(), "future");
        let task = spawn_with_abort(move |abort| {
            let _ = &guard;
            abort.abort();
            Poll::<()>::Pending
        });
        spawn({
            let trace = trace.clone();
            async move { trace.push("next task") }
        });
        yield_now().await;
        assert_eq!(trace.take(), ["drop future", "next task"]);
        assert!(task.is_finished());
    });
}

#[test]
fn a_task_that_aborts_itself_and_returns_has_an_output() {
    run(async {
        let task = spawn_with_abort(|abort| {
            abort.abort();
            Poll::Ready("output")
        });
        assert_eq!(task.await.unwrap(), "output");
    });
}

#[test]
fn a_destructor_may_abort_its_own_task() {
    run(async {
        let slot: Rc<RefCell<Option<AbortHandle>>> = Rc::default();
        let drops = Rc::new(Cell::new(0));
        let guard = on_drop({
            let (slot, drops) = (Rc::clone(&slot), Rc::clone(&drops));
            move || {
                drops.set(drops.get() + 1);
                slot.borrow().as_ref().unwrap().abort();
            }
        });
        let task = spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        *slot.borrow_mut() = Some(task.abort_handle());
        yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(drops.get(), 1);
    });
}

#[test]
fn a_destructor_may_abort_the_others() {
    run(async {
        let trace = Trace::default();
        let guard = Traced(trace.clone(), "second");
        let second = spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        let guard = Traced(trace.clone(), "first");
        let abort = second.abort_handle();
        let first = spawn(async move {
            let _guard = guard;
            let _abort = on_drop(move || abort.abort());
            pending::<()>().await;
        });
        yield_now().await;
        first.abort();
        assert!(second.await.unwrap_err().is_cancelled());
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(trace.take(), ["drop first", "drop second"]);
    });
}

#[test]
fn an_abort_is_not_lost_when_the_handle_is_dropped_at_once() {
    run(async {
        let dropped = Rc::new(());
        for is_polled in [false, true] {
            let task = spawn({
                let dropped = Rc::clone(&dropped);
                async move {
                    pending::<()>().await;
                    drop(dropped);
                }
            });
            if is_polled {
                yield_now().await;
            }
            task.abort();
            drop(task);
            yield_now().await;
            assert_eq!(Rc::strong_count(&dropped), 1);
        }
    });
}

#[test]
fn an_abort_wakes_whoever_waits_for_the_task() {
    run(async {
        let mut task = spawn(pending::<()>());
        let (count, waker) = WakeCount::new();
        assert!(poll_with(&mut task, &waker).is_pending());
        task.abort();
        assert_eq!(count.wakes(), 0);
        yield_now().await;
        assert_eq!(count.wakes(), 1);
        assert!(task.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn an_abort_asked_for_outside_of_the_runtime_happens_in_its_next_block_on() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let dropped = Rc::new(());
        let spawn_one = || {
            let dropped = Rc::clone(&dropped);
            runtime.spawn(async move {
                pending::<()>().await;
                drop(dropped);
            })
        };
        let (first, second) = (spawn_one(), spawn_one());
        runtime.block_on(yield_now());
        first.abort();
        run(async { second.abort() });
        assert_eq!(Rc::strong_count(&dropped), 3);
        // Two turns: the wake that came from outside is taken before the first or the second.
        runtime.block_on(async {
            assert!(first.await.unwrap_err().is_cancelled());
            assert!(second.await.unwrap_err().is_cancelled());
        });
        assert_eq!(Rc::strong_count(&dropped), 1);
    });
}

#[test]
fn abort_handles_outlive_task_and_runtime() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let task = runtime.spawn(pending::<()>());
        let handle = task.abort_handle();
        let handles = [handle.clone(), handle];
        drop(runtime);
        for handle in handles {
            assert_eq!(handle.id(), task.id());
            assert!(handle.is_finished());
            handle.abort();
        }
        assert!(run(task).unwrap_err().is_cancelled());
    });
}

#[test]
fn an_abort_handle_keeps_neither_future_nor_output() {
    run(async {
        let kept = Rc::new(());
        let task = spawn({
            let kept = Rc::clone(&kept);
            async move { kept }
        });
        let abort = task.abort_handle();
        yield_now().await;
        assert_eq!(Rc::strong_count(&kept), 2);
        drop(task);
        assert_eq!(Rc::strong_count(&kept), 1);
        drop(abort);
    });
}
