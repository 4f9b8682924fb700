//! Which due task runs next, and how long a tick lasts.

mod common;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::thread;

use common::{LIMIT, Trace, run, turn_of_all, within};
use futures::channel::oneshot;
use runtime::task::{JoinHandle, consume_budget, should_yield, yield_now};
use runtime::time::{Duration, Instant, sleep};
use runtime::{Builder, Runtime, spawn};

/// A runtime whose ticks are `polls` long, whatever time that takes.
fn by_polls(polls: u32) -> Runtime {
    Builder::new()
        .event_interval(polls)
        .time_slice(Duration::MAX)
        .build()
        .unwrap()
}

/// Spawns tasks that do nothing but yield; counts their polls.
fn spin(tasks: usize) -> (Rc<Cell<usize>>, Vec<JoinHandle<()>>) {
    let polls = Rc::new(Cell::new(0));
    let spin = |polls: Rc<Cell<usize>>| async move {
        loop {
            polls.set(polls.get() + 1);
            yield_now().await;
        }
    };
    let tasks = (0..tasks).map(|_| spawn(spin(Rc::clone(&polls))));
    let tasks = tasks.collect();
    (polls, tasks)
}

/// Keeps the thread for so long.
fn compute(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {}
}

#[test]
fn the_main_future_is_polled_once_a_tick_however_many_tasks_are_due() {
    within(LIMIT, || {
        by_polls(10).block_on(async {
            let (polls, _tasks) = spin(1000);
            for tick in 1..100 {
                yield_now().await;
                assert_eq!(polls.get(), 10 * tick);
            }
        });
    });
}

#[test]
fn the_main_future_runs_again_in_a_tick_in_which_no_task_is_due() {
    within(LIMIT, || {
        by_polls(1000).block_on(async {
            let trace = Trace::default();
            let task = {
                let trace = trace.clone();
                spawn(async move {
                    trace.push("a");
                    yield_now().await;
                    trace.push("b");
                })
            };
            yield_now().await;
            assert_eq!(trace.take(), ["a", "b"], "main comes after all tasks");
            task.await.unwrap();
            // The other task is spawned, polled and joined in one tick.
            for _ in 0..100 {
                assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
            }
        });
    });
}

#[test]
fn the_main_future_is_polled_first() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let trace = Trace::default();
        let task = {
            let trace = trace.clone();
            runtime.spawn(async move { trace.push("task") })
        };
        runtime.block_on(async {
            trace.push("main");
            task.await.unwrap();
        });
        assert_eq!(trace.take(), ["main", "task"]);
    });
}

/// Spawns a task that waits for another thread; the sender wakes it from there.
fn spawn_waiting(trace: &Trace, name: &'static str) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (sender, receiver) = oneshot::channel();
    let trace = trace.clone();
    let task = spawn(async move {
        receiver.await.unwrap();
        trace.push(name);
    });
    (sender, task)
}

#[test]
fn what_another_thread_woke_does_not_queue_behind_all_that_is_due() {
    within(LIMIT, || {
        by_polls(1).block_on(async {
            let trace = Trace::default();
            let (sender, woken) = spawn_waiting(&trace, "woken");
            yield_now().await;
            let (polls, _tasks) = spin(1000);
            yield_now().await;
            thread::spawn(|| sender.send(()).unwrap()).join().unwrap();
            let before = polls.get();
            while !woken.is_finished() {
                yield_now().await;
            }
            let waited = polls.get() - before;
            assert!(waited <= 3, "{waited} polls of others came first");
        });
    });
}

#[test]
fn what_a_timer_woke_does_not_queue_behind_all_that_is_due() {
    within(LIMIT, || {
        by_polls(1).block_on(async {
            let timers: Vec<_> = (0..10)
                .map(|_| spawn(sleep(Duration::from_millis(1))))
                .collect();
            yield_now().await;
            while !timers.iter().any(JoinHandle::is_finished) {
                yield_now().await;
            }
            let (polls, _tasks) = spin(1000);
            let late = spawn(async {
                let start = Instant::now();
                sleep(Duration::from_millis(1)).await;
                start.elapsed()
            });
            late.await.unwrap();
            assert!(polls.get() > 0);
        });
    });
}

#[test]
fn the_two_classes_take_turns_and_each_is_first_come_first_served() {
    within(LIMIT, || {
        by_polls(1000).block_on(async {
            let trace = Trace::default();
            let waiting = ["thread 1", "thread 2", "thread 3"];
            let (senders, woken): (Vec<_>, Vec<_>) = waiting
                .iter()
                .map(|name| spawn_waiting(&trace, name))
                .unzip();
            yield_now().await;
            let wake = move || {
                senders
                    .into_iter()
                    .for_each(|sender| sender.send(()).unwrap())
            };
            thread::spawn(wake).join().unwrap();
            let spawned = ["task 1", "task 2", "task 3"].map(|name| {
                let trace = trace.clone();
                spawn(async move { trace.push(name) })
            });
            // The tick ends, and the next one finds what the thread has woken.
            let order = trace.clone();
            let both = async move {
                for task in woken.into_iter().chain(spawned) {
                    task.await.unwrap();
                }
            };
            both.await;
            let order = order.take();
            let of = |class: &str| {
                let names = order.iter().filter(|name| name.starts_with(class));
                names.cloned().collect::<Vec<_>>()
            };
            assert_eq!(of("thread"), waiting);
            assert_eq!(of("task"), ["task 1", "task 2", "task 3"]);
        });
    });
}

#[test]
fn a_flood_of_wakes_from_a_thread_leaves_the_tasks_their_turns() {
    within(LIMIT, || {
        by_polls(61).block_on(async {
            let (polls, _tasks) = spin(1);
            let stop = Arc::new(AtomicBool::new(false));
            let woken = Rc::new(Cell::new(0_usize));
            let (send, wakers) = mpsc::channel();
            let flood = Vec::from_iter((0..50).map(|_| {
                let (woken, mut send) = (Rc::clone(&woken), Some(send.clone()));
                spawn(poll_fn(move |cx| {
                    woken.set(woken.get() + 1);
                    if let Some(send) = send.take() {
                        send.send(cx.waker().clone()).unwrap();
                    }
                    Poll::<()>::Pending
                }))
            }));
            turn_of_all().await;
            let wakers = Vec::from_iter(wakers.try_iter());
            assert_eq!(wakers.len(), flood.len());
            let stopped = Arc::clone(&stop);
            let thread = thread::spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    wakers.iter().for_each(Waker::wake_by_ref);
                }
            });
            while woken.get() < 10_000 {
                let before = (polls.get(), woken.get());
                yield_now().await;
                let (polls, woken) = (polls.get() - before.0, woken.get() - before.1);
                assert!(polls + 2 >= woken, "{polls} turns beside {woken}");
            }
            stop.store(true, Ordering::Relaxed);
            thread.join().unwrap();
        });
    });
}

#[test]
fn a_tick_ends_when_its_time_is_over() {
    within(LIMIT, || {
        let runtime = Builder::new()
            .time_slice(Duration::from_millis(1))
            .build()
            .unwrap();
        runtime.block_on(async {
            let polls = Rc::new(Cell::new(0));
            let _tasks: Vec<_> = (0..100)
                .map(|_| {
                    let polls = Rc::clone(&polls);
                    spawn(async move {
                        loop {
                            polls.set(polls.get() + 1);
                            compute(Duration::from_millis(1));
                            yield_now().await;
                        }
                    })
                })
                .collect();
            // It has to learn how long the polls take.
            yield_now().await;
            yield_now().await;
            for _ in 0..20 {
                let before = polls.get();
                yield_now().await;
                let polls = polls.get() - before;
                assert!((1..=2).contains(&polls), "{polls} polls in a tick");
            }
        });
    });
}

#[test]
fn a_tick_after_a_wait_does_not_rely_on_how_short_polls_were_before() {
    run(async {
        // Polls of nanoseconds, so that the clock is read as rarely as ever.
        let short = spawn(async {
            for _ in 0..10_000 {
                yield_now().await;
            }
        });
        short.await.unwrap();
        sleep(Duration::from_millis(20)).await;
        let polls = Rc::new(Cell::new(0));
        for _ in 0..200 {
            let polls = Rc::clone(&polls);
            drop(spawn(async move {
                polls.set(polls.get() + 1);
                compute(Duration::from_millis(1));
            }));
        }
        yield_now().await;
        assert!(
            (1..=32).contains(&polls.get()),
            "{} polls in a tick",
            polls.get()
        );
    });
}

#[test]
fn a_tick_without_a_limit_of_time_has_all_its_polls() {
    within(LIMIT, || {
        by_polls(20).block_on(async {
            let polls = Rc::new(Cell::new(0));
            let _tasks: Vec<_> = (0..50)
                .map(|_| {
                    let polls = Rc::clone(&polls);
                    spawn(async move {
                        loop {
                            polls.set(polls.get() + 1);
                            compute(Duration::from_micros(100));
                            yield_now().await;
                        }
                    })
                })
                .collect();
            for tick in 1..10 {
                yield_now().await;
                assert_eq!(polls.get(), 20 * tick);
            }
        });
    });
}

#[test]
fn should_yield_says_so_when_the_tick_has_had_its_time() {
    within(LIMIT, || {
        let slice = Duration::from_millis(50);
        let runtime = Builder::new().time_slice(slice).build().unwrap();
        runtime.block_on(async {
            let first = should_yield();
            let start = Instant::now();
            while !should_yield() {}
            assert!(!first && start.elapsed() < LIMIT);
            assert!(should_yield(), "until it yields");
            yield_now().await;
            assert!(!should_yield(), "the next tick has its time");
        });
    });
}

#[test]
fn the_poll_in_which_should_yield_said_so_is_the_last_of_its_tick() {
    within(LIMIT, || {
        let runtime = Builder::new()
            .event_interval(1000)
            .time_slice(Duration::from_millis(1))
            .build()
            .unwrap();
        runtime.block_on(async {
            let trace = Rc::new(RefCell::new(Vec::new()));
            let computing = {
                let trace = Rc::clone(&trace);
                spawn(async move {
                    while !should_yield() {}
                    trace.borrow_mut().push("computed");
                })
            };
            let other = {
                let trace = Rc::clone(&trace);
                spawn(async move { trace.borrow_mut().push("other") })
            };
            yield_now().await;
            trace.borrow_mut().push("main");
            computing.await.unwrap();
            other.await.unwrap();
            assert_eq!(*trace.borrow(), ["computed", "main", "other"]);
        });
    });
}

#[test]
fn should_yield_says_so_when_the_budget_is_used_up() {
    within(LIMIT, || {
        let runtime = Builder::new()
            .budget(3)
            .time_slice(Duration::MAX)
            .build()
            .unwrap();
        runtime.block_on(async {
            for _ in 0..3 {
                assert!(!should_yield());
                consume_budget().await;
            }
            assert!(should_yield());
            yield_now().await;
            assert!(!should_yield());
        });
    });
    assert!(!should_yield(), "there is no runtime");
}
