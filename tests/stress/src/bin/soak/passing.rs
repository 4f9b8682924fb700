//! Runtimes that come and go, with everything still going on in them.

use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

use fastrand::Rng;
use runtime::Runtime;
use runtime::task::JoinHandle;
use runtime::time::{Duration, sleep};

use super::client;
use super::shard::Shared;
use super::tally::Kind;

/// The thread that makes and drops them, as the main thread sees it.
#[derive(Debug)]
pub(crate) struct Passing {
    phases: mpsc::Sender<(u64, Instant)>,
    ends: mpsc::Receiver<()>,
}

impl Passing {
    pub(crate) fn start(shared: Arc<Shared>) -> Self {
        let (phases, inbox) = mpsc::channel();
        let (outbox, ends) = mpsc::channel();
        thread::spawn(move || {
            for (seed, deadline) in inbox {
                let mut random = Rng::with_seed(seed);
                while Instant::now() < deadline {
                    shared.tally.begin(Kind::Runtime);
                    pass(&shared, &mut random);
                    shared.tally.end(Kind::Runtime);
                }
                shared.end_client();
                let _ = outbox.send(());
            }
        });
        Self { phases, ends }
    }

    pub(crate) fn begin(&self, seed: u64, deadline: Instant) {
        self.phases.send((seed, deadline)).expect("the thread runs");
    }

    /// Waits until the last runtime is gone.
    pub(crate) fn join(&self) {
        self.ends.recv().expect("the thread runs");
    }
}

/// Makes a runtime, leaves it in the middle of its work, and drops it before or after the handles.
fn pass(shared: &Arc<Shared>, random: &mut Rng) {
    let runtime = Runtime::new().expect("descriptors are there");
    let tasks = spawn(&runtime, shared, random);
    runtime.block_on(async {
        match random.u8(..4) {
            0 => {
                let result = client::upload(shared, random).await;
                result.expect("an upload does not fail");
            }
            // Where nothing else is going on, only the bell ends the wait.
            1 => shared.threads.wake(random).await,
            2 => shared.threads.ask(random).await,
            _ => {}
        }
        sleep(Duration::from_nanos(random.u64(..200_000))).await;
    });
    if random.bool() {
        drop(runtime);
        tasks.into_iter().for_each(check_end);
    } else {
        drop(tasks);
        drop(runtime);
    }
}

/// Tasks of all kinds whose end nobody waits for.
fn spawn(runtime: &Runtime, shared: &Arc<Shared>, random: &mut Rng) -> Vec<JoinHandle<()>> {
    (0..random.usize(..8))
        .map(|_| {
            let (shared, mut random) = (Arc::clone(shared), random.fork());
            let kind = random.u8(..4);
            runtime.spawn(async move {
                match kind {
                    // Resets are the conversations that may end anywhere.
                    0 => drop(client::reset(&shared, &mut random).await),
                    1 => shared.threads.wake(&mut random).await,
                    2 => shared.threads.ask(&mut random).await,
                    _ => sleep(Duration::from_nanos(random.u64(..400_000))).await,
                }
            })
        })
        .collect()
}

/// The handle of a runtime that is gone has its result.
fn check_end(task: JoinHandle<()>) {
    assert!(task.is_finished(), "{task:?} outlived its runtime");
    let task = pin!(task);
    match task.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => assert!(result.err().is_none_or(|error| error.is_cancelled())),
        Poll::Pending => panic!("the result is not there"),
    }
}
