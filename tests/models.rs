//! What several threads do to runtimes, in every order: loom drives the real code through each interleaving
//! up to a number of preemptions, and must find each error that is planted for a model (`src/sync/mutants.rs`).
//!
//! `RUSTFLAGS="--cfg runtime_loom" cargo test --release --test models`. `LOOM_MAX_PREEMPTIONS` sets the number,
//! 2 unless set. A wake that is lost shows as a deadlock: the kernel's wait is loom's (`src/sys/modelled.rs`).

#![cfg(runtime_loom)]

use std::cell::{Cell, RefCell};
use std::env;
use std::future::poll_fn;
use std::pin::Pin;
use std::process::Command;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread::current;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread::{self, JoinHandle};
use runtime::io::AsyncRead;
use runtime::net::{TcpListener, TcpStream};
use runtime::task::{self, yield_now};
use runtime::{Runtime, during_event, mutants};

/// What a model finds: that somebody waits for ever, or an entry that nobody will free.
const WRONGS: [&str; 2] = ["deadlock", "entries are left"];

/// Tells a child process which error to plant.
const PLANTED: &str = "PLANTED";

/// Tries every interleaving of a test's model; then each error is planted, and has to be found.
fn hold(model: fn(), errors: &[&'static str]) {
    let name = current().name().expect("a test has a name").to_owned();
    if let Ok(planted) = env::var(PLANTED) {
        let error = errors.iter().find(|&&error| error == planted);
        mutants::with(error.expect("it is one of this model's"), || explore(model));
        return;
    }
    let tried = explore(model);
    println!("{name}: {tried} interleavings");
    for error in errors {
        // In a process of its own, which a failed model may abort.
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(PLANTED, error)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&child.stderr);
        assert!(
            !child.status.success() && WRONGS.iter().any(|wrong| text.contains(wrong)),
            "not found: {error}\n{text}"
        );
    }
}

/// Tries every interleaving; returns how many there were.
fn explore(model: fn()) -> usize {
    let tried = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.max_branches = 20_000;
    let count = std::sync::Arc::clone(&tried);
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        model();
    });
    tried.load(Relaxed)
}

/// What other threads have done; only a wake publishes it.
#[derive(Clone)]
struct Done(Arc<AtomicUsize>);

impl Done {
    fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(0)))
    }

    /// A thread that does its part and wakes.
    fn by_thread(&self, waker: &Waker) -> JoinHandle<()> {
        let (done, waker) = (self.clone(), waker.clone());
        thread::spawn(move || {
            done.0.fetch_add(1, Relaxed);
            waker.wake();
        })
    }

    fn poll(&self, parts: usize) -> Poll<()> {
        match self.0.load(Relaxed) == parts {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// Waits until `threads` threads have each woken the calling task.
async fn woken_by(threads: usize) {
    let done = Done::new();
    let mut started = Vec::new();
    poll_fn(|cx: &mut Context<'_>| {
        if started.is_empty() {
            started.extend((0..threads).map(|_| done.by_thread(cx.waker())));
        }
        done.poll(threads)
    })
    .await;
    for thread in started {
        thread.join().unwrap();
    }
}

#[test]
fn a_wake_of_the_main_future_is_not_lost() {
    hold(
        || Runtime::new().unwrap().block_on(woken_by(1)),
        &[
            "an owner that is awake is not notified",
            "the owner parks in two steps",
        ],
    );
}

#[test]
fn each_of_two_wakes_of_one_task_publishes_what_came_before_it() {
    hold(
        || {
            let runtime = Runtime::new().unwrap();
            let task = runtime.spawn(woken_by(2));
            runtime.block_on(task).unwrap();
        },
        &[
            "the notification is taken back after the marks",
            "a mark that is there is only read",
            "a word is drained in two steps",
        ],
    );
}

#[test]
fn wakes_of_tasks_that_share_some_words_are_not_lost() {
    hold(
        || {
            let runtime = Runtime::new().unwrap();
            // The main future has slot 0. With two bits to a word, slots 2 and 3 share one.
            let _first = runtime.spawn(async {});
            let tasks = [runtime.spawn(woken_by(1)), runtime.spawn(woken_by(1))];
            runtime.block_on(async {
                for task in tasks {
                    task.await.unwrap();
                }
            });
        },
        &["the summary comes before the mark"],
    );
}

#[test]
fn wakes_that_come_while_a_runtime_ends_harm_nobody() {
    hold(
        || {
            let runtime = Runtime::new().unwrap();
            let (waker, task) = waker_of_a_task(&runtime);
            let late = thread::spawn(move || waker.wake());
            drop(runtime);
            drop(task);
            // The next has the same place in the table, and its task the same slot.
            let next = Runtime::new().unwrap();
            let task = next.spawn(woken_by(1));
            next.block_on(task).unwrap();
            late.join().unwrap();
        },
        &["a mark that is there is only read"],
    );
}

/// The waker of a task that never ends.
fn waker_of_a_task(runtime: &Runtime) -> (Waker, task::JoinHandle<()>) {
    let kept = Rc::new(Cell::new(None));
    let waker = Rc::clone(&kept);
    let task = runtime.spawn(poll_fn(move |cx| {
        waker.set(Some(cx.waker().clone()));
        Poll::<()>::Pending
    }));
    runtime.block_on(yield_now());
    (kept.take().expect("the task was polled"), task)
}

#[test]
fn a_runtime_that_begins_while_another_ends_hears_its_wakes() {
    hold(
        || {
            let ending = Runtime::new().unwrap();
            let other = thread::spawn(|| Runtime::new().unwrap().block_on(woken_by(1)));
            drop(ending);
            other.join().unwrap();
        },
        &["the index is free before the notifier is gone"],
    );
}

/// A stream of which nothing can be read, and its silent peer.
fn silent_stream() -> (TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let near = TcpStream::from_std(listener.accept().unwrap().0).unwrap();
    (near, far)
}

/// Drains the inbox; then there are no sources.
fn expect_no_entries(runtime: &Runtime) {
    runtime.block_on(async {});
    let text = format!("{runtime:?}");
    assert!(text.contains("sources: 0"), "entries are left: {text}");
}

/// Begins to wait for a stream.
fn poll_once(stream: &mut TcpStream, cx: &mut Context<'_>) {
    let poll = Pin::new(stream).poll_read(cx, &mut [0]);
    assert!(poll.is_pending());
}

/// Waits for a stream, leaves it to `moved`, and goes on when woken.
async fn left_to(moved: Rc<RefCell<Vec<TcpStream>>>, stream: TcpStream) {
    let mut stream = Some(stream);
    poll_fn(move |cx| {
        let Some(mut stream) = stream.take() else {
            return Poll::Ready(());
        };
        poll_once(&mut stream, cx);
        moved.borrow_mut().push(stream);
        Poll::Pending
    })
    .await;
}

#[test]
fn who_waits_for_sockets_that_move_to_another_thread_is_woken() {
    hold(
        || {
            let runtime = Runtime::new().unwrap();
            let (streams, _peers): (Vec<_>, Vec<_>) = (0..2).map(|_| silent_stream()).unzip();
            let moved: Rc<RefCell<Vec<_>>> = Rc::default();
            let waiting: Vec<_> = streams
                .into_iter()
                .map(|stream| runtime.spawn(left_to(Rc::clone(&moved), stream)))
                .collect();
            let mover = runtime.block_on(async {
                yield_now().await;
                let mut streams = moved.take();
                thread::spawn(move || {
                    Runtime::new().unwrap().block_on(poll_fn(|cx| {
                        for stream in &mut streams {
                            poll_once(stream, cx);
                        }
                        Poll::Ready(())
                    }));
                })
            });
            runtime.block_on(async {
                for waiting in waiting {
                    waiting.await.unwrap();
                }
            });
            mover.join().unwrap();
            expect_no_entries(&runtime);
        },
        &[
            "a runtime is not told that a descriptor is gone",
            "the flag of messages is only read",
            "the flag of messages is cleared after they were taken",
        ],
    );
}

/// Accepts one connection, and makes `connections` after the first poll.
async fn accept_one(listener: &TcpListener, connections: usize) -> Vec<std::net::TcpStream> {
    let address = listener.local_addr().unwrap();
    let mut made = Vec::new();
    poll_fn(|cx| {
        let accepted = listener.poll_accept(cx);
        if made.len() < connections {
            let connect = |_| std::net::TcpStream::connect(address).unwrap();
            during_event(|| made.extend((0..connections).map(connect)));
        }
        accepted
    })
    .await
    .unwrap();
    made
}

#[test]
fn of_two_connections_each_of_two_runtimes_accepts_one() {
    hold(
        || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let ours = Arc::new(TcpListener::from_std(listener).unwrap());
            let theirs = Arc::clone(&ours);
            let other = thread::spawn(move || {
                Runtime::new().unwrap().block_on(accept_one(&theirs, 0));
            });
            let _clients = Runtime::new().unwrap().block_on(accept_one(&ours, 2));
            other.join().unwrap();
        },
        &["who waits is not watched"],
    );
}

#[test]
fn runtimes_that_race_for_a_listener_leave_no_entry() {
    hold(
        || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let ours = Arc::new(TcpListener::from_std(listener).unwrap());
            let theirs = Arc::clone(&ours);
            let wait_once = |runtime: &Runtime, listener: &TcpListener| {
                runtime.block_on(poll_fn(|cx| {
                    assert!(listener.poll_accept(cx).is_pending());
                    Poll::Ready(())
                }));
            };
            let other = thread::spawn(move || {
                wait_once(&Runtime::new().unwrap(), &theirs);
            });
            let runtime = Runtime::new().unwrap();
            wait_once(&runtime, &ours);
            drop(ours);
            other.join().unwrap();
            expect_no_entries(&runtime);
        },
        &["a word is replaced whatever it is by now"],
    );
}
