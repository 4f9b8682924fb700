//! Spawning, joining, yielding, and waking one another.

use std::cell::Cell;
use std::future::poll_fn;
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

/// Lets tasks yield, `count` times in all, or four times each if that is more.
///
/// The clock runs from when the last task has been polled once until the last has yielded its share; in
/// between, every task is in the run queue all the time, and none is spawned or dropped.
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
            race.start();
            for _ in 0..share {
                yield_now().await;
            }
            race.finish();
            // The task ends in a later round than the one that stops the clock.
            yield_now().await;
        });
    }
    race.end().await;
    nanoseconds(race.elapsed.get(), count)
}

/// The clock of tasks that start and finish together.
struct Race {
    to_start: Cell<u64>,
    to_finish: Cell<u64>,
    started: Cell<Instant>,
    elapsed: Cell<Duration>,
    has_ended: Signal,
}

impl Race {
    fn new(tasks: u64) -> Self {
        Self {
            to_start: Cell::new(tasks),
            to_finish: Cell::new(tasks),
            started: Cell::new(Instant::now()),
            elapsed: Cell::default(),
            has_ended: Signal::default(),
        }
    }

    /// Tells that a task starts; the last one starts the clock.
    fn start(&self) {
        self.to_start.set(self.to_start.get() - 1);
        if self.to_start.get() == 0 {
            self.started.set(Instant::now());
        }
    }

    /// Tells that a task has finished; the last one stops the clock.
    fn finish(&self) {
        self.to_finish.set(self.to_finish.get() - 1);
        if self.to_finish.get() == 0 {
            self.elapsed.set(self.started.get().elapsed());
            self.has_ended.set();
        }
    }

    /// Waits until all have finished.
    async fn end(&self) {
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
