//! Task-local values: set while their future is polled and dropped, and never seen by anyone else.

mod common;

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

use common::panics::panic_of;
use common::{Trace, on_drop, poll_with, run};
use runtime::spawn;
use runtime::task::yield_now;

runtime::task_local! {
    /// A number.
    static NUMBER: u32;
    pub(crate) static SHARED: Rc<Cell<u32>>;
}
runtime::task_local!(static ALONE: &'static str);
runtime::task_local!();

#[test]
fn a_value_is_seen_across_awaits_and_not_outside() {
    run(async {
        let scoped = NUMBER.scope(1, async {
            assert_eq!(NUMBER.get(), 1);
            yield_now().await;
            NUMBER.with(|number| assert_eq!(*number, 1));
            yield_now().await;
            NUMBER.try_get()
        });
        assert_eq!(scoped.await, Ok(1));
        assert!(NUMBER.try_get().is_err());
    });
}

#[test]
fn two_tasks_have_their_own_values() {
    run(async {
        let tasks = [10, 20, 30].map(|number| {
            spawn(NUMBER.scope(number, async move {
                for _ in 0..5 {
                    assert_eq!(NUMBER.get(), number);
                    yield_now().await;
                }
                NUMBER.get()
            }))
        });
        let between = spawn(async {
            for _ in 0..5 {
                assert!(NUMBER.try_get().is_err());
                yield_now().await;
            }
        });
        for (task, number) in tasks.into_iter().zip([10, 20, 30]) {
            assert_eq!(task.await.unwrap(), number);
        }
        between.await.unwrap();
    });
}

#[test]
fn a_spawned_task_does_not_inherit() {
    run(async {
        NUMBER
            .scope(1, async {
                let task = spawn(async { NUMBER.try_get() });
                assert!(task.await.unwrap().is_err());
            })
            .await;
    });
}

#[test]
fn scopes_nest_and_keys_do_not_mix() {
    run(async {
        ALONE
            .scope("outer", async {
                NUMBER
                    .scope(1, async {
                        let inner = NUMBER.scope(2, async {
                            yield_now().await;
                            (NUMBER.get(), ALONE.get())
                        });
                        assert_eq!(inner.await, (2, "outer"));
                        assert_eq!(NUMBER.get(), 1);
                        assert_eq!(NUMBER.sync_scope(3, || NUMBER.get()), 3);
                        assert_eq!(NUMBER.get(), 1);
                    })
                    .await;
                assert!(NUMBER.try_get().is_err());
            })
            .await;
    });
}

#[test]
fn the_value_is_set_while_the_future_is_dropped() {
    run(async {
        let trace = Trace::default();
        let guarded = |name: &'static str| {
            let trace = trace.clone();
            let guard = on_drop(move || trace.push(format!("{name} {:?}", NUMBER.try_get())));
            let mut guard = Some(guard);
            poll_fn(move |_| {
                let _ = &mut guard;
                match name {
                    "returned" => Poll::Ready(()),
                    "panicked" => std::panic::resume_unwind(Box::new(())),
                    _ => Poll::Pending,
                }
            })
        };
        spawn(NUMBER.scope(1, guarded("returned"))).await.unwrap();
        spawn(NUMBER.scope(2, guarded("panicked")))
            .await
            .unwrap_err();
        let aborted = spawn(NUMBER.scope(3, guarded("aborted")));
        yield_now().await;
        aborted.abort();
        aborted.await.unwrap_err();
        drop(NUMBER.scope(4, guarded("unpolled")));
        assert_eq!(
            trace.take(),
            [
                "returned Ok(1)",
                "panicked Ok(2)",
                "aborted Ok(3)",
                "unpolled Ok(4)"
            ]
        );
        assert!(NUMBER.try_get().is_err());
    });
}

#[test]
fn a_panic_in_a_scope_puts_the_outer_value_back() {
    run(async {
        NUMBER
            .scope(1, async {
                let thrown = panic_of(|| NUMBER.sync_scope(2, || panic!("inside")));
                assert_eq!(thrown.message, "inside");
                assert_eq!(NUMBER.get(), 1);
                let mut scoped = Box::pin(NUMBER.scope(3, async { panic!("in a poll") }));
                panic_of(|| -> Poll<()> { poll_with(&mut scoped, Waker::noop()) });
                assert_eq!(NUMBER.get(), 1);
                drop(scoped);
                assert_eq!(NUMBER.get(), 1);
            })
            .await;
    });
}

#[test]
fn the_value_dies_with_its_future_and_not_before() {
    run(async {
        let value = Rc::new(Cell::new(0));
        let mut scoped = Box::pin(SHARED.scope(Rc::clone(&value), async {
            SHARED.with(|value| value.set(value.get() + 1));
        }));
        assert!(poll_with(&mut scoped, Waker::noop()).is_ready());
        assert_eq!((value.get(), Rc::strong_count(&value)), (1, 2));
        drop(scoped);
        assert_eq!(Rc::strong_count(&value), 1);
    });
}

#[test]
fn the_value_can_be_taken_out_of_a_finished_future() {
    run(async {
        let mut scoped = Box::pin(NUMBER.scope(5, async {}));
        scoped.as_mut().await;
        assert_eq!(scoped.as_mut().take_value(), Some(5));
        assert_eq!(scoped.as_mut().take_value(), None);
    });
}

#[test]
fn misuse_panics_at_the_callers_line() {
    let panic = panic_of(|| NUMBER.get());
    assert_eq!(
        panic.message,
        "a task-local value was used outside of its scope"
    );
    assert_eq!(panic.file, file!());
    let panic = panic_of(|| NUMBER.with(|_| ()));
    assert_eq!(panic.file, file!());
    let error = NUMBER.try_with(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "task-local value not set");
    NUMBER.sync_scope(1, || {
        NUMBER.with(|_| {
            let panic = panic_of(|| NUMBER.sync_scope(2, || ()));
            assert_eq!(
                panic.message,
                "a task-local scope was entered inside of `with` on the same key"
            );
            assert_eq!(panic.file, file!());
            // Looking twice is fine.
            assert_eq!(NUMBER.get(), 1);
        });
    });
    let mut done = Box::pin(NUMBER.scope(1, async {}));
    assert!(poll_with(&mut done, Waker::noop()).is_ready());
    let panic = panic_of(|| poll_with(&mut done, Waker::noop()));
    assert_eq!(
        panic.message,
        "a `TaskLocalFuture` was polled after it was done"
    );
}

#[test]
fn a_scope_that_is_dropped_inside_of_with_is_dropped_all_the_same() {
    let kept = Rc::new(());
    let scoped = {
        let kept = Rc::clone(&kept);
        NUMBER.scope(2, async move {
            pending::<()>().await;
            drop(kept);
        })
    };
    NUMBER.sync_scope(1, || NUMBER.with(|_| drop(scoped)));
    assert_eq!(Rc::strong_count(&kept), 1);
}
