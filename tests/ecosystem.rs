//! Channels, locks and combinators of other crates work here as they are: all they need is a waker.

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use common::{Trace, run};
use futures::channel::{mpsc, oneshot};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, SinkExt, StreamExt, join, pin_mut, select};
use runtime::task::{JoinHandle, yield_now};
use runtime::time::{Duration, Instant, sleep, timeout};

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

/// Runs the same exchange with its sender in a task beside, then with its sender on another thread.
fn from_a_task_and_from_a_thread<F, T>(exchange: impl Fn() -> (F, T))
where
    F: FnOnce() + Send + 'static,
    T: Future,
{
    run(async {
        let (send, receive) = exchange();
        let sender = runtime::spawn(async move { send() });
        receive.await;
        sender.await.unwrap();
        let (send, receive) = exchange();
        let sender = thread::spawn(send);
        receive.await;
        sender.join().unwrap();
    });
}

#[test]
fn select_of_futures_takes_the_first_and_drops_or_keeps_the_others() {
    run(async {
        let slow = sleep(LONG).fuse();
        pin_mut!(slow);
        let mut won = 0;
        for _ in 0..5 {
            let task = runtime::spawn(async {
                yield_now().await;
                7
            });
            let fast = task.fuse();
            pin_mut!(fast);
            select! {
                number = fast => won += number.unwrap(),
                () = slow => panic!("an hour cannot have passed"),
            }
        }
        assert_eq!(won, 35);
        let mut ready = std::future::ready(()).fuse();
        let mut never = std::future::pending::<()>().fuse();
        select! {
            () = ready => {}
            () = never => unreachable!(),
        }
        let mut pending = std::future::pending::<()>().fuse();
        let mut limit = sleep(SHORT).fuse();
        select! {
            () = pending => unreachable!(),
            () = limit => {}
        }
    });
}

#[test]
fn join_of_futures_waits_for_all_of_them_at_once() {
    run(async {
        let trace = Trace::default();
        let step = async |name: &str, yields: usize| {
            for _ in 0..yields {
                yield_now().await;
            }
            trace.push(name);
            yields
        };
        let task = runtime::spawn(async { 9 });
        let all = join!(step("slow", 3), step("fast", 1), task, sleep(SHORT));
        assert_eq!((all.0, all.1, all.2.unwrap()), (3, 1, 9));
        assert_eq!(trace.take(), ["fast", "slow"]);
    });
}

#[test]
fn futures_unordered_returns_tasks_and_timers_as_they_end() {
    run(async {
        let start = Instant::now() + SHORT;
        let mut timers: FuturesUnordered<_> = [3, 1, 2]
            .map(|number| {
                async move {
                    runtime::time::sleep_until(start + SHORT * number).await;
                    number
                }
                .boxed_local()
            })
            .into_iter()
            .collect();
        let mut sum = 0;
        while let Some(number) = timers.next().await {
            assert!(Instant::now() >= start + SHORT * number);
            sum += number;
        }
        assert_eq!(sum, 6);
        let mut tasks: FuturesUnordered<JoinHandle<u32>> = (0..1000)
            .map(|number| {
                runtime::spawn(async move {
                    yield_now().await;
                    number
                })
            })
            .collect();
        let mut sum = 0;
        while let Some(number) = tasks.next().await {
            sum += number.unwrap();
        }
        assert_eq!(sum, 499_500);
    });
}

#[test]
fn futures_mpsc_carries_messages_between_tasks_and_from_threads() {
    from_a_task_and_from_a_thread(|| {
        let (sender, receiver) = mpsc::unbounded::<u32>();
        let send = move || (0..1000).for_each(|number| sender.unbounded_send(number).unwrap());
        let receive = async {
            assert!(receiver.collect::<Vec<_>>().await.into_iter().eq(0..1000));
        };
        (send, receive)
    });
    run(async {
        // Bounded: the sender has to wait for the receiver.
        let (mut sender, mut receiver) = mpsc::channel::<Rc<u32>>(1);
        let sending = runtime::spawn(async move {
            for number in 0..100 {
                sender.send(Rc::new(number)).await.unwrap();
            }
        });
        for number in 0..100 {
            assert_eq!(receiver.next().await, Some(Rc::new(number)));
        }
        assert_eq!(receiver.next().await, None);
        sending.await.unwrap();
    });
}

#[test]
fn futures_oneshot_carries_a_value_and_tells_of_a_lost_sender() {
    from_a_task_and_from_a_thread(|| {
        let (sender, receiver) = oneshot::channel();
        let send = move || sender.send(42).unwrap();
        (send, async { assert_eq!(receiver.await, Ok(42)) })
    });
    from_a_task_and_from_a_thread(|| {
        let (sender, receiver) = oneshot::channel::<()>();
        let send = move || drop(sender);
        (send, async { assert!(receiver.await.is_err()) })
    });
}

#[test]
fn async_channel_carries_messages_between_tasks_and_both_ways_between_threads() {
    from_a_task_and_from_a_thread(|| {
        let (sender, receiver) = async_channel::unbounded::<u32>();
        let send = move || (0..1000).for_each(|number| sender.try_send(number).unwrap());
        let receive = async move {
            for number in 0..1000 {
                assert_eq!(receiver.recv().await, Ok(number));
            }
            assert!(receiver.recv().await.is_err());
        };
        (send, receive)
    });
    run(async {
        let (to_thread, inbox) = async_channel::bounded::<u32>(1);
        let (outbox, from_thread) = async_channel::bounded::<u32>(1);
        let echo = thread::spawn(move || {
            while let Ok(number) = inbox.recv_blocking() {
                outbox.send_blocking(number).unwrap();
            }
        });
        for number in 0..1000 {
            to_thread.send(number).await.unwrap();
            assert_eq!(from_thread.recv().await, Ok(number));
        }
        drop(to_thread);
        echo.join().unwrap();
    });
}

#[test]
fn tokio_mpsc_carries_messages_between_tasks_and_from_threads() {
    from_a_task_and_from_a_thread(|| {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<u32>();
        let send = move || (0..1000).for_each(|number| sender.send(number).unwrap());
        let receive = async move {
            for number in 0..1000 {
                assert_eq!(receiver.recv().await, Some(number));
            }
            assert_eq!(receiver.recv().await, None);
        };
        (send, receive)
    });
    run(async {
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<Rc<u32>>(1);
        let sending = runtime::spawn(async move {
            for number in 0..1000 {
                sender.send(Rc::new(number)).await.unwrap();
            }
        });
        for number in 0..1000 {
            assert_eq!(receiver.recv().await, Some(Rc::new(number)));
        }
        assert_eq!(receiver.recv().await, None);
        sending.await.unwrap();
    });
}

#[test]
fn tokio_oneshot_carries_a_value_and_tells_of_a_lost_sender() {
    from_a_task_and_from_a_thread(|| {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let send = move || sender.send(42).unwrap();
        (send, async { assert_eq!(receiver.await, Ok(42)) })
    });
    from_a_task_and_from_a_thread(|| {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let send = move || drop(sender);
        (send, async { assert!(receiver.await.is_err()) })
    });
}

#[test]
fn tokio_watch_shows_the_latest_value_to_every_task() {
    from_a_task_and_from_a_thread(|| {
        let (sender, receiver) = tokio::sync::watch::channel(0);
        let send = move || (1..=1000).for_each(|number| sender.send(number).unwrap());
        let receive = async move {
            let watchers = (0..10).map(|_| {
                let mut receiver = receiver.clone();
                runtime::spawn(async move {
                    let mut before = 0;
                    while receiver.changed().await.is_ok() {
                        let now = *receiver.borrow_and_update();
                        assert!(now > before);
                        before = now;
                    }
                    before
                })
            });
            for watcher in watchers.collect::<Vec<_>>() {
                assert_eq!(watcher.await.unwrap(), 1000);
            }
        };
        (send, receive)
    });
}

#[test]
fn tokio_notify_wakes_one_or_all_of_those_that_wait() {
    from_a_task_and_from_a_thread(|| {
        let notify = Arc::new(tokio::sync::Notify::new());
        let notified = Arc::clone(&notify);
        (move || notify.notify_one(), async move {
            notified.notified().await;
        })
    });
    run(async {
        let notify = Rc::new(tokio::sync::Notify::new());
        let woken = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let (notify, woken) = (Rc::clone(&notify), Rc::clone(&woken));
                runtime::spawn(async move {
                    notify.notified().await;
                    woken.set(woken.get() + 1);
                })
            })
            .collect();
        yield_now().await;
        notify.notify_one();
        yield_now().await;
        assert_eq!(woken.get(), 1);
        notify.notify_waiters();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(woken.get(), 10);
    });
}

#[test]
fn tokio_semaphore_lets_only_so_many_tasks_in() {
    from_a_task_and_from_a_thread(|| {
        let semaphore = Arc::new(tokio::sync::Semaphore::new(0));
        let waiting = Arc::clone(&semaphore);
        (move || semaphore.add_permits(3), async move {
            waiting.acquire_many(3).await.unwrap().forget();
            assert_eq!(waiting.available_permits(), 0);
        })
    });
    run(async {
        let semaphore = Rc::new(tokio::sync::Semaphore::new(3));
        let (inside, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let semaphore = Rc::clone(&semaphore);
                let (inside, most) = (Rc::clone(&inside), Rc::clone(&most));
                runtime::spawn(async move {
                    let _permit = semaphore.acquire().await.unwrap();
                    inside.set(inside.get() + 1);
                    most.set(most.get().max(inside.get()));
                    yield_now().await;
                    inside.set(inside.get() - 1);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!((inside.get(), most.get()), (0, 3));
    });
}

#[test]
fn tokio_locks_exclude_each_other_across_awaits() {
    run(async {
        let sum = Rc::new(tokio::sync::Mutex::new(0));
        let table = Rc::new(tokio::sync::RwLock::new(Vec::new()));
        let tasks: Vec<_> = (0..100)
            .map(|number| {
                let (sum, table) = (Rc::clone(&sum), Rc::clone(&table));
                runtime::spawn(async move {
                    let mut sum = sum.lock().await;
                    let before = *sum;
                    yield_now().await;
                    *sum = before + 1;
                    drop(sum);
                    table.write().await.push(number);
                    yield_now().await;
                    assert!(table.read().await.contains(&number));
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*sum.lock().await, 100);
        assert_eq!(table.read().await.len(), 100);
    });
}

#[test]
fn a_timeout_limits_the_wait_for_any_of_them() {
    run(async {
        let (_sender, receiver) = async_channel::bounded::<()>(1);
        assert!(timeout(SHORT, receiver.recv()).await.is_err());
        let semaphore = tokio::sync::Semaphore::new(0);
        assert!(timeout(SHORT, semaphore.acquire()).await.is_err());
        let (_sender, receiver) = oneshot::channel::<()>();
        assert!(timeout(SHORT, receiver).await.is_err());
    });
}
