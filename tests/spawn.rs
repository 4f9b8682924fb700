//! Spawning: tasks start in their turn, on the spawner's thread, whatever they hold and return.

#![expect(
    clippy::async_yields_async,
    reason = "handles are handed out by those who spawn"
)]

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::thread;

use common::panics::panic_of;
use common::{LIMIT, Trace, run, within};
use runtime::task::yield_now;
use runtime::{Builder, Runtime, spawn};

#[test]
fn spawning_polls_nothing_until_the_spawner_yields() {
    run(async {
        let trace = Trace::default();
        let task = spawn({
            let trace = trace.clone();
            async move { trace.push("task") }
        });
        trace.push("spawner");
        assert!(!task.is_finished());
        task.await.unwrap();
        assert_eq!(trace.take(), ["spawner", "task"]);
    });
}

#[test]
fn a_task_spawned_by_a_task_starts_behind_those_already_due() {
    run(async {
        let trace = Trace::default();
        let push = |event: &'static str| {
            let trace = trace.clone();
            async move { trace.push(event) }
        };
        let (first, inner) = (push("first"), push("spawned by first"));
        let outer = spawn(async move {
            let inner = spawn(inner);
            first.await;
            inner
        });
        spawn(push("second"));
        spawn(push("third"));
        outer.await.unwrap().await.unwrap();
        assert_eq!(
            trace.take(),
            ["first", "second", "third", "spawned by first"]
        );
    });
}

#[test]
fn a_future_that_is_not_send_keeps_its_values_across_awaits() {
    run(async {
        let shared = Rc::new(Cell::new(1));
        let task = spawn({
            let shared = Rc::clone(&shared);
            async move {
                let before = shared.get();
                yield_now().await;
                shared.set(before + 1);
                shared
            }
        });
        let returned = task.await.unwrap();
        assert!(Rc::ptr_eq(&shared, &returned));
        assert_eq!(shared.get(), 2);
    });
}

#[test]
fn tasks_and_the_main_future_share_a_thread() {
    run(async {
        let here = thread::current().id();
        assert_eq!(spawn(async { thread::current().id() }).await.unwrap(), here);
    });
}

#[test]
fn a_future_is_not_moved_between_its_polls() {
    run(async {
        spawn(async {
            let value = [7_u8; 300];
            let place = value.as_ptr();
            for _ in 0..3 {
                spawn(async {}).await.unwrap();
                assert_eq!(value.as_ptr(), place);
            }
        })
        .await
        .unwrap();
    });
}

#[repr(align(256))]
#[derive(Clone, Copy)]
struct Aligned(u8);

impl Aligned {
    fn is_aligned(&self) -> bool {
        (&raw const *self).addr().is_multiple_of(256)
    }
}

#[test]
fn futures_and_outputs_of_any_size_and_alignment_fit() {
    run(async {
        // Nothing to store; an output larger than its future; a future larger than its output.
        spawn(async {}).await.unwrap();
        assert_eq!(spawn(async { [3_u64; 500] }).await.unwrap(), [3; 500]);
        let large = [5_u8; 9000];
        let sum = spawn(async move {
            yield_now().await;
            large.iter().map(|&byte| u32::from(byte)).sum::<u32>()
        });
        assert_eq!(sum.await.unwrap(), 45_000);

        let value = Aligned(1);
        let aligned = spawn(async move {
            let value = Aligned(value.0 + 1);
            yield_now().await;
            assert!(value.is_aligned());
            value
        });
        let value = aligned.await.unwrap();
        assert!(value.is_aligned());
        assert_eq!(value.0, 2);
    });
}

#[test]
fn a_task_outlives_the_block_on_that_spawned_it_and_rests_between_two() {
    within(LIMIT, || {
        let runtime = Builder::new().event_interval(1).build().unwrap();
        let steps = Rc::new(Cell::new(0));
        let task = runtime.block_on(async {
            let steps = Rc::clone(&steps);
            let task = spawn(async move {
                for _ in 0..10 {
                    steps.set(steps.get() + 1);
                    yield_now().await;
                }
            });
            yield_now().await;
            task
        });
        let resting = steps.get();
        assert!(resting < 10, "the main future ended long before the task");
        assert_eq!(steps.get(), resting);
        assert!(!task.is_finished());
        runtime.block_on(task).unwrap();
        assert_eq!(steps.get(), 10);
    });
}

#[test]
fn a_resting_runtime_takes_tasks_and_runs_them_in_its_next_block_on() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let trace = Trace::default();
        let push = |event: &'static str| {
            let trace = trace.clone();
            async move { trace.push(event) }
        };
        let first = runtime.spawn(push("first"));
        let second = runtime.spawn(push("second"));
        assert_eq!(trace.take(), [""; 0]);
        runtime.block_on(async {
            first.await.unwrap();
            second.await.unwrap();
        });
        assert_eq!(trace.take(), ["first", "second"]);
    });
}

#[test]
fn a_task_can_be_spawned_into_another_runtime_of_the_thread() {
    within(LIMIT, || {
        let other = Runtime::new().unwrap();
        let task = run(async { other.spawn(async { 7 }) });
        assert_eq!(other.block_on(task).unwrap(), 7);
    });
}

#[test]
fn spawning_without_a_runtime_panics_at_the_callers_line() {
    let line = line!() + 1;
    let panic = panic_of(|| spawn(async {}));
    let (what, rest) = panic.message.split_once(" (needed at ").unwrap();
    assert_eq!(what, "there is no runtime on this thread");
    let (place, remedy) = rest.split_once("): ").unwrap();
    assert!(place.starts_with(&format!("{}:{line}:", file!())));
    assert_eq!(
        remedy,
        "do this inside of `#[runtime::main]`, `#[runtime::test]` or `runtime::block_on`"
    );
}

#[test]
fn a_future_that_could_not_be_spawned_is_dropped() {
    let kept = Rc::new(());
    let future = {
        let kept = Rc::clone(&kept);
        async move { drop(kept) }
    };
    panic_of(|| spawn(future));
    assert_eq!(Rc::strong_count(&kept), 1);
}
