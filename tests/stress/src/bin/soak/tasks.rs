//! Tasks that come in storms and sets, are aborted, panic, and pass things to each other.

use std::cell::Cell;
use std::future::pending;
use std::panic::resume_unwind;
use std::rc::Rc;

use fastrand::Rng;
use runtime::task::{JoinSet, yield_now};
use runtime::time::{Duration, sleep};

/// More tasks than there are at any later time, so that no table grows after the first phase.
const FLOOD: usize = 20_000;

const STORM: usize = 1_000;

/// Counts its drop.
struct Dropped(Rc<Cell<usize>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Spawns as many tasks and timers as ever, and aborts them all.
pub(crate) async fn flood() {
    let mut set = JoinSet::new();
    for _ in 0..FLOOD {
        set.spawn(sleep(Duration::MAX));
    }
    yield_now().await;
    set.shutdown().await;
}

/// Spawns many tasks at once; of some nobody keeps the handle.
pub(crate) async fn storm(random: &mut Rng) {
    let tasks = random.usize(1..STORM);
    let ended = Rc::new(Cell::new(0));
    let mut handles = Vec::new();
    for _ in 0..tasks {
        let (end, yields) = (Dropped(Rc::clone(&ended)), random.u8(..3));
        let handle = runtime::spawn(async move {
            for _ in 0..yields {
                yield_now().await;
            }
            drop(end);
            yields
        });
        if random.bool() {
            handles.push((handle, yields));
        }
    }
    for (handle, yields) in handles {
        assert_eq!(handle.await.expect("nobody aborts it"), yields);
    }
    while ended.get() < tasks {
        yield_now().await;
    }
    assert_eq!(ended.get(), tasks);
}

/// Takes tasks out of a set as they end, some of them aborted.
pub(crate) async fn set(random: &mut Rng) {
    let tasks = random.usize(1..50);
    let mut set = JoinSet::new();
    let mut aborted = 0;
    for _ in 0..tasks {
        let nanos = random.u64(..100_000);
        if random.u8(..4) == 0 {
            aborted += 1;
            set.spawn(pending()).abort();
        } else {
            set.spawn(sleep(Duration::from_nanos(nanos)));
        }
    }
    if random.u8(..4) > 0 {
        let (mut ended, mut cancelled) = (0, 0);
        while let Some(result) = set.join_next().await {
            ended += 1;
            cancelled += usize::from(result.is_err());
        }
        assert_eq!((ended, cancelled), (tasks, aborted));
    }
}

/// Aborts tasks in all states; each future is dropped once.
pub(crate) async fn abort(random: &mut Rng) {
    let dropped = Rc::new(Cell::new(0));
    let tasks = random.usize(1..20);
    for _ in 0..tasks {
        let (drop_of, wait) = (Dropped(Rc::clone(&dropped)), random.u64(..20_000));
        let task = runtime::spawn(async move {
            let _drop_of = drop_of;
            sleep(Duration::from_nanos(wait)).await;
        });
        for _ in 0..random.u8(..3) {
            yield_now().await;
        }
        let abort = task.abort_handle();
        abort.abort();
        // Dropped with the result in it, or awaited.
        if random.bool() {
            assert!(task.await.err().is_none_or(|error| error.is_cancelled()));
        }
        abort.abort();
    }
    while dropped.get() < tasks {
        yield_now().await;
    }
    assert_eq!(dropped.get(), tasks);
}

/// A panic ends its own task only.
pub(crate) async fn panic(random: &mut Rng) {
    let (yields, payload) = (random.u8(..3), random.u64(..));
    let task = runtime::spawn(async move {
        for _ in 0..yields {
            yield_now().await;
        }
        // Past the hook, which ends the process.
        resume_unwind(Box::new(payload))
    });
    if random.bool() {
        let result: Result<(), _> = task.await;
        let panic = result.expect_err("it panics").into_panic();
        assert_eq!(panic.downcast_ref(), Some(&payload));
    }
}

/// Passes numbers from task to task.
pub(crate) async fn channel(random: &mut Rng) {
    let (length, room) = (random.u64(1..200), random.usize(1..8));
    let (sender, receiver) = async_channel::bounded(room);
    let sending = runtime::spawn(async move {
        for number in 0..length {
            sender.send(number).await.expect("the receiver is there");
        }
    });
    let mut sum = 0;
    while let Ok(number) = receiver.recv().await {
        sum += number;
    }
    assert_eq!(sum, length * (length - 1) / 2);
    sending.await.expect("nobody aborts it");
}
