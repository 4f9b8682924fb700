//! Task numbers: unique in the process, and known to the task while it runs and while it is dropped.

mod common;

use std::cell::RefCell;
use std::collections::HashSet;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::thread;

use common::panics::panic_of;
use common::{LIMIT, on_drop, run, within};
use runtime::task::{Id, id, try_id, yield_now};
use runtime::{Runtime, spawn};

#[test]
fn a_task_its_handles_and_its_error_agree_on_its_number() {
    run(async {
        let task = spawn(async {
            let before = id();
            yield_now().await;
            assert_eq!(id(), before);
            before
        });
        let (number, abort) = (task.id(), task.abort_handle());
        assert_eq!(abort.id(), number);
        assert_eq!(task.await.unwrap(), number);

        let task = spawn(pending::<()>());
        let number = task.id();
        task.abort();
        assert_eq!(task.await.unwrap_err().id(), number);
    });
}

#[test]
fn each_of_two_tasks_that_take_turns_knows_its_own_number() {
    run(async {
        let tasks = [(); 3].map(|()| {
            spawn(async {
                let before = id();
                for _ in 0..5 {
                    yield_now().await;
                    assert_eq!(id(), before);
                }
                before
            })
        });
        for task in tasks {
            let number = task.id();
            assert_eq!(task.await.unwrap(), number);
        }
    });
}

#[test]
fn the_main_future_is_no_task() {
    assert_eq!(try_id(), None);
    let panic = panic_of(|| id());
    assert_eq!(panic.message, "`task::id` was called outside of a task");
    assert_eq!(panic.file, file!());
    run(async {
        assert_eq!(try_id(), None);
        spawn(async {}).await.unwrap();
        assert_eq!(try_id(), None);
        spawn(async { panic!("this one is meant") })
            .await
            .unwrap_err();
        assert_eq!(try_id(), None);
        panic_of(|| id().to_string());
    });
}

/// A guard that notes which task is running when it is dropped.
fn notes_number(seen: &Rc<RefCell<Vec<Option<Id>>>>) -> impl Sized + use<> {
    let seen = Rc::clone(seen);
    on_drop(move || seen.borrow_mut().push(try_id()))
}

#[test]
fn a_future_knows_its_number_while_it_is_dropped_whatever_ended_it() {
    within(LIMIT, || {
        let seen = Rc::default();
        let runtime = Runtime::new().unwrap();
        let mut expected = Vec::new();
        runtime.block_on(async {
            for how in [
                "returns",
                "panics",
                "is aborted",
                "aborts itself",
                "is left",
            ] {
                let mut guard = Some(notes_number(&seen));
                let task = spawn(poll_fn(move |_| {
                    let _ = &mut guard;
                    match how {
                        "returns" => Poll::Ready(()),
                        "panics" => std::panic::resume_unwind(Box::new(())),
                        _ => Poll::Pending,
                    }
                }));
                expected.push(Some(task.id()));
                if how == "is aborted" {
                    yield_now().await;
                    task.abort();
                }
                if how == "aborts itself" {
                    task.abort();
                }
                yield_now().await;
            }
        });
        drop(runtime);
        assert_eq!(*seen.borrow(), expected);
    });
}

#[test]
fn the_output_of_a_detached_task_is_dropped_by_the_task() {
    run(async {
        let seen = Rc::default();
        let output = notes_number(&seen);
        let task = spawn(async move { output });
        let number = task.id();
        drop(task);
        yield_now().await;
        assert_eq!(*seen.borrow(), [Some(number)]);

        // Dropped by its handle, it belongs to whoever drops that.
        let output = notes_number(&seen);
        let task = spawn(async move { output });
        yield_now().await;
        drop(task);
        assert_eq!(seen.borrow()[1], None);
    });
}

#[test]
fn a_task_that_is_cancelled_at_spawn_has_a_number_too() {
    within(LIMIT, || {
        let seen = Rc::default();
        let numbers = Rc::new(RefCell::new(Vec::new()));
        let runtime = Runtime::new().unwrap();
        let guard = on_drop({
            let (guard, numbers) = (notes_number(&seen), Rc::clone(&numbers));
            move || {
                let outer = try_id();
                let handle = spawn(async move { drop(guard) });
                numbers.borrow_mut().extend([outer, Some(handle.id())]);
                assert_eq!(try_id(), outer);
            }
        });
        let task = runtime.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        drop(runtime);
        let numbers = numbers.borrow();
        assert_eq!(numbers[0], Some(task.id()));
        assert_ne!(numbers[1], numbers[0]);
        assert_eq!(*seen.borrow(), [numbers[1]]);
    });
}

#[test]
fn numbers_are_unique_across_reused_slots_runtimes_and_threads() {
    fn some_numbers() -> Vec<Id> {
        let numbers = [(); 3].map(|()| {
            runtime::block_on(async {
                let mut numbers = Vec::new();
                for _ in 0..1000 {
                    let task = spawn(async {});
                    numbers.push(task.id());
                    task.await.unwrap();
                }
                numbers
            })
        });
        let numbers = numbers.concat();
        assert!(numbers[..1000].is_sorted());
        numbers
    }
    within(LIMIT, || {
        let threads = [(); 4].map(|()| thread::spawn(some_numbers));
        let mut all = some_numbers();
        for thread in threads {
            all.extend(thread.join().unwrap());
        }
        let distinct: HashSet<Id> = all.iter().copied().collect();
        assert_eq!((all.len(), distinct.len()), (15_000, 15_000));
        let texts: HashSet<String> = all.iter().map(Id::to_string).collect();
        assert_eq!(texts.len(), 15_000);
    });
}
