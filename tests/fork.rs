//! Forks: whatever a child does with its parent's runtime and sockets, the parent's live on.
//!
//! A child has the epoll set, the timer descriptor, the eventfd and the sockets themselves, no copies.

mod common;

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;

use common::panics::{Panic, caught, panic_of};
use common::parked::{this_thread, wait_until_parked};
use common::process::{alone, fork, in_a_child, leave};
use common::sockets::{poll_here, rounds};
use common::{listen, pair, pair_with_std};
use runtime::Runtime;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::{TcpListener, TcpStream};
use runtime::task::JoinHandle;
use runtime::time::{Duration, Instant, sleep};

/// A runtime whose tasks wait: on a listener, on connections of each kind, and for a timer.
struct Parent {
    runtime: Runtime,
    tasks: Vec<JoinHandle<()>>,
    clients: Vec<StdStream>,
    address: SocketAddr,
}

impl Parent {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let (tasks, clients, address) = runtime.block_on(async {
            let (listener, address) = listen().await;
            let (client, accepted) = pair_with_std().await;
            let (lender, lent) = pair_with_std().await;
            let _ = lent.as_fd();
            let (foreigner, foreign) = pair_with_std().await;
            let foreign = TcpStream::from_std(foreign.into_std().unwrap()).unwrap();
            let (splitter, halves) = pair_with_std().await;
            let (mut reading, mut writing) = halves.into_split();
            let tasks = vec![
                runtime::spawn(async move { echo(listener.accept().await.unwrap().0).await }),
                runtime::spawn(echo(accepted)),
                runtime::spawn(echo(lent)),
                runtime::spawn(echo(foreign)),
                runtime::spawn(async move {
                    let mut byte = [0];
                    reading.read_exact(&mut byte).await.unwrap();
                    writing.write_all(&byte).await.unwrap();
                }),
                runtime::spawn(async {
                    let deadline = Instant::now() + Duration::from_millis(50);
                    sleep(Duration::from_millis(50)).await;
                    assert!(deadline <= Instant::now());
                }),
            ];
            // All wait now, and the timer is armed.
            rounds(3).await;
            (tasks, vec![client, lender, foreigner, splitter], address)
        });
        Self {
            runtime,
            tasks,
            clients,
            address,
        }
    }

    /// Lets happen what the tasks wait for.
    fn ask(&mut self) {
        self.clients.push(StdStream::connect(self.address).unwrap());
        for client in &mut self.clients {
            client.write_all(b"!").unwrap();
        }
    }

    /// Sees each task do what it waited to do.
    fn answers(mut self) {
        self.runtime.block_on(async {
            for task in self.tasks {
                task.await.unwrap();
            }
        });
        for client in &mut self.clients {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            assert_eq!(byte, *b"!");
        }
    }

    fn lives_on(mut self) {
        self.ask();
        self.answers();
    }
}

/// Passes one byte back.
async fn echo(mut stream: TcpStream) {
    let mut byte = [0];
    stream.read_exact(&mut byte).await.unwrap();
    stream.write_all(&byte).await.unwrap();
}

/// Sees that `block_on` said what is wrong, and which call it was.
fn expect_refusal(panic: &Panic) {
    let sentence = "in a child of the process that made its runtime";
    assert!(panic.message.contains(sentence), "{}", panic.message);
    assert!(panic.message.contains(file!()), "{}", panic.message);
}

#[test]
fn a_child_that_leaves_at_once_takes_nothing_from_its_parent() {
    alone(|| {
        let parent = Parent::new();
        in_a_child(|| ()).join();
        parent.lives_on();
    });
}

#[test]
fn a_child_that_drops_all_it_has_takes_nothing_from_its_parent() {
    alone(|| {
        let parent = Parent::new();
        match fork() {
            Some(child) => child.join(),
            None => leave(|| drop(parent)),
        }
        parent.lives_on();
    });
}

#[test]
fn the_parents_runtime_does_not_run_in_a_child() {
    alone(|| {
        let mut parent = Parent::new();
        parent.ask();
        in_a_child(|| {
            for _ in 0..2 {
                let is_polled = Cell::new(false);
                let run = || parent.runtime.block_on(async { is_polled.set(true) });
                expect_refusal(&panic_of(run));
                assert!(!is_polled.get());
            }
        })
        .join();
        parent.answers();
    });
}

#[test]
fn a_block_on_that_a_fork_splits_ends_in_the_child_before_it_takes_an_event() {
    alone(|| {
        let mut parent = Parent::new();
        parent.ask();
        let result = caught(|| {
            parent.runtime.block_on(async {
                match fork() {
                    Some(child) => child.join(),
                    None => pending().await,
                }
            });
        });
        if let Err(panic) = result {
            leave(|| expect_refusal(&panic));
        }
        parent.answers();
    });
}

#[test]
fn a_wait_in_the_parents_runtime_is_an_error_in_a_child() {
    alone(|| {
        let parent = Parent::new();
        parent.runtime.block_on(async {
            let (_peer, mut stream) = pair().await;
            let Some(child) = fork() else {
                let mut byte = [0];
                let Poll::Ready(Err(error)) = poll_here(&mut stream.read(&mut byte)).await else {
                    leave(|| panic!("it waits for an event that its runtime must not take"));
                };
                leave(|| assert!(error.to_string().contains("forked from"), "{error}"));
            };
            child.join();
            assert!(poll_here(&mut stream.read(&mut [0])).await.is_pending());
        });
        parent.lives_on();
    });
}

#[test]
fn a_child_runs_a_runtime_of_its_own() {
    alone(|| {
        let parent = Parent::new();
        in_a_child(|| {
            let ours = Runtime::new().unwrap();
            ours.block_on(async {
                sleep(Duration::from_millis(1)).await;
                rounds(10).await;
            });
            // And so does its own child.
            in_a_child(|| {
                expect_refusal(&panic_of(|| ours.block_on(async {})));
                runtime::block_on(rounds(10));
            })
            .join();
            ours.block_on(rounds(10));
        })
        .join();
        parent.lives_on();
    });
}

#[test]
fn a_child_that_is_forked_in_a_block_on_runs_a_runtime_of_its_own() {
    alone(|| {
        let parent = Parent::new();
        parent.runtime.block_on(async {
            let (mut client, mut server) = pair_with_std().await;
            assert!(poll_here(&mut server.read(&mut [0])).await.is_pending());
            let child = in_a_child(|| {
                runtime::block_on(async {
                    rounds(10).await;
                    // Of the sockets it takes over those that it uses.
                    echo(server).await;
                });
            });
            client.write_all(b"!").unwrap();
            child.join();
            client.read_exact(&mut [0]).unwrap();
            rounds(10).await;
        });
        parent.lives_on();
    });
}

/// Accepts `count` connections and tells each who did.
async fn serve(listener: &TcpListener, count: usize, name: &[u8; 1]) {
    for _ in 0..count {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(name).await.unwrap();
    }
}

#[test]
fn parent_and_child_accept_on_one_listener() {
    alone(|| {
        let runtime = Runtime::new().unwrap();
        let (listener, address) = runtime.block_on(listen());
        let listener = Rc::new(listener);
        let serving = {
            let listener = Rc::clone(&listener);
            runtime.spawn(async move { serve(&listener, 10, b"p").await })
        };
        // The parent waits already.
        runtime.block_on(rounds(1));
        let Some(child) = fork() else {
            leave(|| {
                runtime::block_on(serve(&listener, 10, b"c"));
                drop((runtime, serving, listener));
            });
        };
        let clients = thread::spawn(move || {
            let served = |_| {
                let mut name = [0];
                let mut client = StdStream::connect(address).unwrap();
                client.read_exact(&mut name).unwrap();
                name[0]
            };
            Vec::from_iter((0..20).map(served))
        });
        runtime.block_on(serving).unwrap();
        child.join();
        let served = clients.join().unwrap();
        assert_eq!(served.iter().filter(|&&name| name == b'p').count(), 10);
        let _last = StdStream::connect(address).unwrap();
        runtime.block_on(listener.accept()).unwrap();
    });
}

#[test]
fn wakes_in_a_child_do_not_ring_in_the_parent() {
    alone(|| {
        let (send, receive) = mpsc::channel();
        let waits = thread::spawn(move || {
            let mut polls = 0;
            runtime::block_on(poll_fn(|cx| {
                polls += 1;
                match polls {
                    1 => {
                        send.send((this_thread(), cx.waker().clone())).unwrap();
                        Poll::Pending
                    }
                    _ => Poll::Ready(()),
                }
            }));
        });
        let (thread, waker) = receive.recv().unwrap();
        let before = wait_until_parked(&thread);
        in_a_child(|| waker.wake_by_ref()).join();
        assert_eq!(wait_until_parked(&thread), before);
        waker.wake();
        waits.join().unwrap();
    });
}
