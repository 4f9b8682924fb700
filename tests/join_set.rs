//! Sets of tasks: outputs come in the order of finishing, and no task is left behind.

mod common;

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use common::panics::panic_of;
use common::{LIMIT, Trace, Traced, WakeCount, on_drop, run, run_in_task, within};
use futures::channel::oneshot;
use runtime::task::{JoinSet, yield_now};
use runtime::time::{Duration, timeout};
use runtime::{Runtime, spawn};

/// Waits until `turns` others had their turn.
async fn after(turns: u32) -> u32 {
    for _ in 0..turns {
        yield_now().await;
    }
    turns
}

#[test]
fn tasks_are_taken_in_the_order_in_which_they_finish() {
    run(async {
        let mut set = JoinSet::new();
        for turns in [5, 1, 3] {
            set.spawn(after(turns));
        }
        assert_eq!((set.len(), set.is_empty()), (3, false));
        for (left, turns) in [(2, 1), (1, 3), (0, 5)] {
            assert_eq!(set.join_next().await.unwrap().unwrap(), turns);
            assert_eq!(set.len(), left);
        }
        assert!(set.join_next().await.is_none());
        assert!(set.is_empty());
        // An empty set can be filled again.
        set.spawn_local(after(0));
        assert_eq!(set.join_next().await.unwrap().unwrap(), 0);
    });
}

#[test]
fn an_empty_set_needs_no_runtime() {
    let mut set = JoinSet::<()>::default();
    assert!(set.is_empty());
    assert!(set.try_join_next().is_none());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(set.poll_join_next(&mut cx), Poll::Ready(None)));
    assert!(matches!(
        set.poll_join_next_with_id(&mut cx),
        Poll::Ready(None)
    ));
    set.abort_all();
    set.detach_all();
    assert_eq!(format!("{set:?}"), "JoinSet { len: 0 }");
    assert_eq!(futures::executor::block_on(set.join_all()), []);
}

#[test]
fn numbers_come_with_outputs_and_with_errors() {
    run(async {
        let mut set = JoinSet::new();
        let good = set.spawn(async { "output" }).id();
        let (id, output) = set.join_next_with_id().await.unwrap().unwrap();
        assert_eq!((id, output), (good, "output"));

        let aborted = set.spawn(pending());
        aborted.abort();
        let error = set.join_next_with_id().await.unwrap().unwrap_err();
        assert!(error.is_cancelled());
        assert_eq!(error.id(), aborted.id());

        let panicked = set.spawn(async { panic!("this one is meant") });
        yield_now().await;
        let error = set.try_join_next_with_id().unwrap().unwrap_err();
        assert!(error.is_panic());
        assert_eq!(error.id(), panicked.id());
        assert!(set.join_next_with_id().await.is_none());
    });
}

#[test]
fn try_join_next_takes_what_has_finished_and_nothing_else() {
    run_in_task(async {
        let mut set = JoinSet::new();
        set.spawn(after(0));
        set.spawn(after(1));
        assert!(set.try_join_next().is_none());
        yield_now().await;
        assert_eq!(set.try_join_next().unwrap().unwrap(), 0);
        assert!(set.try_join_next().is_none());
        assert_eq!(set.len(), 1);
        yield_now().await;
        assert_eq!(set.try_join_next().unwrap().unwrap(), 1);
        assert!(set.try_join_next().is_none());
    });
}

#[test]
fn a_join_next_that_was_dropped_has_taken_nothing() {
    run(async {
        let mut set = JoinSet::new();
        let (send, receive) = oneshot::channel::<u32>();
        set.spawn(async { receive.await.unwrap() });
        let limit = Duration::from_nanos(1);
        timeout(limit, set.join_next()).await.unwrap_err();
        send.send(2).unwrap();
        yield_now().await;
        assert_eq!(set.join_next().await.unwrap().unwrap(), 2);
    });
}

#[test]
fn only_the_waker_of_the_latest_poll_is_woken_and_only_once() {
    run(async {
        let mut set = JoinSet::new();
        set.spawn(after(1));
        set.spawn(after(1));
        let (first, waker_1) = WakeCount::new();
        let (second, waker_2) = WakeCount::new();
        for waker in [&waker_1, &waker_2] {
            assert!(
                set.poll_join_next(&mut Context::from_waker(waker))
                    .is_pending()
            );
        }
        assert_eq!(Arc::strong_count(&first), 2);
        after(3).await;
        assert_eq!((first.wakes(), second.wakes()), (0, 1));
        assert_eq!(Arc::strong_count(&second), 2);
        let mut cx = Context::from_waker(&waker_1);
        assert!(set.poll_join_next(&mut cx).is_ready());
        assert!(set.poll_join_next(&mut cx).is_ready());
        assert_eq!(first.wakes(), 0);
    });
}

#[test]
fn a_dropped_set_lets_go_of_its_waker_once_its_tasks_are_gone() {
    run(async {
        let mut set = JoinSet::new();
        set.spawn(pending::<()>());
        let (count, waker) = WakeCount::new();
        let mut cx = Context::from_waker(&waker);
        assert!(set.poll_join_next(&mut cx).is_pending());
        drop(set);
        after(2).await;
        assert_eq!(Arc::strong_count(&count), 2);
    });
}

#[test]
fn a_dropped_set_aborts_its_tasks_and_drops_their_outputs() {
    run(async {
        let trace = Trace::default();
        let mut set = JoinSet::new();
        for name in ["pending", "finished"] {
            let guard = Traced(trace.clone(), name);
            set.spawn(async move {
                if name == "pending" {
                    pending::<()>().await;
                }
                guard
            });
        }
        yield_now().await;
        assert_eq!(trace.take(), [""; 0]);
        drop(set);
        assert_eq!(trace.take(), ["drop finished"]);
        yield_now().await;
        assert_eq!(trace.take(), ["drop pending"]);
    });
}

#[test]
fn abort_all_leaves_the_tasks_in_the_set_until_they_are_taken() {
    run(async {
        let mut set = JoinSet::new();
        set.spawn(async { 1 });
        yield_now().await;
        set.spawn(pending());
        set.spawn(pending());
        set.abort_all();
        assert_eq!(set.len(), 3);
        assert_eq!(set.join_next().await.unwrap().unwrap(), 1);
        for _ in 0..2 {
            assert!(set.join_next().await.unwrap().unwrap_err().is_cancelled());
        }
        assert!(set.join_next().await.is_none());
    });
}

#[test]
fn abort_all_aborts_also_the_tasks_that_panic_when_dropped() {
    run(async {
        let mut set = JoinSet::new();
        let drops = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let drops = Rc::clone(&drops);
            set.spawn(async move {
                let _guard = on_drop(move || {
                    drops.set(drops.get() + 1);
                    std::panic::resume_unwind(Box::new(()));
                });
                pending::<()>().await;
            });
        }
        yield_now().await;
        set.abort_all();
        for _ in 0..3 {
            assert!(set.join_next().await.unwrap().unwrap_err().is_panic());
        }
        assert_eq!(drops.get(), 3);
    });
}

#[test]
fn detached_tasks_go_on_and_do_not_disturb_those_that_come_after() {
    run(async {
        let trace = Trace::default();
        let mut set = JoinSet::new();
        for (turns, name) in [(0, "finished"), (3, "detached")] {
            let trace = trace.clone();
            set.spawn(async move {
                after(turns).await;
                trace.push(name);
                turns
            });
        }
        yield_now().await;
        set.detach_all();
        assert!(set.is_empty());
        assert!(set.join_next().await.is_none());
        // The keys of the detached tasks are used again while those still run.
        set.spawn(after(6));
        set.spawn(after(5));
        assert_eq!(set.join_next().await.unwrap().unwrap(), 5);
        assert_eq!(set.join_next().await.unwrap().unwrap(), 6);
        assert_eq!(trace.take(), ["finished", "detached"]);
    });
}

#[test]
fn shutdown_waits_until_the_last_future_is_dropped() {
    run(async {
        let dropped = Rc::new(Cell::new(0));
        let mut set = JoinSet::new();
        for _ in 0..10 {
            let dropped = Rc::clone(&dropped);
            set.spawn(async move {
                let _guard = on_drop(move || dropped.set(dropped.get() + 1));
                pending::<()>().await;
            });
        }
        set.spawn(async { panic!("this one is meant") });
        yield_now().await;
        set.shutdown().await;
        assert_eq!(dropped.get(), 10);
        assert!(set.is_empty());
    });
}

#[test]
fn a_shutdown_that_was_dropped_has_aborted_all_the_same() {
    run(async {
        let mut set = JoinSet::new();
        let task = set.spawn(pending::<()>());
        let mut shutdown = Box::pin(set.shutdown());
        poll_fn(|cx| {
            assert!(shutdown.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(shutdown);
        yield_now().await;
        assert!(task.is_finished());
        set.shutdown().await;
        assert!(set.is_empty());
    });
}

#[test]
fn join_all_returns_the_outputs_in_the_order_of_finishing() {
    run(async {
        let set = JoinSet::from_iter([3, 1, 2].map(after));
        assert_eq!(set.len(), 3);
        assert_eq!(set.join_all().await, [1, 2, 3]);
    });
}

#[test]
fn join_all_passes_a_panic_on_and_aborts_the_others() {
    run(async {
        let mut set = JoinSet::new();
        let other = set.spawn(pending::<()>());
        set.spawn(async { std::panic::panic_any(17) });
        let error = spawn(set.join_all()).await.unwrap_err();
        assert_eq!(error.into_panic().downcast_ref(), Some(&17));
        yield_now().await;
        assert!(other.is_finished());
    });
}

#[test]
fn join_all_panics_when_a_task_was_aborted() {
    run(async {
        let mut set = JoinSet::new();
        let task = set.spawn(pending::<()>());
        task.abort();
        let error = spawn(set.join_all()).await.unwrap_err();
        let message = *error.into_panic().downcast::<String>().unwrap();
        let id = task.id();
        assert_eq!(
            message,
            format!("`join_all` found that task {id} was cancelled")
        );
    });
}

#[test]
fn a_set_can_be_extended_and_grows_while_it_is_emptied() {
    run(async {
        let mut set = JoinSet::new();
        set.extend((0..10).map(after));
        let (mut spawned, mut taken) = (10, 0);
        while let Some(turns) = set.join_next().await {
            taken += 1;
            if spawned < 100 {
                spawned += 1;
                set.spawn(after(turns.unwrap() % 3));
            }
        }
        assert_eq!((spawned, taken), (100, 100));
    });
}

#[test]
fn spawning_outside_of_a_runtime_panics_and_leaves_the_set_as_it_was() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let mut set = JoinSet::new();
        runtime.block_on(async { set.spawn(async { 1 }) });
        let panic = panic_of(|| set.spawn(async { 2 }));
        let place = format!("(needed at {}:", file!());
        assert!(panic.message.contains(&place), "{}", panic.message);
        assert_eq!(set.len(), 1);
        runtime.block_on(async {
            set.spawn(async { 3 });
            let mut outputs = set.join_all().await;
            outputs.sort_unstable();
            assert_eq!(outputs, [1, 3]);
        });
    });
}

#[test]
fn a_set_outlives_the_runtime_of_its_tasks() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let mut set = JoinSet::new();
        runtime.block_on(async {
            set.spawn(async { 1 });
            yield_now().await;
            set.spawn(pending());
        });
        drop(runtime);
        run(async {
            assert_eq!(set.join_next().await.unwrap().unwrap(), 1);
            assert!(set.join_next().await.unwrap().unwrap_err().is_cancelled());
            set.spawn(async { 2 });
            assert_eq!(set.join_next().await.unwrap().unwrap(), 2);
        });
    });
}

#[test]
fn a_set_may_be_owned_by_one_of_its_own_tasks_elders() {
    run(async {
        // A tree: each task owns the set of its children, which are dropped with it.
        let trace = Trace::default();
        let mut root = JoinSet::new();
        let (parent, child) = (
            Traced(trace.clone(), "parent"),
            Traced(trace.clone(), "child"),
        );
        root.spawn(async move {
            let _guard = parent;
            let mut children = JoinSet::new();
            children.spawn(async move {
                let _guard = child;
                pending::<()>().await;
            });
            while children.join_next().await.is_some() {}
        });
        after(2).await;
        root.shutdown().await;
        after(1).await;
        assert_eq!(trace.take(), ["drop parent", "drop child"]);
    });
}

#[test]
fn ten_thousand_tasks_pass_through_one_set() {
    run(async {
        let mut set = JoinSet::new();
        let mut sum = 0_u64;
        for number in 0..10_000_u64 {
            set.spawn(async move { number });
            if set.len() == 100 {
                sum += set.join_next().await.unwrap().unwrap();
            }
        }
        sum += set.join_all().await.into_iter().sum::<u64>();
        assert_eq!(sum, (0..10_000).sum());
    });
}
