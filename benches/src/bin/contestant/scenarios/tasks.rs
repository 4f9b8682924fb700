//! Spawning, joining, yielding, and waking one another.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::nanoseconds;
use crate::contestant::Runtime;

/// Tasks that are alive at once in [`spawn_and_join`].
const BATCH: usize = 100;

/// Spawns tasks by the hundred, then joins them.
pub(super) async fn spawn_and_join<R: Runtime>(count: u64) {
    let mut numbers = 0..count;
    while !numbers.is_empty() {
        let mut tasks = Vec::with_capacity(BATCH);
        for number in numbers.by_ref().take(BATCH) {
            tasks.push(R::spawn(async move { number }));
        }
        for task in tasks {
            task.await;
        }
    }
}

/// Spawns a task and waits for it, one at a time.
pub(super) async fn spawn_and_await<R: Runtime>(count: u64) {
    for number in 0..count {
        R::spawn(async move { number }).await;
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
struct Signal {
    is_set: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Signal {
    fn set(&self) {
        self.is_set.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    async fn wait(&self) {
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

/// Two tasks wake each other in turn.
pub(super) async fn ping_pong<R: Runtime>(count: u64) {
    let (ping, pong) = (Rc::new(Signal::default()), Rc::new(Signal::default()));
    let server = R::spawn({
        let (ping, pong) = (Rc::clone(&ping), Rc::clone(&pong));
        async move {
            for _ in 0..count {
                ping.wait().await;
                pong.set();
            }
        }
    });
    let client = R::spawn(async move {
        for _ in 0..count {
            ping.set();
            pong.wait().await;
        }
    });
    client.await;
    server.await;
}
