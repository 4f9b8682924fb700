//! Panics: one in a task goes to its handle and nowhere else, one in `block_on` to its caller.

mod common;

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use common::panics::panic_of;
use common::{LIMIT, Trace, Traced, on_drop, run, within};
use futures::channel::oneshot;
use runtime::task::{JoinError, JoinHandle, yield_now};
use runtime::{Runtime, spawn};

fn text_of(error: JoinError) -> &'static str {
    error.into_panic().downcast_ref::<&'static str>().unwrap()
}

#[test]
fn a_panic_goes_to_the_handle_and_the_others_go_on() {
    run(async {
        let neighbour = spawn(async {
            yield_now().await;
            "unharmed"
        });
        let task = spawn(async { panic!("in a poll") });
        let error = task.await.unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled());
        assert_eq!(text_of(error), "in a poll");
        assert_eq!(neighbour.await.unwrap(), "unharmed");
    });
}

#[test]
fn a_payload_of_any_type_arrives_as_it_was_thrown() {
    run(async {
        let task = spawn(async { panic_any(vec![1, 2, 3]) });
        let payload = task.await.unwrap_err().into_panic();
        assert_eq!(*payload.downcast::<Vec<i32>>().unwrap(), [1, 2, 3]);
    });
}

#[test]
fn errors_say_which_task_ended_and_why() {
    run(async {
        let text = spawn(async { panic!("a text") });
        let string = spawn(async { panic_any(String::from("a string")) });
        let other = spawn(async { panic_any(7) });
        let cancelled = spawn(pending::<()>());
        cancelled.abort();

        let said = |error: JoinError| {
            let id = error.id();
            let said = (
                error.to_string().replace(&id.to_string(), "N"),
                format!("{error:?}").replace(&format!("{id:?}"), "N"),
            );
            let io = io::Error::from(error);
            assert_eq!(io.kind(), io::ErrorKind::Other);
            assert_eq!(io.to_string().replace(&id.to_string(), "N"), said.0);
            said
        };
        let pairs = [
            said(text.await.unwrap_err()),
            said(string.await.unwrap_err()),
            said(other.await.unwrap_err()),
            said(cancelled.await.unwrap_err()),
        ];
        let pairs = pairs.each_ref().map(|(a, b)| (a.as_str(), b.as_str()));
        assert_eq!(
            pairs,
            [
                (
                    "task N panicked with message \"a text\"",
                    "JoinError::Panic(N, \"a text\", ...)"
                ),
                (
                    "task N panicked with message \"a string\"",
                    "JoinError::Panic(N, \"a string\", ...)"
                ),
                ("task N panicked", "JoinError::Panic(N, ...)"),
                ("task N was cancelled", "JoinError::Cancelled(N)"),
            ]
        );
    });
}

#[test]
fn a_cancelled_task_has_no_panic_to_take() {
    run(async {
        let task = spawn(pending::<()>());
        task.abort();
        let error = task.await.unwrap_err().try_into_panic().unwrap_err();
        assert!(error.is_cancelled());
        let panic = panic_of(|| error.into_panic());
        assert!(
            panic
                .message
                .starts_with("`JoinError::into_panic` was called on a task that was cancelled"),
            "{}",
            panic.message
        );
        assert!(panic.file.ends_with("panic.rs"));
    });
}

#[test]
fn a_panic_in_the_drop_of_a_finished_future_replaces_its_output() {
    run(async {
        let output = Rc::new(());
        let task = spawn({
            let output = Rc::clone(&output);
            let mut guard = Some(on_drop(|| panic!("in the drop")));
            poll_fn(move |_| {
                let _ = &mut guard;
                Poll::Ready(Rc::clone(&output))
            })
        });
        let error = task.await.unwrap_err();
        assert_eq!(text_of(error), "in the drop");
        assert_eq!(Rc::strong_count(&output), 1);
    });
}

#[test]
fn a_panic_in_the_drop_of_an_aborted_future_goes_to_the_handle() {
    run(async {
        for is_polled in [false, true] {
            let guard = on_drop(|| panic!("in the drop"));
            let task = spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            });
            if is_polled {
                yield_now().await;
            }
            task.abort();
            assert_eq!(text_of(task.await.unwrap_err()), "in the drop");
        }
    });
}

#[test]
fn of_a_panic_in_the_poll_and_one_in_the_drop_the_first_is_told() {
    run(async {
        let mut guard = Some(on_drop(|| panic!("second")));
        let task = spawn(poll_fn(move |_| -> Poll<()> {
            let _ = &mut guard;
            panic!("first")
        }));
        assert_eq!(text_of(task.await.unwrap_err()), "first");
    });
}

/// A payload that panics when it is dropped, with the next of so many links; the last one carries nothing.
struct Chain(usize, Arc<()>);

impl Drop for Chain {
    fn drop(&mut self) {
        // Unlike `panic!`, this does not print.
        resume_unwind(match self.0 {
            0 => Box::new(()),
            links => Box::new(Self(links - 1, Arc::clone(&self.1))),
        });
    }
}

/// A payload that panics when it is dropped, with itself.
struct Endless;

impl Drop for Endless {
    fn drop(&mut self) {
        resume_unwind(Box::new(Self));
    }
}

async fn swallow<T: Send + 'static>(make: impl Fn() -> T + Clone + 'static) {
    let panics = {
        let make = make.clone();
        move || {
            let payload = make();
            async move { resume_unwind(Box::new(payload)) }
        }
    };
    let detached: JoinHandle<()> = spawn(panics());
    drop(detached);
    let kept: JoinHandle<()> = spawn(panics());
    yield_now().await;
    drop(kept);
    let (first, second) = (make(), make());
    let output = spawn(async move { first });
    yield_now().await;
    drop(output);
    drop(spawn(async move { second }));
    yield_now().await;
}

#[test]
fn payloads_and_outputs_that_panic_when_nobody_takes_them_are_swallowed() {
    run(async {
        let kept = Arc::new(());
        for links in 0..4 {
            let kept = Arc::clone(&kept);
            swallow(move || Chain(links, Arc::clone(&kept))).await;
        }
        assert_eq!(
            Arc::strong_count(&kept),
            1,
            "some payloads were not dropped"
        );
        swallow(|| Endless).await;
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
    });
}

#[test]
fn a_thousand_panics_leave_the_executor_whole() {
    run(async {
        let tasks = Vec::from_iter((0..1000).map(|number| {
            spawn(async move {
                yield_now().await;
                if number % 2 == 0 {
                    // Unlike `panic!`, this does not print.
                    resume_unwind(Box::new(number));
                }
                number
            })
        }));
        for (number, task) in (0..).zip(tasks) {
            match task.await {
                Ok(output) => assert_eq!((output, number % 2), (number, 1)),
                Err(error) => assert_eq!(*error.into_panic().downcast::<i32>().unwrap(), number),
            }
        }
    });
}

#[test]
fn a_panic_of_the_main_future_leaves_a_runtime_that_can_be_used_again() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (send, receive) = oneshot::channel::<u32>();
        let task = runtime.spawn(receive);
        let trace = Trace::default();
        let panic = panic_of(|| {
            runtime.block_on(async {
                let _local = Traced(trace.clone(), "local of main");
                let due = {
                    let trace = trace.clone();
                    async move { trace.push("task ran") }
                };
                spawn(due);
                yield_now().await;
                poll_fn::<(), _>(|cx| {
                    cx.waker().wake_by_ref();
                    panic!("in main")
                })
                .await;
            });
        });
        assert_eq!(panic.message, "in main");
        assert_eq!(trace.take(), ["task ran", "drop local of main"]);
        // No runtime is current any more, and the next call finds everything in its place.
        panic_of(|| spawn(async {}));
        let output = runtime.block_on(async {
            yield_now().await;
            send.send(6).unwrap();
            task.await.unwrap().unwrap()
        });
        assert_eq!(output, 6);
    });
}

#[test]
fn a_panicking_main_future_is_dropped_inside_of_the_runtime() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let spawned = RefCell::new(None);
        panic_of(|| {
            runtime.block_on(async {
                let _guard =
                    on_drop(|| *spawned.borrow_mut() = Some(spawn(async { "by a destructor" })));
                panic!("in main");
            });
        });
        let task = spawned.take().unwrap();
        assert_eq!(runtime.block_on(task).unwrap(), "by a destructor");
    });
}

#[test]
fn a_runtime_is_dropped_whole_by_a_panic_that_unwinds_through_block_on() {
    within(LIMIT, || {
        let trace = Trace::default();
        let guards = ["first", "second", "third"].map(|name| {
            let guard = Traced(trace.clone(), name);
            async move {
                let _panics = on_drop(|| panic!("in a destructor"));
                let _guard = guard;
                pending::<()>().await;
            }
        });
        let thrown = catch_unwind(AssertUnwindSafe(|| {
            runtime::block_on(async {
                for guard in guards {
                    spawn(guard);
                }
                yield_now().await;
                panic!("in main");
            });
        }));
        let payload = thrown.unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"in main"));
        assert_eq!(trace.take(), ["drop first", "drop second", "drop third"]);
    });
}
