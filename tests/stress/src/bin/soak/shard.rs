//! A runtime on a thread of its own, which serves and asks in each phase and is empty after it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use fastrand::Rng;
use runtime::Runtime;
use runtime::net::TcpListener;
use runtime::task::{JoinSet, yield_now};
use runtime::time::sleep;

use super::client::{self, Echo};
use super::counters;
use super::mix;
use super::server;
use super::tally::Tally;
use super::tasks;
use super::wakers::Threads;

pub(crate) const SHARDS: usize = 2;

/// How many operations a shard does at once.
const DRIVERS: usize = 24;

const BETWEEN_FLOODS: Duration = Duration::from_millis(300);

/// Longer than memory must be unused to be given back: a tenth of a second.
const UNTIL_TRIMMED: Duration = Duration::from_millis(400);

/// How long a runtime may take to become empty when everybody has stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all threads know.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) tally: Arc<Tally>,
    pub(crate) threads: Threads,
    servers: Mutex<Vec<SocketAddr>>,
    errands: Vec<(Sender<Errand>, Receiver<Errand>)>,
    /// How many still ask, so that the servers have to go on.
    clients: AtomicUsize,
}

/// A conversation that another shard is to finish.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) echo: Echo,
    pub(crate) seed: u64,
    pub(crate) done: Sender<()>,
}

impl Shared {
    pub(crate) fn new(tally: Arc<Tally>) -> Self {
        Self {
            threads: Threads::start(),
            tally,
            servers: Mutex::default(),
            errands: (0..SHARDS).map(|_| async_channel::bounded(64)).collect(),
            clients: AtomicUsize::new(0),
        }
    }

    /// Binds the shards' listeners, at other addresses than before: closed connections keep their ports for a while.
    pub(crate) fn begin_phase(&self, random: &mut Rng) -> Vec<TcpListener> {
        // The shards, and the thread that makes and drops runtimes.
        self.clients.store(SHARDS + 1, Ordering::Release);
        let listeners: Vec<_> = (0..SHARDS).map(|_| listen(random)).collect();
        let addresses = listeners.iter().map(TcpListener::local_addr);
        let addresses = addresses.map(|address| address.expect("a listener has an address"));
        *self.servers.lock().expect("nobody panics") = addresses.collect();
        listeners
    }

    /// A shard's server.
    pub(crate) fn server(&self, random: &mut Rng) -> SocketAddr {
        let servers = self.servers.lock().expect("nobody panics");
        servers[random.usize(..servers.len())]
    }

    pub(crate) async fn send(&self, errand: Errand, random: &mut Rng) {
        let (shard, _) = &self.errands[random.usize(..SHARDS)];
        shard
            .send(errand)
            .await
            .expect("errands are run while anybody asks");
    }

    pub(crate) fn end_client(&self) {
        self.clients.fetch_sub(1, Ordering::AcqRel);
    }

    fn has_clients(&self) -> bool {
        self.clients.load(Ordering::Acquire) > 0
    }
}

fn listen(random: &mut Rng) -> TcpListener {
    let [second, third] = [random.u8(..), random.u8(..)];
    let address = SocketAddr::from(([127, second, third, 1], 0));
    futures_lite::future::block_on(TcpListener::bind(address)).expect("loopback can be bound")
}

/// A phase of one shard.
#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) listener: TcpListener,
    pub(crate) seed: u64,
    pub(crate) deadline: Instant,
}

/// A shard's thread, as the main thread sees it.
#[derive(Debug)]
pub(crate) struct Shard {
    phases: mpsc::Sender<Phase>,
    ends: mpsc::Receiver<()>,
}

impl Shard {
    pub(crate) fn start(number: usize, shared: Arc<Shared>) -> Self {
        let (phases, inbox) = mpsc::channel();
        let (outbox, ends) = mpsc::channel();
        thread::spawn(move || {
            let runtime = Runtime::new().expect("descriptors are there");
            let _ = outbox.send(());
            for phase in inbox {
                runtime.block_on(run(&runtime, number, phase, &shared));
                let _ = outbox.send(());
            }
        });
        let this = Self { phases, ends };
        // Its runtime is there.
        this.join();
        this
    }

    pub(crate) fn begin(&self, phase: Phase) {
        self.phases.send(phase).expect("the shard runs");
    }

    /// Waits until the shard is empty.
    pub(crate) fn join(&self) {
        self.ends.recv().expect("the shard runs");
    }
}

async fn run(runtime: &Runtime, number: usize, phase: Phase, shared: &Arc<Shared>) {
    let mut random = Rng::with_seed(phase.seed);
    let server = runtime::spawn(server::serve(phase.listener, random.fork()));
    let errands = shared.errands[number].1.clone();
    let errands = runtime::spawn(run_errands(errands, Arc::clone(shared)));
    let drivers: Vec<_> = (0..DRIVERS)
        .map(|_| {
            runtime::spawn(mix::drive(
                Arc::clone(shared),
                random.fork(),
                phase.deadline,
            ))
        })
        .collect();
    // Again and again, so that memory is as scattered after the first phase as it will ever be.
    while Instant::now() < phase.deadline {
        tasks::flood().await;
        resolve_at_once().await;
        sleep(BETWEEN_FLOODS).await;
    }
    for driver in drivers {
        driver.await.expect("a driver does not panic");
    }
    shared.end_client();
    while shared.has_clients() {
        sleep(Duration::from_millis(1)).await;
    }
    server.abort();
    errands.abort();
    become_empty(runtime).await;
    sleep(UNTIL_TRIMMED).await;
}

/// Keeps as many resolving threads busy as there are at any later time; their stacks stay.
async fn resolve_at_once() {
    let mut set = JoinSet::new();
    for _ in 0..DRIVERS {
        set.spawn(client::resolve());
    }
    for result in set.join_all().await {
        result.expect("localhost has an address");
    }
}

async fn run_errands(errands: Receiver<Errand>, shared: Arc<Shared>) {
    while let Ok(Errand { echo, seed, done }) = errands.recv().await {
        let shared = Arc::clone(&shared);
        runtime::spawn(async move {
            let result = echo.finish(&shared, &mut Rng::with_seed(seed)).await;
            result.expect("a connection that moved goes on");
            done.send(()).await.expect("the sender waits");
        });
    }
}

/// Waits until no task, source or timer is left.
async fn become_empty(runtime: &Runtime) {
    let limit = Instant::now() + PATIENCE;
    while !counters::is_empty(runtime) {
        assert!(Instant::now() < limit, "something is left: {runtime:?}");
        yield_now().await;
    }
}
