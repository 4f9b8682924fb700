//! What the tests share: a watchdog, an ordered trace, counted wakers and connected sockets.
#![allow(
    dead_code,
    clippy::allow_attributes,
    missing_docs,
    unreachable_pub,
    reason = "each test binary compiles its own copy and uses a part of it"
)]

pub mod hostile;
pub mod memory_group;
pub mod panics;
pub mod parked;
pub mod process;
pub mod sockets;

use std::cell::RefCell;
use std::fs;
use std::future::poll_fn;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use runtime::net::{TcpListener, TcpStream};

/// How long a test may take before it counts as hung.
pub const LIMIT: Duration = Duration::from_secs(if cfg!(miri) { 300 } else { 20 });

/// Runs `future` on a new runtime, under the watchdog.
#[track_caller]
pub fn run<F: Future>(future: F) -> F::Output {
    within(LIMIT, || runtime::block_on(future))
}

/// Runs `future` in a task of a new runtime, where a yield is one turn of every task; under the watchdog.
#[track_caller]
pub fn run_in_task<F: Future<Output: 'static> + 'static>(future: F) -> F::Output {
    run(async { runtime::spawn(future).await.unwrap() })
}

/// Lets all run that is due, however many ticks it takes.
pub async fn turn_of_all() {
    runtime::spawn(async {}).await.unwrap();
}

/// Runs `test`; if it hangs, the process ends with the test's name: a lost wake fails, it does not stall.
pub fn within<R>(limit: Duration, test: impl FnOnce() -> R) -> R {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let (done, watch) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if watch.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            // Not `eprintln!`, which the test harness keeps to itself and loses with the process.
            let _ = writeln!(
                io::stderr(),
                "{name} did not end within {limit:?}: was a wake lost?"
            );
            std::process::abort();
        }
    });
    let result = test();
    drop(done);
    watchdog.join().expect("the watchdog does not panic");
    result
}

/// What happened, in order.
#[derive(Clone, Default)]
pub struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    pub fn push(&self, event: impl Into<String>) {
        self.0.borrow_mut().push(event.into());
    }

    /// The events so far; the trace starts anew.
    pub fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// Notes its drop in a trace.
pub struct Traced(pub Trace, pub &'static str);

impl Drop for Traced {
    fn drop(&mut self) {
        self.0.push(format!("drop {}", self.1));
    }
}

/// Counts the wakes of a waker that is none of the runtime's.
#[derive(Default)]
pub struct WakeCount(AtomicUsize);

impl WakeCount {
    /// A waker that counts; `Arc::strong_count` less one tells how many clones of it live.
    pub fn new() -> (Arc<Self>, Waker) {
        let count = Arc::new(Self::default());
        (Arc::clone(&count), count.into())
    }

    pub fn wakes(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A loopback address that is this process's own, and port 0: what other processes try to connect to, perhaps
/// long after its listener is gone, is not ours.
pub fn anywhere() -> SocketAddr {
    let [high, middle, low] = [16, 8, 0].map(|bits| (std::process::id() >> bits).to_le_bytes()[0]);
    SocketAddr::from(([127, high.saturating_add(1), middle, low], 0))
}

/// A listener on a free loopback port, and its address.
pub async fn listen() -> (TcpListener, SocketAddr) {
    listen_at(anywhere()).await
}

/// The same at the address that "localhost" stands for.
pub async fn listen_at_localhost() -> (TcpListener, SocketAddr) {
    listen_at((Ipv4Addr::LOCALHOST, 0).into()).await
}

async fn listen_at(address: SocketAddr) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(address)
        .await
        .expect("loopback can be bound");
    let address = listener
        .local_addr()
        .expect("a bound listener has an address");
    (listener, address)
}

/// Two ends of one connection: the client's and the server's.
pub async fn pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listen().await;
    let client = TcpStream::connect(address)
        .await
        .expect("the listener is there");
    let (server, _) = listener.accept().await.expect("the client has connected");
    (client, server)
}

/// An end of a connection that has no runtime, and ours.
pub async fn pair_with_std() -> (std::net::TcpStream, TcpStream) {
    let (listener, address) = listen().await;
    let client = std::net::TcpStream::connect(address).expect("the listener is there");
    let (server, _) = listener.accept().await.expect("the client has connected");
    (client, server)
}

/// How many descriptors this process has open.
pub fn open_fds() -> usize {
    fs::read_dir("/proc/self/fd")
        .expect("procfs is mounted")
        .count()
}

/// Runs its closure when dropped.
pub struct OnDrop<F: FnOnce()>(Option<F>);

/// A value whose destructor is `call`.
pub fn on_drop<F: FnOnce()>(call: F) -> OnDrop<F> {
    OnDrop(Some(call))
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call();
        }
    }
}

/// Polls a future once, with `waker`.
pub fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Returns when the reactor has turned after `deadline`: what was due then has fired, and what other
/// threads asked for before is done.
pub async fn turned_after(deadline: runtime::time::Instant) {
    runtime::time::sleep_until(deadline).await;
    // More polls than pass between two turns.
    for _ in 0..200 {
        runtime::task::yield_now().await;
    }
}

/// Returns when the loop has turned: woken by a timer whose deadline passes while it waits.
pub async fn turned() {
    let mut timer = runtime::time::sleep(Duration::MAX);
    let mut is_due = false;
    poll_fn(|cx| {
        if is_due {
            return Poll::Ready(());
        }
        assert!(Pin::new(&mut timer).poll(cx).is_pending());
        timer.reset(runtime::time::Instant::now());
        is_due = true;
        Poll::Pending
    })
    .await;
}
