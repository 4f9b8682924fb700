//! What a loop that is busy does to those who wait: connections, timers, and wakes from other threads.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::lateness::nanoseconds_since;
use super::tasks::Signal;
use crate::contestant::Runtime;
use crate::samples::Samples;
use crate::server;

/// How long those who wait in [`latency`] do.
const SLEEP: Duration = Duration::from_millis(100);

/// How long tasks are busy at most.
const PATIENCE: Duration = Duration::from_secs(15);

/// The period of the timer in [`channel`].
const PERIOD: Duration = Duration::from_millis(1);

/// Why the sockets of this process can be made and used.
const LOOPBACK: &str = "the loopback device has ports, and descriptors are left";

/// Why a lock is never poisoned.
const NO_PANIC: &str = "nobody panics with the lock";

/// Starts tasks that compute for `work` and yield, until the flag is set or [`PATIENCE`] is over: some runtimes let others
/// wait for as long as such tasks are there.
fn busy<R: Runtime>(tasks: u64, work: Duration) -> Rc<Cell<bool>> {
    let is_over = Rc::new(Cell::new(false));
    let begin = Instant::now();
    for _ in 0..tasks {
        let is_over = Rc::clone(&is_over);
        R::detach(async move {
            while !is_over.get() {
                let start = Instant::now();
                if start - begin > PATIENCE {
                    break;
                }
                while start.elapsed() < work {}
                R::yield_now().await;
            }
        });
    }
    is_over
}

/// Listens on a free port.
fn listen() -> (TcpListener, SocketAddr) {
    let listener = server::listener().expect(LOOPBACK);
    let address = listener.local_addr().expect(LOOPBACK);
    (listener, address)
}

/// Lets `clients` connect at once beside busy tasks; the metric is how long it takes to accept them all.
pub(super) async fn accept<R: Runtime>(tasks: u64, work: Duration, clients: u64) -> Value {
    let (listener, address) = listen();
    let left = Rc::new(Cell::new(1));
    let all = Rc::new(Signal::default());
    let end = Rc::new(Cell::new(Instant::now()));
    R::detach({
        let (left, all, end) = (Rc::clone(&left), Rc::clone(&all), Rc::clone(&end));
        R::accept(listener, move || {
            left.set(left.get() - 1);
            if left.get() == 0 {
                end.set(Instant::now());
                all.set();
            }
        })
    });
    // The server knows its listener and waits for it, as one that has run for a while.
    let _first = TcpStream::connect(address).expect(LOOPBACK);
    all.wait().await;
    let is_over = busy::<R>(tasks, work);
    // No sleep: some runtimes would not wake from it while tasks are busy.
    for _ in 0..3 {
        R::yield_now().await;
    }
    left.set(clients);
    // Nothing is accepted meanwhile, as this does not yield.
    let connect = |_| TcpStream::connect(address).expect(LOOPBACK);
    let _clients: Vec<_> = (0..clients).map(connect).collect();
    let start = Instant::now();
    all.wait().await;
    is_over.set(true);
    json!({ "ms": (end.get() - start).as_secs_f64() * 1e3 })
}

/// What another thread does to a runtime, and when.
#[derive(Default)]
struct Outside {
    waker: Mutex<Option<Waker>>,
    connected: OnceLock<Instant>,
    woken: OnceLock<Instant>,
}

impl Outside {
    /// Connects and wakes when it is time; returns the connection.
    fn act(&self, address: SocketAddr) -> TcpStream {
        thread::sleep(SLEEP);
        let _ = self.connected.set(Instant::now());
        let client = TcpStream::connect(address).expect(LOOPBACK);
        let _ = self.woken.set(Instant::now());
        let waker = self.waker.lock().expect(NO_PANIC).take();
        waker.expect("the task waits").wake();
        client
    }

    /// Waits for the wake; returns when it was sent.
    async fn woken(&self) -> Instant {
        poll_fn(|cx| {
            *self.waker.lock().expect(NO_PANIC) = Some(cx.waker().clone());
            self.woken
                .get()
                .map_or(Poll::Pending, |&at| Poll::Ready(at))
        })
        .await
    }
}

/// Beside busy tasks, the future of `block_on`, a task that sleeps, one that another thread wakes and one that
/// waits for a client are all due after the same time; the metrics are how much later they run.
pub(super) async fn latency<R: Runtime>(tasks: u64, work: Duration) -> Value {
    let outside: Arc<Outside> = Arc::default();
    let late: Rc<RefCell<Vec<(&str, Duration)>>> = Rc::default();
    let all = Rc::new(Signal::default());
    let note = {
        let (late, all) = (Rc::clone(&late), Rc::clone(&all));
        move |who, due: Instant| {
            late.borrow_mut().push((who, due.elapsed()));
            all.set();
        }
    };
    let (listener, address) = listen();
    R::detach({
        let (note, outside) = (note.clone(), Arc::clone(&outside));
        let connected = move || *outside.connected.get().expect("the client says when");
        R::accept(listener, move || note("event_ms", connected()))
    });
    R::detach({
        let note = note.clone();
        async move {
            let due = Instant::now() + SLEEP;
            R::sleep(SLEEP).await;
            note("task_ms", due);
        }
    });
    R::detach({
        let (note, outside) = (note.clone(), Arc::clone(&outside));
        async move { note("thread_ms", outside.woken().await) }
    });
    let _is_over = busy::<R>(tasks, work);
    let thread = thread::spawn(move || outside.act(address));
    let due = Instant::now() + SLEEP;
    R::sleep(SLEEP).await;
    note("main_ms", due);
    while late.borrow().len() < 4 {
        all.wait().await;
    }
    drop(thread.join().expect("the other thread does not panic"));
    let late = late.take().into_iter();
    late.map(|(who, late)| (who.to_owned(), json!(late.as_secs_f64() * 1e3)))
        .collect()
}

/// Moves `count` messages through a bounded channel that knows of no runtime; the metrics are the time for each, and how
/// late a timer beside it is.
pub(super) async fn channel<R: Runtime>(capacity: u64, count: u64) -> Value {
    let capacity = usize::try_from(capacity).expect("a channel fits in memory");
    let (sender, receiver) = async_channel::bounded(capacity);
    let is_over = Rc::new(Cell::new(false));
    let ticker = R::spawn({
        let is_over = Rc::clone(&is_over);
        async move {
            let mut samples = Samples::default();
            while !is_over.get() {
                let due = Instant::now() + PERIOD;
                R::sleep(PERIOD).await;
                samples.push(nanoseconds_since(due));
            }
            LATENESS.set(Some(samples));
        }
    });
    R::sleep(2 * PERIOD).await;
    let start = Instant::now();
    R::detach(async move {
        for number in 0..count {
            sender.send(number).await.expect("the receiver is there");
        }
    });
    R::spawn(async move { while receiver.recv().await.is_ok() {} }).await;
    let elapsed = start.elapsed();
    is_over.set(true);
    ticker.await;
    let samples = LATENESS.take().expect("the ticker has ended");
    let [p99, most] = samples.at([9_900, 10_000]);
    json!({
        "late_max_us": most / 1e3,
        "late_p99_us": p99 / 1e3,
        "ns": elapsed.as_secs_f64() * 1e9 / count as f64,
    })
}

thread_local! {
    /// What the ticker of [`channel`] has seen: what joining returns differs from runtime to runtime.
    static LATENESS: Cell<Option<Samples>> = const { Cell::new(None) };
}
