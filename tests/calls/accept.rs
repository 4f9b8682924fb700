//! Accepting: a burst is taken whatever else keeps the loop busy, and an idle loop makes no call too many.

use std::cell::Cell;
use std::future::Future;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread;

use runtime::Builder;
use runtime::net::TcpListener;
use runtime::task::yield_now;

use crate::common::parked::{this_thread, wait_until_parked};
use crate::common::{LIMIT, listen, within};
use crate::counted::calls;

const CLIENTS: usize = 500;
/// How many connections one poll may accept.
const BUDGET: u32 = 128;
/// After how many polls the loop looks for events.
const INTERVAL: u32 = 61;
/// How many polls the burst takes: one that waits for it, and as many as the budget asks for.
const POLLS: usize = 1 + CLIENTS.div_ceil(BUDGET as usize);

/// A task that is always due, and counts its polls.
struct Busy(Rc<Cell<usize>>);

impl Future for Busy {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.set(self.0.get() + 1);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The most polls of a busy task.
fn most(polls: &[Rc<Cell<usize>>]) -> usize {
    polls.iter().map(|polls| polls.get()).max().unwrap_or(0)
}

/// Connects; the backlog holds them all.
fn connect(address: SocketAddr) -> Vec<StdStream> {
    Vec::from_iter((0..CLIENTS).map(|_| StdStream::connect(address).unwrap()))
}

async fn accept_all(listener: &TcpListener, count: usize) {
    for _ in 0..count {
        listener.accept().await.unwrap();
    }
}

/// How often the busiest of so many busy tasks was polled while `accept` took a burst.
fn rounds_beside<F: Future<Output = ()>>(
    tasks: usize,
    accept: impl FnOnce(TcpListener) -> F,
) -> usize {
    run_busy(async {
        let (listener, address) = listen().await;
        let polls = Vec::from_iter((0..tasks).map(|_| Rc::new(Cell::new(0))));
        for polls in &polls {
            runtime::spawn(Busy(Rc::clone(polls)));
        }
        // Epoll watches the listener from here on.
        let (first, _) = futures::join!(listener.accept(), async {
            yield_now().await;
            StdStream::connect(address).unwrap()
        });
        drop(first.unwrap());
        let _clients = connect(address);
        let before = most(&polls);
        accept(listener).await;
        most(&polls) - before
    })
}

/// Runs `future` on a runtime whose limits are those that the tests reckon with.
fn run_busy<F: Future>(future: F) -> F::Output {
    let mut builder = Builder::new();
    builder.budget(BUDGET).event_interval(INTERVAL);
    within(LIMIT, || builder.build().unwrap().block_on(future))
}

/// Tries that between two polls of who accepts no more passes than one round of the busy tasks, or one look for
/// events, twice over.
fn is_taken_at_once(rounds_beside: impl Fn(usize) -> usize) {
    let rounds = [8, 256].map(|tasks| {
        let allowed = 2 * POLLS * (INTERVAL as usize).div_ceil(tasks);
        (tasks, rounds_beside(tasks), allowed)
    });
    assert!(
        rounds.iter().all(|(_, rounds, allowed)| rounds <= allowed),
        "{CLIENTS} connections took (busy tasks, rounds of theirs, allowed): {rounds:?}"
    );
}

#[test]
fn a_task_beside_busy_ones_takes_a_burst_in_few_of_their_rounds() {
    is_taken_at_once(|tasks| {
        rounds_beside(tasks, async |listener| {
            let task = runtime::spawn(async move { accept_all(&listener, CLIENTS).await });
            task.await.unwrap();
        })
    });
}

#[test]
fn the_main_future_beside_busy_tasks_takes_a_burst_in_few_of_their_rounds() {
    is_taken_at_once(|tasks| {
        rounds_beside(tasks, async |listener| accept_all(&listener, CLIENTS).await)
    });
}

#[test]
fn several_tasks_beside_busy_ones_take_a_burst_in_few_of_their_rounds() {
    is_taken_at_once(|tasks| {
        rounds_beside(tasks, async |listener| {
            let listener = Rc::new(listener);
            let tasks = Vec::from_iter((0..4).map(|_| {
                let listener = Rc::clone(&listener);
                runtime::spawn(async move { accept_all(&listener, CLIENTS / 4).await })
            }));
            for task in tasks {
                task.await.unwrap();
            }
        })
    });
}

#[test]
fn a_stream_of_connections_beside_busy_tasks_yields_a_burst_in_few_of_their_rounds() {
    use futures::StreamExt;
    is_taken_at_once(|tasks| {
        rounds_beside(tasks, async |listener| {
            let mut incoming = listener.incoming().take(CLIENTS);
            while let Some(connection) = incoming.next().await {
                connection.unwrap();
            }
        })
    });
}

/// Here the burst has come before epoll watches the listener.
#[test]
fn a_burst_that_came_before_the_first_accept_is_taken_in_few_rounds_of_busy_tasks() {
    is_taken_at_once(|tasks| {
        run_busy(async {
            let (listener, address) = listen().await;
            let _clients = connect(address);
            let polls = Vec::from_iter((0..tasks).map(|_| Rc::new(Cell::new(0))));
            for polls in &polls {
                runtime::spawn(Busy(Rc::clone(polls)));
            }
            accept_all(&listener, CLIENTS).await;
            most(&polls)
        })
    });
}

/// How many calls of `accept4` an idle runtime makes for connections that come one at a time.
fn calls_for_lone_connections(connections: usize) -> u64 {
    within(LIMIT, || {
        thread::scope(|scope| {
            let (tell, told) = mpsc::channel();
            let (done, is_done) = mpsc::channel();
            let server = scope.spawn(move || {
                runtime::block_on(async move {
                    let (listener, address) = listen().await;
                    tell.send((this_thread(), address)).unwrap();
                    // Registers.
                    listener.accept().await.unwrap();
                    let before = calls();
                    done.send(()).unwrap();
                    for _ in 0..connections {
                        listener.accept().await.unwrap();
                        done.send(()).unwrap();
                    }
                    (calls() - before).accept.calls
                })
            });
            let (thread, address) = told.recv().unwrap();
            for _ in 0..=connections {
                wait_until_parked(&thread);
                drop(StdStream::connect(address).unwrap());
                is_done.recv().unwrap();
            }
            server.join().unwrap()
        })
    })
}

#[test]
fn an_idle_loop_takes_a_lone_connection_with_one_call() {
    let calls = calls_for_lone_connections(200);
    assert!(calls <= 220, "{calls} calls for 200 connections");
}
