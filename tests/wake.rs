//! Wakes on the runtime's own thread: a woken task is due once, and no wake is lost or too much.

#![expect(
    clippy::async_yields_async,
    reason = "handles are handed out by those who spawn"
)]

mod common;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

use common::{LIMIT, Trace, run, turn_of_all, within};
use futures::stream::{FuturesUnordered, StreamExt};
use runtime::task::{JoinHandle, yield_now};
use runtime::{Runtime, spawn};

/// A task that counts its polls, keeps its latest waker and waits until it is told to end.
#[derive(Clone, Default)]
struct Probe(Rc<State>);

#[derive(Default)]
struct State {
    polls: Cell<usize>,
    waker: RefCell<Option<Waker>>,
    is_done: Cell<bool>,
}

impl Probe {
    fn spawn(&self) -> JoinHandle<()> {
        let state = Rc::clone(&self.0);
        spawn(poll_fn(move |cx| {
            state.polls.set(state.polls.get() + 1);
            state.waker.borrow_mut().replace(cx.waker().clone());
            match state.is_done.get() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }))
    }

    fn waker(&self) -> Waker {
        self.0.waker.borrow().clone().unwrap()
    }

    fn polls(&self) -> usize {
        self.0.polls.get()
    }
}

#[test]
fn many_wakes_before_the_poll_are_one_poll() {
    run(async {
        let probe = Probe::default();
        let _task = probe.spawn();
        yield_now().await;
        assert_eq!(probe.polls(), 1);
        for _ in 0..100 {
            probe.waker().wake();
        }
        for _ in 0..5 {
            yield_now().await;
        }
        assert_eq!(probe.polls(), 2);
    });
}

#[test]
fn many_wakes_give_a_task_no_more_turns_than_one() {
    run(async {
        let (trace, probe) = (Trace::default(), Probe::default());
        let spin = |name: &'static str| {
            let trace = trace.clone();
            async move {
                for _ in 0..20 {
                    trace.push(name);
                    yield_now().await;
                }
            }
        };
        let (woken, other) = (spin("woken"), spin("other"));
        let waiting = probe.clone();
        let task = spawn(async move {
            poll_fn(|cx| {
                waiting.0.polls.set(waiting.0.polls.get() + 1);
                waiting.0.waker.borrow_mut().replace(cx.waker().clone());
                match waiting.polls() {
                    1 => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            })
            .await;
            woken.await;
        });
        yield_now().await;
        (0..100).for_each(|_| probe.waker().wake());
        spawn(other).await.unwrap();
        task.await.unwrap();
        let turns = trace.take();
        assert!(turns.chunks(2).all(|pair| pair == ["woken", "other"]));
    });
}

#[test]
fn a_wake_within_the_poll_makes_the_task_due_again() {
    run(async {
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        spawn(poll_fn(move |cx| {
            counted.set(counted.get() + 1);
            if counted.get() == 5 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
        .await
        .unwrap();
        assert_eq!(polls.get(), 5);
    });
}

#[test]
fn a_wake_after_the_end_polls_nothing() {
    run(async {
        let probe = Probe::default();
        let task = probe.spawn();
        yield_now().await;
        probe.0.is_done.set(true);
        probe.waker().wake();
        task.await.unwrap();
        assert_eq!(probe.polls(), 2);
        probe.waker().wake();
        yield_now().await;
        assert_eq!(probe.polls(), 2);
    });
}

#[test]
fn a_clone_of_a_clone_wakes_and_a_dropped_waker_does_not() {
    run(async {
        let probe = Probe::default();
        let _task = probe.spawn();
        yield_now().await;
        drop(probe.waker());
        yield_now().await;
        assert_eq!(probe.polls(), 1);
        #[expect(clippy::redundant_clone, reason = "the clone is what is tested")]
        let copy = probe.waker().clone().clone();
        drop(probe.waker());
        copy.wake_by_ref();
        drop(copy);
        yield_now().await;
        assert_eq!(probe.polls(), 2);
    });
}

#[test]
fn the_wakers_of_one_task_will_wake_each_other_and_those_of_two_will_not() {
    run(async {
        let (one, other) = (Probe::default(), Probe::default());
        let _tasks = (one.spawn(), other.spawn());
        yield_now().await;
        let before = one.waker();
        before.wake_by_ref();
        yield_now().await;
        assert_eq!(one.polls(), 2);
        assert!(before.will_wake(&one.waker()));
        assert!(before.will_wake(&before.clone()));
        assert!(!before.will_wake(&other.waker()));
        let main = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        assert!(poll_fn(|cx| Poll::Ready(cx.waker().will_wake(&main))).await);
        assert!(!main.will_wake(&before));
    });
}

#[test]
fn the_wakers_of_two_runtimes_do_not_will_wake_each_other() {
    within(LIMIT, || {
        let (one, other) = (Runtime::new().unwrap(), Runtime::new().unwrap());
        let main = || poll_fn(|cx| Poll::Ready(cx.waker().clone()));
        assert!(!one.block_on(main()).will_wake(&other.block_on(main())));
    });
}

#[test]
fn woken_tasks_run_in_the_order_of_their_first_wake() {
    run(async {
        let trace = Trace::default();
        let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
        for name in ["a", "b", "c"] {
            let (trace, wakers) = (trace.clone(), Rc::clone(&wakers));
            spawn(poll_fn(move |cx| {
                trace.push(name);
                wakers.borrow_mut().push(cx.waker().clone());
                Poll::<()>::Pending
            }));
        }
        yield_now().await;
        assert_eq!(trace.take(), ["a", "b", "c"]);
        let wakers = wakers.take();
        for index in [2, 0, 2, 1, 0] {
            wakers[index].wake_by_ref();
        }
        yield_now().await;
        assert_eq!(trace.take(), ["c", "a", "b"]);
    });
}

#[test]
fn a_task_may_wake_the_main_future() {
    run(async {
        let state: Rc<(Cell<bool>, Cell<usize>)> = Rc::default();
        let mut task = None;
        poll_fn(|cx| {
            state.1.set(state.1.get() + 1);
            if state.0.get() {
                return Poll::Ready(());
            }
            let (main, state) = (cx.waker().clone(), Rc::clone(&state));
            task = Some(spawn(async move {
                state.0.set(true);
                main.wake_by_ref();
                main.wake();
            }));
            Poll::Pending
        })
        .await;
        assert_eq!(state.1.get(), 2);
        yield_now().await;
        assert!(task.unwrap().is_finished());
    });
}

#[test]
fn a_wake_between_two_block_ons_is_kept_for_the_second() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let probe = Probe::default();
        let task = runtime.block_on(async {
            let task = probe.spawn();
            yield_now().await;
            task
        });
        probe.0.is_done.set(true);
        // Once without any runtime, once inside of another one.
        probe.waker().wake();
        run(async { probe.waker().wake() });
        runtime.block_on(task).unwrap();
        assert_eq!(probe.polls(), 2);
    });
}

#[test]
fn a_main_future_that_was_woken_and_left_costs_the_next_one_nothing() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let old = runtime.block_on(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Ready(cx.waker().clone())
        }));
        old.wake();
        let polls = Cell::new(0);
        runtime.block_on(async {
            let mut yielded = std::pin::pin!(yield_now());
            poll_fn(|cx| {
                polls.set(polls.get() + 1);
                yielded.as_mut().poll(cx)
            })
            .await;
        });
        assert!(polls.get() <= 3, "{} polls", polls.get());
    });
}

#[test]
fn a_thousand_futures_of_one_task_each_wake_it() {
    run(async {
        let probes = Vec::from_iter((0..1000).map(|_| Probe::default()));
        let tasks = FuturesUnordered::from_iter(probes.iter().map(Probe::spawn));
        turn_of_all().await;
        for probe in probes.iter().rev() {
            probe.0.is_done.set(true);
            probe.waker().wake();
        }
        let ended = tasks.map(Result::unwrap).count().await;
        assert_eq!(ended, 1000);
        assert!(probes.iter().all(|probe| probe.polls() == 2));
    });
}

#[test]
fn a_runtime_with_nothing_but_idle_tasks_polls_none_of_them() {
    run(async {
        let probes = Vec::from_iter((0..100).map(|_| Probe::default()));
        for probe in &probes {
            probe.spawn();
        }
        let stuck = spawn(pending::<()>());
        for _ in 0..300 {
            yield_now().await;
        }
        assert!(probes.iter().all(|probe| probe.polls() == 1));
        assert!(!stuck.is_finished());
    });
}
