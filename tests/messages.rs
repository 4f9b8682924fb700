//! What another thread does to a socket or timer that once waited in a runtime ends the sleep of the loop,
//! and polls nobody.

mod common;

use std::future::{pending, poll_fn};
use std::net::TcpListener as StdListener;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use common::parked::{this_thread, wait_until_parked};
use common::sockets::{counted, poll_with, sources, timers};
use common::{LIMIT, anywhere, pair_with_std, within};
use futures::channel::oneshot;
use runtime::Runtime;
use runtime::io::AsyncRead;
use runtime::net::{TcpListener, TcpStream};
use runtime::time::{Instant, Timer, sleep};

const HOUR: Duration = Duration::from_secs(3600);

/// Lets `set_up` begin waits in a runtime, none of them with the waker of a task, and `leave` end them, one at a
/// time, from another thread while the runtime sleeps. Returns how often its main future and its tasks were
/// polled meanwhile, and how many sleeps were ended.
fn polls_for<T: Send, F: Future<Output = Vec<T>>>(
    set_up: impl FnOnce() -> F + Send,
    mut leave: impl FnMut(T),
) -> (usize, u64) {
    within(LIMIT, || {
        let polls = Arc::new(AtomicUsize::new(0));
        let (ready, is_ready) = mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        thread::scope(|scope| {
            let sleeper = scope.spawn({
                let polls = Arc::clone(&polls);
                move || {
                    let runtime = Runtime::new().unwrap();
                    let waits = runtime.block_on(set_up());
                    for _ in 0..10 {
                        runtime.spawn(counted(Arc::clone(&polls), pending::<()>()));
                    }
                    ready.send((this_thread(), waits)).unwrap();
                    runtime.block_on(counted(polls, ended)).unwrap();
                    assert_eq!((sources(&runtime), timers(&runtime)), (0, 0));
                }
            });
            let (thread, waits) = is_ready.recv().unwrap();
            let first = wait_until_parked(&thread).sleeps;
            let before = polls.load(Ordering::SeqCst);
            for wait in waits {
                let sleeps = wait_until_parked(&thread).sleeps;
                leave(wait);
                wait_until_woken(&thread, sleeps);
            }
            let last = wait_until_parked(&thread).sleeps;
            let polled = polls.load(Ordering::SeqCst) - before;
            end.send(()).unwrap();
            sleeper.join().unwrap();
            (polled, last - first)
        })
    })
}

fn wait_until_woken(thread: &Path, sleeps: u64) {
    while wait_until_parked(thread).sleeps == sleeps {
        thread::yield_now();
    }
}

/// A waker that is no task's: who is woken for the wait itself is not counted.
fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[test]
fn a_thousand_sockets_and_timers_dropped_elsewhere_poll_neither_the_main_future_nor_tasks() {
    enum Wait {
        Stream(TcpStream, std::net::TcpStream),
        Listener(TcpListener),
        Timer(Timer),
    }
    let set_up = async || {
        let mut waits = Vec::new();
        for _ in 0..50 {
            let (peer, mut stream) = pair_with_std().await;
            let read = Pin::new(&mut stream).poll_read(&mut nobody(), &mut [0]);
            assert!(read.is_pending());
            waits.push(Wait::Stream(stream, peer));
            let listener = StdListener::bind(anywhere()).unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            assert!(listener.poll_accept(&mut nobody()).is_pending());
            waits.push(Wait::Listener(listener));
            for hours in 1..=18 {
                let mut timer = sleep(HOUR * hours);
                assert!(poll_with(&mut timer, Waker::noop()).is_pending());
                waits.push(Wait::Timer(timer));
            }
        }
        waits
    };
    let (polls, woken) = polls_for(set_up, |wait| match wait {
        // The peer goes last, or its end would be an event.
        Wait::Stream(stream, peer) => drop((stream, peer)),
        Wait::Listener(listener) => drop(listener),
        Wait::Timer(timer) => drop(timer),
    });
    assert!(woken >= 1000, "{woken} messages ended a sleep");
    assert_eq!(polls, 0, "for 1,000 messages");
}

#[test]
fn timers_that_are_set_elsewhere_poll_neither_the_main_future_nor_tasks() {
    let set_up = async || {
        let timers = (0..100).map(|_| {
            let mut timer = sleep(HOUR);
            assert!(poll_with(&mut timer, Waker::noop()).is_pending());
            timer
        });
        Vec::from_iter(timers)
    };
    let (polls, _) = polls_for(set_up, |mut timer: Timer| {
        timer.reset(Instant::now() + 2 * HOUR);
        drop(timer);
    });
    assert_eq!(polls, 0, "for 100 messages");
}

#[test]
fn waits_that_are_given_up_elsewhere_poll_neither_the_main_future_nor_tasks() {
    let set_up = async || {
        let mut waits = Vec::new();
        for _ in 0..100 {
            let (peer, stream) = pair_with_std().await;
            let stream = Arc::new(stream);
            let mut wait = Box::pin({
                let stream = Arc::clone(&stream);
                async move { stream.readable().await }
            });
            assert!(poll_with(&mut wait, Waker::noop()).is_pending());
            waits.push((wait, stream, peer));
        }
        waits
    };
    let (polls, _) = polls_for(set_up, |(wait, stream, peer)| {
        drop(wait);
        drop(stream);
        drop(peer);
    });
    assert_eq!(polls, 0, "for 200 messages");
}

#[test]
fn a_socket_that_another_runtime_takes_up_polls_neither_the_main_future_nor_tasks() {
    let set_up = async || {
        let mut waits = Vec::new();
        for _ in 0..100 {
            let (peer, mut stream) = pair_with_std().await;
            let read = Pin::new(&mut stream).poll_read(&mut nobody(), &mut [0]);
            assert!(read.is_pending());
            waits.push((stream, peer));
        }
        waits
    };
    let runtime = Runtime::new().unwrap();
    let (polls, _) = polls_for(set_up, |(mut stream, peer)| {
        runtime.block_on(poll_fn(|cx| {
            let read = Pin::new(&mut stream).poll_read(cx, &mut [0]);
            assert!(read.is_pending());
            std::task::Poll::Ready(())
        }));
        drop((stream, peer));
    });
    assert_eq!(polls, 0, "for 100 sockets");
    runtime.block_on(async {});
    assert_eq!(sources(&runtime), 0);
}
