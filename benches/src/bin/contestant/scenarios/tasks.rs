//! Spawning, joining, yielding, and waking one another.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::nanoseconds;
use crate::contestant::Runtime;

/// Calls `$body` with `$bytes` as a constant: the sizes of futures that scenarios can ask for.
///
/// They are what sweeps show, and the sizes around which runtimes change how they allocate: this one's block is 48
/// bytes larger than a future, and blocks of up to 464 bytes are kept.
macro_rules! with_bytes {
    ($bytes:expr, $constant:ident => $body:expr) => {
        with_bytes!(@ $bytes, $constant, $body, 16 200 208 216 224 232 408 416 424 432 440 480 1000 5000 8000)
    };
    (@ $bytes:expr, $constant:ident, $body:expr, $($size:literal)*) => {
        match $bytes {
            $($size => {
                const $constant: usize = $size;
                $body
            })*
            other => panic!("no future of {other} bytes is compiled in"),
        }
    };
}
pub(crate) use with_bytes;

/// A future of `WORDS` words that is ready at once.
pub(crate) struct Sized<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Sized<WORDS> {
    pub(crate) fn new(number: u64) -> Self {
        Self([number; WORDS])
    }
}

impl<const WORDS: usize> Future for Sized<WORDS> {
    type Output = u64;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
        Poll::Ready(black_box(&self.0)[0])
    }
}

/// Spawns tasks with a future of `bytes` bytes, `batch` at a time, and joins each batch.
pub(super) async fn spawn_and_join<R: Runtime>(batch: u64, bytes: u64, count: u64) {
    with_bytes!(bytes, BYTES => spawn_batches::<R, { BYTES / 8 }>(batch, count).await);
}

async fn spawn_batches<R: Runtime, const WORDS: usize>(batch: u64, count: u64) {
    if batch == 1 {
        for number in 0..count {
            R::spawn(Sized::<WORDS>::new(number)).await;
        }
        return;
    }
    let batch = usize::try_from(batch).expect("a batch fits in memory");
    let mut tasks = Vec::with_capacity(batch);
    let mut numbers = 0..count;
    while !numbers.is_empty() {
        for number in numbers.by_ref().take(batch) {
            tasks.push(R::spawn(Sized::<WORDS>::new(number)));
        }
        for task in tasks.drain(..) {
            task.await;
        }
    }
}

/// Lets tasks yield, `count` times in all, or four times each if that is more; the metric is the time of
/// a switch from one task to the next.
///
/// The tasks wait until all of them have been spawned and polled, and again when they have yielded their
/// share: no task is made, woken by another or dropped while the clock runs. It starts with the first
/// task and stops with the last, so it does not matter in which order a runtime takes them.
pub(super) async fn yields<R: Runtime, Y: Future + 'static>(
    tasks: u64,
    count: u64,
    yield_now: impl Fn() -> Y + Copy + 'static,
) -> Value {
    let count = count.max(4 * tasks);
    let race = Rc::new(Race::new(tasks));
    for number in 0..tasks {
        let share = count / tasks + u64::from(number < count % tasks);
        let race = Rc::clone(&race);
        R::detach(async move {
            race.start().await;
            for _ in 0..share {
                yield_now().await;
            }
            race.finish();
            pending::<()>().await;
        });
    }
    race.run().await;
    // Each share of yields begins with a switch to its task.
    nanoseconds(race.elapsed.get(), count + tasks)
}

/// The clock of tasks that start together.
struct Race {
    tasks: u64,
    at_start: RefCell<Vec<Waker>>,
    is_ready: Signal,
    started: Cell<Option<Instant>>,
    finished: Cell<u64>,
    elapsed: Cell<Duration>,
    has_ended: Signal,
}

impl Race {
    fn new(tasks: u64) -> Self {
        Self {
            tasks,
            at_start: RefCell::default(),
            is_ready: Signal::default(),
            started: Cell::default(),
            finished: Cell::default(),
            elapsed: Cell::default(),
            has_ended: Signal::default(),
        }
    }

    /// Waits for the start; the first task that goes on starts the clock.
    async fn start(&self) {
        let mut has_waited = false;
        poll_fn(|cx| {
            if has_waited {
                return Poll::Ready(());
            }
            has_waited = true;
            let mut waiting = self.at_start.borrow_mut();
            waiting.push(cx.waker().clone());
            if waiting.len() as u64 == self.tasks {
                self.is_ready.set();
            }
            Poll::Pending
        })
        .await;
        if self.started.get().is_none() {
            self.started.set(Some(Instant::now()));
        }
    }

    /// Tells that a task has yielded its share; the last one stops the clock.
    fn finish(&self) {
        self.finished.set(self.finished.get() + 1);
        if self.finished.get() == self.tasks {
            let started = self.started.get().expect("the tasks have started");
            self.elapsed.set(started.elapsed());
            self.has_ended.set();
        }
    }

    /// Starts the tasks when all are there; waits until all have finished.
    async fn run(&self) {
        self.is_ready.wait().await;
        for waiting in self.at_start.take() {
            waiting.wake();
        }
        self.has_ended.wait().await;
    }
}

/// One side of a rendezvous: a flag and who waits for it.
#[derive(Default)]
pub(crate) struct Signal {
    is_set: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Signal {
    pub(crate) fn set(&self) {
        self.is_set.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(crate) async fn wait(&self) {
        poll_fn(|cx| {
            if self.is_set.replace(false) {
                return Poll::Ready(());
            }
            self.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// Pairs of tasks make `count` round trips in all: by two signals, or (`ONESHOT`) each request holds a oneshot of its
/// own, through which the answer comes.
pub(super) async fn ping_pong<R: Runtime, const ONESHOT: bool>(pairs: u64, count: u64) {
    let (mut servers, mut clients) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        let trips = count / pairs + u64::from(pair < count % pairs);
        let server_side = Rc::new(Mailbox::default());
        let client_side = Rc::clone(&server_side);
        servers.push(R::spawn(async move {
            for _ in 0..trips {
                server_side.is_filled.wait().await;
                if ONESHOT {
                    let request = server_side.request.take();
                    request.expect("a request has come").set();
                } else {
                    server_side.answer.set();
                }
            }
        }));
        clients.push(R::spawn(async move {
            for _ in 0..trips {
                if ONESHOT {
                    let answer = Rc::new(Signal::default());
                    client_side.request.set(Some(Rc::clone(&answer)));
                    client_side.is_filled.set();
                    answer.wait().await;
                } else {
                    client_side.is_filled.set();
                    client_side.answer.wait().await;
                }
            }
        }));
    }
    for client in clients {
        client.await;
    }
    for server in servers {
        server.await;
    }
}

/// Where a request lies until its server runs.
#[derive(Default)]
struct Mailbox {
    request: Cell<Option<Rc<Signal>>>,
    is_filled: Signal,
    answer: Signal,
}
