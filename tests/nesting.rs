//! One runtime at a time is current on a thread: `block_on` does not nest, and what was current comes back.

mod common;

use std::cell::RefCell;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;

use common::panics::{Panic, panic_of};
use common::{LIMIT, on_drop, run, within};
use runtime::task::{JoinHandle, yield_now};
use runtime::time::{Duration, sleep};
use runtime::{Runtime, spawn};

/// Asserts that a nested `block_on` said, in one sentence, where it and the outer one were called.
#[track_caller]
fn assert_names_both(panic: &Panic, inner: u32, outer: u32) {
    let rest = panic
        .message
        .strip_prefix("`block_on` was called at ")
        .unwrap();
    let (place, rest) = rest
        .split_once(" inside of the `block_on` that was called at ")
        .unwrap();
    assert!(
        place.starts_with(&format!("{}:{inner}:", file!())),
        "{place}"
    );
    let (place, rest) = rest.split_once(": ").unwrap();
    assert!(
        place.starts_with(&format!("{}:{outer}:", file!())),
        "{place}"
    );
    assert_eq!(
        rest,
        "a thread runs one runtime at a time, so await the future or spawn it"
    );
}

#[test]
fn a_block_on_in_the_main_future_panics_and_the_outer_one_goes_on() {
    within(LIMIT, || {
        let (inner, outer) = (line!() + 2, line!() + 1);
        let output = runtime::block_on(async {
            let panic = panic_of(|| runtime::block_on(async {}));
            assert_names_both(&panic, inner, outer);
            sleep(Duration::from_micros(100)).await;
            spawn(async { "alive" }).await.unwrap()
        });
        assert_eq!(output, "alive");
    });
}

#[test]
fn a_block_on_in_a_task_panics_and_the_outer_runtime_goes_on() {
    within(LIMIT, || {
        let outer_runtime = Runtime::new().unwrap();
        let other = Rc::new(Runtime::new().unwrap());
        let task = outer_runtime.spawn({
            let other = Rc::clone(&other);
            async move {
                let line = line!() + 1;
                let panic = panic_of(|| other.block_on(async {}));
                (panic, line)
            }
        });
        let outer = line!() + 1;
        let (panic, inner) = outer_runtime.block_on(task).unwrap();
        assert_names_both(&panic, inner, outer);
        // Neither was harmed.
        assert_eq!(other.block_on(async { 1 }), 1);
        assert_eq!(outer_runtime.block_on(async { 2 }), 2);
    });
}

#[test]
fn a_refused_block_on_drops_its_future_without_a_poll() {
    run(async {
        let kept = Rc::new(());
        let future = {
            let kept = Rc::clone(&kept);
            async move {
                drop(kept);
                unreachable!();
            }
        };
        panic_of(|| runtime::block_on(future));
        assert_eq!(Rc::strong_count(&kept), 1);
    });
}

#[test]
fn the_place_of_the_outer_call_is_forgotten_when_it_is_over() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {});
        let _ = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async { std::panic::resume_unwind(Box::new(())) })
        }));
        let outer = line!() + 1;
        runtime.block_on(async {
            let inner = line!() + 1;
            let panic = panic_of(|| runtime.block_on(async {}));
            assert_names_both(&panic, inner, outer);
        });
    });
}

#[test]
fn two_runtimes_of_a_thread_run_by_turns_and_keep_their_tasks_apart() {
    within(LIMIT, || {
        let runtimes = [Runtime::new().unwrap(), Runtime::new().unwrap()];
        let counts = [(); 2].map(|()| Rc::new(RefCell::new(0)));
        for (runtime, count) in runtimes.iter().zip(&counts) {
            let count = Rc::clone(count);
            runtime.spawn(async move {
                loop {
                    *count.borrow_mut() += 1;
                    yield_now().await;
                }
            });
        }
        for round in 1..=10 {
            runtimes[0].block_on(yield_now());
            let [first, second] = counts.each_ref().map(|count| *count.borrow());
            assert!(first >= round);
            runtimes[1].block_on(yield_now());
            assert_eq!(*counts[0].borrow(), first);
            assert!(*counts[1].borrow() > second);
        }
    });
}

#[test]
fn a_runtime_may_be_made_and_dropped_inside_of_another_which_stays_current() {
    run(async {
        let handle: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
        let inner = Runtime::new().unwrap();
        let guard = on_drop({
            let handle = Rc::clone(&handle);
            // The runtime that is being dropped is current here, not the outer one.
            move || *handle.borrow_mut() = Some(spawn(async { unreachable!() }))
        });
        inner.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        drop(inner);
        let handle = handle.take().unwrap();
        assert!(handle.is_finished());
        assert!(handle.await.unwrap_err().is_cancelled());
        assert_eq!(spawn(async { "outer" }).await.unwrap(), "outer");
    });
}

#[test]
fn a_block_on_in_a_destructor_is_refused_while_the_runtime_is_dropped() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let panics = Rc::new(RefCell::new(Vec::new()));
        let guard = on_drop({
            let panics = Rc::clone(&panics);
            move || {
                let panic = panic_of(|| runtime::block_on(async {}));
                panics.borrow_mut().push(panic.message);
            }
        });
        let task = runtime.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        // That this one is over must be known: no call is "inside of" it any more.
        runtime.block_on(yield_now());
        drop(runtime);
        let [message] = &panics.take()[..] else {
            panic!("the destructor ran once");
        };
        assert!(
            message.ends_with(" by a destructor that runs inside of a runtime"),
            "{message}"
        );
        assert!(run(task).unwrap_err().is_cancelled());
    });
}

#[test]
fn a_runtime_and_another_executor_run_inside_of_each_other() {
    within(LIMIT, || {
        let output = futures::executor::block_on(async {
            runtime::block_on(async {
                let task = spawn(async { 1 });
                // It blocks the thread, so it can only wait for what needs no runtime.
                assert_eq!(smol_block_on(async { 2 }), 2);
                task.await.unwrap()
            })
        });
        assert_eq!(output, 1);
    });
}

/// The executor of `futures-lite`, which may be called inside of others.
fn smol_block_on<F: Future>(future: F) -> F::Output {
    futures_lite::future::block_on(future)
}

#[test]
fn without_block_on_nothing_is_current() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        panic_of(|| spawn(async {}));
        runtime.block_on(async {});
        panic_of(|| spawn(async {}));
        drop(runtime);
        panic_of(|| spawn(async {}));
    });
}

#[test]
fn eight_threads_have_a_runtime_each() {
    within(LIMIT, || {
        let threads = Vec::from_iter((0..8_u64).map(|thread| {
            thread::spawn(move || {
                runtime::block_on(async move {
                    let tasks = Vec::from_iter((0..100).map(|number| {
                        spawn(async move {
                            yield_now().await;
                            thread * 100 + number
                        })
                    }));
                    let mut sum = 0;
                    for task in tasks {
                        sum += task.await.unwrap();
                    }
                    sum
                })
            })
        }));
        let sum: u64 = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!(sum, (0..800).sum());
    });
}
