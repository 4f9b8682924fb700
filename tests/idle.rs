//! An idle runtime sleeps: nothing but an event or the earliest deadline ends its wait.
//!
//! The proof is not timed: procfs shows the thread inside of `epoll_wait` without a time limit, and how
//! far away the expiry of the one timer descriptor is.

mod common;

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use common::parked::{park, this_thread, wait_until_parked};
use common::{LIMIT, pair, run, within};
use futures::poll;
use runtime::io::AsyncReadExt;
use runtime::net::TcpListener;
use runtime::time::{Instant, interval_at, sleep, sleep_until, timeout};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Spawns a task and counts its polls in `polls`.
fn spawn_counted(polls: &Rc<Cell<usize>>, future: impl Future + 'static) {
    let polls = Rc::clone(polls);
    runtime::spawn(async move {
        let mut future = pin!(future);
        poll_fn(|cx| {
            polls.set(polls.get() + 1);
            future.as_mut().poll(cx)
        })
        .await;
    });
}

/// Runs a runtime with what `set_up` spawns until it sleeps; returns how far away its alarm is and how
/// many polls it took, with `extra` wakes from another thread on the way.
fn alarm_of<F: Future>(
    extra: usize,
    set_up: impl FnOnce(Rc<Cell<usize>>) -> F + Send,
) -> (Option<Duration>, usize) {
    within(LIMIT, || {
        thread::scope(|scope| {
            let (ready, is_ready) = mpsc::channel();
            let (wake, wakes) = async_channel::unbounded::<()>();
            let runtime = scope.spawn(move || {
                runtime::block_on(async move {
                    let polls = Rc::default();
                    let kept = set_up(Rc::clone(&polls)).await;
                    ready.send(this_thread()).unwrap();
                    while wakes.recv().await.is_ok() {}
                    drop(kept);
                    polls.get()
                })
            });
            let thread = is_ready.recv().unwrap();
            for _ in 0..extra {
                wait_until_parked(&thread);
                wake.send_blocking(()).unwrap();
            }
            // Waking a thread takes it out of its sleep before the call returns: this is a new sleep.
            let parked = wait_until_parked(&thread);
            for _ in 0..1000 {
                let now = park(&thread).expect("a runtime that nobody wakes stays asleep");
                assert_eq!(now.sleeps, parked.sleeps, "it sleeps the same sleep");
            }
            drop(wake);
            (parked.alarm, runtime.join().unwrap())
        })
    })
}

#[test]
fn a_runtime_with_a_thousand_long_timers_and_a_hundred_silent_sockets_sleeps() {
    let (alarm, polls) = alarm_of(10, async |polls| {
        let mut quiet = Vec::new();
        for hours in 1..=1000 {
            spawn_counted(&polls, sleep(Duration::from_secs(3600 * hours)));
        }
        for _ in 0..50 {
            let (client, server) = pair().await;
            for mut stream in [client, server] {
                // Held open from here, or its end would be an event.
                quiet.push(stream.local_addr().unwrap());
                spawn_counted(&polls, async move { stream.read(&mut [0; 16]).await });
            }
        }
        for _ in 0..2000 {
            runtime::task::yield_now().await;
        }
        quiet
    });
    assert_eq!(polls, 1100, "each task is polled once");
    let alarm = alarm.expect("the earliest deadline is armed");
    assert!(alarm > Duration::from_secs(3500), "{alarm:?}");
    assert!(alarm <= Duration::from_secs(3600), "{alarm:?}");
}

#[test]
fn a_runtime_without_timers_sets_no_alarm() {
    let (alarm, polls) = alarm_of(3, async |polls| {
        spawn_counted(&polls, pending::<()>());
        spawn_counted(&polls, sleep(Duration::MAX));
        spawn_counted(&polls, timeout(Duration::MAX, pending::<()>()));
        for _ in 0..100 {
            runtime::task::yield_now().await;
        }
    });
    assert_eq!(alarm, None);
    assert_eq!(polls, 3);
}

#[test]
fn sleeps_of_thirty_and_sixty_days_do_not_spin() {
    for days in [25, 30, 60] {
        let (alarm, polls) = alarm_of(3, async |polls| {
            spawn_counted(&polls, sleep(DAY * days));
            runtime::task::yield_now().await;
        });
        assert_eq!(polls, 1);
        let alarm = alarm.expect("the deadline is armed");
        assert!(alarm > DAY * days - Duration::from_secs(60), "{alarm:?}");
        assert!(alarm <= DAY * days, "{alarm:?}");
    }
}

#[test]
fn the_alarm_is_that_of_the_earliest_deadline_to_the_nanosecond() {
    let start_of_clock = Instant::now() - Duration::MAX;
    let seconds = start_of_clock.elapsed().as_secs();
    let deadline = start_of_clock + Duration::new(seconds, 999_999_999) + DAY;
    let before = Instant::now();
    let (alarm, polls) = alarm_of(1, async |polls| {
        spawn_counted(&polls, sleep_until(deadline + DAY * 2));
        let mut ticks = interval_at(deadline, DAY);
        spawn_counted(&polls, async move { ticks.tick().await });
        spawn_counted(&polls, sleep_until(deadline + DAY));
        runtime::task::yield_now().await;
    });
    assert_eq!(polls, 3);
    let alarm = alarm.expect("the deadline is armed");
    assert!(alarm <= deadline - before, "{alarm:?}");
    assert!(alarm >= deadline - Instant::now(), "{alarm:?}");
}

/// Returns once this runtime has gone to sleep and another thread has woken it.
async fn nap() {
    let (wake, woken) = async_channel::bounded::<()>(1);
    let sleeper = this_thread();
    let waker = thread::spawn(move || {
        wait_until_parked(&sleeper);
        wake.send_blocking(()).unwrap();
    });
    woken.recv().await.unwrap();
    waker.join().unwrap();
}

#[test]
fn a_deadline_before_the_armed_one_moves_the_alarm() {
    run(async {
        let mut far = sleep(DAY);
        assert!(poll!(&mut far).is_pending());
        nap().await;
        sleep(Duration::from_millis(1)).await;
        nap().await;
        far.reset(Instant::now() + Duration::from_millis(1));
        far.await;
    });
}

#[test]
fn an_alarm_whose_timer_is_gone_ends_one_sleep_and_no_more() {
    let (alarm, polls) = alarm_of(1, async |polls| {
        spawn_counted(&polls, sleep(DAY));
        let mut near = sleep(Duration::from_secs(3600));
        assert!(poll!(&mut near).is_pending());
        nap().await;
        near.reset(Instant::now() + Duration::from_millis(2));
        nap().await;
        drop(near);
        // The loop sees the alarm, finds nothing due, and arms it for the next deadline.
        sleep(Duration::from_millis(3)).await;
    });
    assert_eq!(polls, 1);
    let alarm = alarm.expect("the deadline is armed");
    assert!(alarm > DAY / 2, "{alarm:?}");
}

#[test]
fn connections_that_nobody_accepts_let_a_runtime_sleep_and_wait_for_who_does() {
    within(LIMIT, || {
        thread::scope(|scope| {
            let (ready, is_ready) = mpsc::channel();
            let (wake, wakes) = async_channel::unbounded::<()>();
            let runtime = scope.spawn(move || {
                runtime::block_on(async move {
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    ready
                        .send((this_thread(), listener.local_addr().unwrap()))
                        .unwrap();
                    for _ in 0..3 {
                        // Epoll watches the listener from here on, and after a pause as before.
                        for _ in 0..2 {
                            listener.accept().await.unwrap();
                        }
                        wakes.recv().await.unwrap();
                        for _ in 0..3 {
                            listener.accept().await.unwrap();
                        }
                    }
                })
            });
            let (thread, address) = is_ready.recv().unwrap();
            let mut clients = Vec::new();
            for _ in 0..3 {
                for _ in 0..5 {
                    wait_until_parked(&thread);
                    clients.push(std::net::TcpStream::connect(address).unwrap());
                }
                let parked = wait_until_parked(&thread);
                for _ in 0..1000 {
                    let now = park(&thread).expect("a runtime that accepts nothing stays asleep");
                    assert_eq!(now.sleeps, parked.sleeps, "it sleeps the same sleep");
                }
                wake.send_blocking(()).unwrap();
            }
            runtime.join().unwrap();
        });
    });
}

/// Begins to wait for a connection that does not come, by a ticket and without, and gives up.
async fn wait_for_nothing(listener: &TcpListener) {
    assert!(poll!(pin!(listener.accept())).is_pending());
    poll_fn(|cx| {
        assert!(listener.poll_accept(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[test]
fn connections_that_nobody_accepts_let_two_runtimes_sleep_that_share_the_listener() {
    within(LIMIT, || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = &TcpListener::from_std(listener).unwrap();
        thread::scope(|scope| {
            let mut runtimes = Vec::new();
            for _ in 0..2 {
                let (ready, is_ready) = mpsc::channel();
                let (wake, wakes) = async_channel::unbounded::<()>();
                scope.spawn(move || {
                    runtime::block_on(async move {
                        for _ in 0..3 {
                            wait_for_nothing(listener).await;
                            ready.send(this_thread()).unwrap();
                            wakes.recv().await.unwrap();
                        }
                    });
                });
                runtimes.push((is_ready, wake));
            }
            for _ in 0..3 {
                let threads = runtimes
                    .iter()
                    .map(|(is_ready, _)| is_ready.recv().unwrap());
                let threads = Vec::from_iter(threads);
                let parked = || Vec::from_iter(threads.iter().map(|at| wait_until_parked(at)));
                let mut clients = Vec::new();
                for _ in 0..5 {
                    parked();
                    clients.push(std::net::TcpStream::connect(address).unwrap());
                }
                let before = parked();
                for _ in 0..1000 {
                    let now = threads.iter().map(|at| park(at).expect("it stays asleep"));
                    assert_eq!(Vec::from_iter(now), before, "they sleep the same sleep");
                }
                // A third takes them, so that both find nothing again.
                for _ in clients {
                    runtime::block_on(async { drop(listener.accept().await.unwrap()) });
                }
                parked();
                for (_, wake) in &runtimes {
                    wake.send_blocking(()).unwrap();
                }
            }
        });
    });
}
