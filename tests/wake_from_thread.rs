//! Wakes from other threads: none is lost, whatever the runtime does meanwhile, and none comes twice.

mod common;

use std::cell::Cell;
use std::future::poll_fn;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;

use common::parked::{park, this_thread, wait_until_parked};
use common::{LIMIT, run, turn_of_all, within};
use futures::channel::oneshot;
use futures::future::join_all;
use runtime::task::yield_now;
use runtime::{Runtime, spawn};

const THREADS: usize = 8;

#[test]
fn a_wake_ends_the_sleep_of_a_parked_runtime() {
    within(LIMIT, || {
        let (ready, is_ready) = mpsc::channel();
        let waking = thread::spawn(move || {
            let (sleeper, wakers): (PathBuf, [oneshot::Sender<u32>; 2]) = is_ready.recv().unwrap();
            for (number, waker) in (0..).zip(wakers) {
                wait_until_parked(&sleeper);
                waker.send(number).unwrap();
            }
        });
        let outputs = runtime::block_on(async {
            let (main_send, main_receive) = oneshot::channel();
            let (task_send, task_receive) = oneshot::channel();
            let task = spawn(task_receive);
            ready.send((this_thread(), [main_send, task_send])).unwrap();
            (main_receive.await.unwrap(), task.await.unwrap().unwrap())
        });
        assert_eq!(outputs, (0, 1));
        waking.join().unwrap();
    });
}

#[test]
fn a_parked_runtime_that_is_woken_for_nothing_parks_again() {
    within(LIMIT, || {
        let (ready, is_ready) = mpsc::channel();
        let waking = thread::spawn(move || {
            let (sleeper, waker, end): (PathBuf, Waker, oneshot::Sender<()>) =
                is_ready.recv().unwrap();
            for _ in 0..20 {
                let before = wait_until_parked(&sleeper);
                waker.wake_by_ref();
                while park(&sleeper).is_none_or(|now| now == before) {
                    thread::yield_now();
                }
            }
            end.send(()).unwrap();
        });
        let polls = runtime::block_on(async {
            let (end, ended) = oneshot::channel::<()>();
            let polls = Rc::new(Cell::new(0));
            let counted = Rc::clone(&polls);
            let mut end = Some(end);
            spawn(poll_fn(move |cx| {
                counted.set(counted.get() + 1);
                if let Some(end) = end.take() {
                    let waker = cx.waker().clone();
                    ready.send((this_thread(), waker, end)).unwrap();
                }
                Poll::<()>::Pending
            }));
            ended.await.unwrap();
            polls.get()
        });
        assert_eq!(polls, 1 + 20);
        waking.join().unwrap();
    });
}

#[test]
fn two_runtimes_that_wait_for_each_other_never_both_sleep() {
    const ROUNDS: u32 = 20_000;
    within(LIMIT, || {
        let (to_b, at_b) = async_channel::bounded::<u32>(1);
        let (to_a, at_a) = async_channel::bounded::<u32>(1);
        let other = thread::spawn(move || {
            runtime::block_on(async move {
                while let Ok(round) = at_b.recv().await {
                    to_a.send(round + 1).await.unwrap();
                }
            });
        });
        runtime::block_on(async move {
            // Each end waits in a task on one side and in the main future on the other.
            let echo = spawn(async move {
                for round in (0..ROUNDS).step_by(2) {
                    to_b.send(round).await.unwrap();
                    assert_eq!(at_a.recv().await.unwrap(), round + 1);
                }
            });
            echo.await.unwrap();
        });
        other.join().unwrap();
    });
}

#[test]
fn a_storm_of_wakes_from_eight_threads_shows_what_was_written_before_the_last() {
    const WAKES: usize = 20_000;
    run(async {
        let written = Arc::new(AtomicUsize::new(0));
        let polls = Rc::new(Cell::new(0));
        let mut threads = Vec::new();
        let sum = spawn({
            let (written, polls) = (Arc::clone(&written), Rc::clone(&polls));
            let mut spawned = Vec::new();
            poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                if spawned.is_empty() {
                    spawned.extend((0..THREADS).map(|_| {
                        let (written, waker) = (Arc::clone(&written), cx.waker().clone());
                        thread::spawn(move || {
                            for _ in 0..WAKES {
                                // Only the wake publishes it: were it dropped as a duplicate without
                                // an edge to the poll, the last one would never be seen.
                                written.fetch_add(1, Ordering::Relaxed);
                                waker.wake_by_ref();
                            }
                        })
                    }));
                }
                match written.load(Ordering::Relaxed) {
                    sum if sum == THREADS * WAKES => {
                        Poll::Ready((sum, std::mem::take(&mut spawned)))
                    }
                    _ => Poll::Pending,
                }
            })
        });
        let (sum, spawned) = sum.await.unwrap();
        threads.extend(spawned);
        assert_eq!(sum, THREADS * WAKES);
        assert!(polls.get() <= sum + 1, "{} polls", polls.get());
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn each_of_ten_thousand_tasks_is_woken_by_its_own_wake_and_no_other() {
    // More than one block of the wake set (4,096 tasks), woken in an order that jumps between them.
    const TASKS: usize = 10_000;
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let polls: Rc<Vec<Cell<u32>>> = Rc::new((0..TASKS).map(|_| Cell::new(0)).collect());
        let (send, receive) = mpsc::channel();
        let tasks = Vec::from_iter((0..TASKS).map(|index| {
            let (polls, send) = (Rc::clone(&polls), send.clone());
            runtime.spawn(poll_fn(move |cx| {
                polls[index].set(polls[index].get() + 1);
                if polls[index].get() == 1 {
                    send.send(cx.waker().clone()).unwrap();
                    return Poll::Pending;
                }
                Poll::Ready(())
            }))
        }));
        runtime.block_on(turn_of_all());
        let wakers = Vec::from_iter(receive.try_iter());
        assert_eq!(wakers.len(), TASKS);
        // Every second task: the others must not be touched.
        let wakers = Vec::from_iter(wakers.into_iter().step_by(2));
        thread::scope(|scope| {
            for first in 0..THREADS {
                let wakers = &wakers;
                scope.spawn(move || {
                    for round in 0..2 {
                        for index in (first..wakers.len()).step_by(THREADS - round) {
                            wakers[index].wake_by_ref();
                        }
                    }
                });
            }
        });
        runtime.block_on(async {
            let woken = tasks.into_iter().step_by(2);
            for result in join_all(woken).await {
                result.unwrap();
            }
        });
        for (index, polls) in polls.iter().enumerate() {
            assert_eq!(polls.get(), if index % 2 == 0 { 2 } else { 1 });
        }
    });
}

#[test]
fn a_wake_from_a_thread_between_two_block_ons_is_kept_for_the_second() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (send, receive) = oneshot::channel::<u32>();
        let task = runtime.spawn(receive);
        runtime.block_on(yield_now());
        thread::spawn(move || send.send(8).unwrap()).join().unwrap();
        assert_eq!(runtime.block_on(task).unwrap().unwrap(), 8);
    });
}

#[test]
fn a_waker_may_outlive_its_runtime_and_its_thread() {
    within(LIMIT, || {
        let wakers = thread::spawn(|| {
            runtime::block_on(async {
                let main = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                let task = spawn(poll_fn(|cx| Poll::Ready(cx.waker().clone())));
                [main, task.await.unwrap()]
            })
        })
        .join()
        .unwrap();
        let use_all = move || {
            for waker in &wakers {
                waker.wake_by_ref();
                assert!(waker.will_wake(&waker.clone()));
            }
            wakers.into_iter().for_each(Waker::wake);
        };
        thread::spawn(use_all).join().unwrap();
    });
}

#[test]
fn runtimes_come_and_go_under_wakes_of_those_that_were_before() {
    const ROUNDS: usize = 300;
    within(LIMIT, || {
        let is_over = Arc::new(AtomicBool::new(false));
        let threads = Vec::from_iter((0..4).map(|_| {
            let (send, receive) = mpsc::channel::<Waker>();
            let is_over = Arc::clone(&is_over);
            let thread = thread::spawn(move || {
                let mut known = Vec::new();
                while !is_over.load(Ordering::Acquire) {
                    known.extend(receive.try_iter());
                    known.iter().for_each(Waker::wake_by_ref);
                    let excess = known.len().saturating_sub(64);
                    known.drain(..excess);
                    thread::yield_now();
                }
            });
            (send, thread)
        }));
        for _ in 0..ROUNDS {
            let runtime = Runtime::new().unwrap();
            let polls = Rc::new(Cell::new(0_usize));
            let tasks = Vec::from_iter((0..8).map(|_| {
                let polls = Rc::clone(&polls);
                let senders = Vec::from_iter(threads.iter().map(|(send, _)| send.clone()));
                runtime.spawn(poll_fn(move |cx| {
                    polls.set(polls.get() + 1);
                    for send in &senders {
                        send.send(cx.waker().clone()).unwrap();
                    }
                    Poll::<()>::Pending
                }))
            }));
            // Wakes of this runtime and of earlier ones come from now on, also while it is dropped.
            runtime.block_on(async {
                while polls.get() < 16 {
                    yield_now().await;
                }
            });
            drop(runtime);
            let after = polls.get();
            assert!(tasks.iter().all(|task| task.is_finished()));
            assert_eq!(polls.get(), after);
        }
        is_over.store(true, Ordering::Release);
        for (_, thread) in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn channels_of_other_crates_carry_values_between_threads_and_tasks() {
    run(async {
        let (send, mut receive) = tokio::sync::mpsc::channel::<usize>(4);
        let producers = Vec::from_iter((0..THREADS).map(|thread| {
            let send = send.clone();
            thread::spawn(move || {
                for number in 0..500 {
                    send.blocking_send(thread * 500 + number).unwrap();
                }
            })
        }));
        drop(send);
        let consumer = spawn(async move {
            let mut sum = 0;
            while let Some(number) = receive.recv().await {
                sum += number;
            }
            sum
        });
        assert_eq!(consumer.await.unwrap(), (0..THREADS * 500).sum());
        for producer in producers {
            producer.join().unwrap();
        }
    });
}
