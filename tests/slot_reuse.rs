//! Reused slots: handles, wakers and queue places of an earlier task do nothing to a later one.

mod common;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::thread;

use common::{LIMIT, Trace, run, within};
use futures::channel::oneshot;
use runtime::task::yield_now;
use runtime::{Runtime, spawn};

/// Runs a task to its end and returns its waker; its slot is free then.
async fn waker_of_a_finished_task() -> Waker {
    let task = spawn(poll_fn(|cx| Poll::Ready(cx.waker().clone())));
    task.await.unwrap()
}

/// Spawns a task that never ends and counts its polls.
fn spawn_counted() -> (runtime::task::JoinHandle<()>, Rc<Cell<u32>>) {
    let polls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&polls);
    let task = spawn(poll_fn(move |_| {
        counted.set(counted.get() + 1);
        Poll::Pending
    }));
    (task, polls)
}

#[test]
fn an_old_waker_after_slot_reuse_polls_nothing() {
    run(async {
        let old = Vec::from_iter([
            waker_of_a_finished_task().await,
            waker_of_a_finished_task().await,
        ]);
        let (_task, polls) = spawn_counted();
        yield_now().await;
        assert_eq!(polls.get(), 1);
        for waker in &old {
            waker.wake_by_ref();
        }
        yield_now().await;
        assert_eq!(polls.get(), 1);
    });
}

#[test]
fn an_old_waker_on_another_thread_costs_one_poll_at_the_most() {
    run(async {
        let old = waker_of_a_finished_task().await;
        let (task, polls) = spawn_counted();
        yield_now().await;
        thread::spawn(move || (0..1000).for_each(|_| old.wake_by_ref()))
            .join()
            .unwrap();
        for _ in 0..5 {
            yield_now().await;
        }
        assert!(polls.get() <= 2, "{} polls", polls.get());
        assert!(!task.is_finished());
    });
}

#[test]
fn the_wakers_of_an_earlier_runtime_poll_nothing_in_a_later_one() {
    within(LIMIT, || {
        let old = runtime::block_on(waker_of_a_finished_task());
        // It probably has the place of the first one in the table of runtimes.
        runtime::block_on(async {
            let (_task, polls) = spawn_counted();
            yield_now().await;
            old.wake_by_ref();
            yield_now().await;
            yield_now().await;
            assert_eq!(polls.get(), 1);
        });
    });
}

#[test]
fn the_wakers_of_earlier_runtimes_poll_nothing_however_many_there_were() {
    within(3 * LIMIT, || {
        let old = runtime::block_on(waker_of_a_finished_task());
        // They may all have the same index, one after the other, and the task the same slot.
        for _ in 0..2_200 {
            runtime::block_on(async {
                let (_task, polls) = spawn_counted();
                yield_now().await;
                old.wake_by_ref();
                yield_now().await;
                assert_eq!(polls.get(), 1);
            });
        }
    });
}

#[test]
fn a_hundred_thousand_old_abort_handles_abort_nothing() {
    run(async {
        let mut old = Vec::new();
        for _ in 0..100_000 {
            let task = spawn(async {});
            old.push(task.abort_handle());
            task.await.unwrap();
        }
        let (task, polls) = spawn_counted();
        yield_now().await;
        for handle in old {
            assert!(handle.is_finished());
            handle.abort();
        }
        yield_now().await;
        assert!(!task.is_finished());
        assert_eq!(polls.get(), 1);
    });
}

#[test]
fn an_old_join_handle_has_the_result_of_its_own_task() {
    run(async {
        let tasks = Vec::from_iter((0..100).map(|number| spawn(async move { number })));
        yield_now().await;
        let later = Vec::from_iter((100..200).map(|number| spawn(async move { number })));
        yield_now().await;
        for (number, task) in (0..).zip(tasks.into_iter().chain(later)) {
            assert_eq!(task.await.unwrap(), number);
        }
    });
}

/// Leaves a task in the queue that is over before its turn, then frees its slot: it wakes itself and
/// returns at once.
fn spawn_that_ends_while_due() {
    spawn(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Ready(())
    }));
}

#[test]
fn a_task_in_a_reused_slot_waits_for_its_own_turn() {
    run(async {
        let trace = Trace::default();
        let (send, receive) = oneshot::channel::<()>();
        let push = |event: &'static str| {
            let trace = trace.clone();
            async move { trace.push(event) }
        };
        let (before, reuses) = (push("due before"), push("in the reused slot"));
        spawn(async move {
            receive.await.unwrap();
            before.await;
        });
        yield_now().await;
        spawn_that_ends_while_due();
        spawn(async move { send.send(()).unwrap() });
        // The first free slot is that of the task that woke itself and ended.
        spawn(async move { drop(spawn(reuses)) });
        for _ in 0..4 {
            yield_now().await;
        }
        assert_eq!(trace.take(), ["due before", "in the reused slot"]);
    });
}

#[test]
fn a_task_in_a_reused_slot_has_no_more_turns_than_the_others() {
    run(async {
        let turns: Rc<RefCell<Vec<&str>>> = Rc::default();
        let spin = |name: &'static str| {
            let turns = Rc::clone(&turns);
            async move {
                for _ in 0..50 {
                    turns.borrow_mut().push(name);
                    yield_now().await;
                }
            }
        };
        spawn_that_ends_while_due();
        let (first, second) = (spin("in the reused slot"), spin("in a fresh slot"));
        let tasks = spawn(async move { (spawn(first), spawn(second)) });
        let (first, second) = tasks.await.unwrap();
        first.await.unwrap();
        second.await.unwrap();
        let turns = turns.borrow();
        for pair in turns.chunks(2) {
            assert_ne!(pair[0], pair[1], "one ran twice while the other was due");
        }
    });
}

#[test]
fn a_wake_in_the_last_poll_does_not_reach_the_next_tenant() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            for _ in 0..100 {
                spawn_that_ends_while_due();
            }
            yield_now().await;
            let counted = Vec::from_iter((0..100).map(|_| spawn_counted()));
            for _ in 0..5 {
                yield_now().await;
            }
            assert!(counted.iter().all(|(_, polls)| polls.get() == 1));
        });
    });
}
