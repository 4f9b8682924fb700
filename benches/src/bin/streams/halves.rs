//! The halves of a connection in two runtimes: how often the writer's is woken for what the reader gets.

use std::fs;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use serde_json::{Value, json};

use crate::contestant::Runtime;
use crate::shared::connection;

/// More than the kernel takes for a peer that does not read.
const MUCH: usize = 16 << 20;

/// Why the sockets and threads of this process do not fail.
const WORKS: &str = "the connection and the threads live as long as the run";

/// A runtime whose connections have halves that different threads can use.
pub(crate) trait Halves: Runtime {
    type Reader: Send + 'static;
    type Writer;

    fn split(stream: TcpStream) -> io::Result<(Self::Reader, Self::Writer)>;
    async fn read(reader: &mut Self::Reader, buffer: &mut [u8]) -> io::Result<usize>;
    async fn write_all(writer: &mut Self::Writer, bytes: &[u8]) -> io::Result<()>;
}

/// What the threads share.
#[derive(Default)]
struct Progress {
    read: AtomicU64,
    is_over: AtomicBool,
    /// The writer's task.
    waker: Mutex<Option<Waker>>,
}

/// Lets another thread's runtime read `count` segments one by one; the metric is how often the thread of the writer's runtime
/// went to sleep meanwhile. If it `has_waited`, the writer had to wait for the socket once before.
pub(crate) fn measure<H: Halves>(has_waited: bool, count: u64) -> Value {
    let (peer, stream) = connection();
    stream.set_nonblocking(true).expect(WORKS);
    H::block_on(async move {
        let (reader, mut writer) = H::split(stream).expect(WORKS);
        if has_waited {
            let mut peer = peer.try_clone().expect(WORKS);
            let drain = thread::spawn(move || peer.read_exact(&mut vec![0; MUCH]));
            H::write_all(&mut writer, &vec![0; MUCH])
                .await
                .expect(WORKS);
            drain.join().expect(WORKS).expect(WORKS);
        }
        let progress = Arc::new(Progress::default());
        let before = sleeps();
        start::<H>(reader, peer, Arc::clone(&progress), count);
        poll_fn(|cx| {
            *progress.waker.lock().expect(WORKS) = Some(cx.waker().clone());
            if progress.is_over.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
        let sleeps = sleeps() - before;
        drop(writer);
        json!({ "wakes": sleeps as f64 * 1e3 / count as f64 })
    })
}

/// Starts a thread that reads segments in a runtime of its own, and one that sends each when the last has been read.
fn start<H: Halves>(
    mut reader: H::Reader,
    mut peer: TcpStream,
    progress: Arc<Progress>,
    count: u64,
) {
    let seen = Arc::clone(&progress);
    let sender = thread::spawn(move || {
        for number in 0..count {
            peer.write_all(&[0]).expect(WORKS);
            while seen.read.load(Ordering::Acquire) <= number {
                thread::park();
            }
        }
    });
    thread::spawn(move || {
        H::block_on(async {
            for _ in 0..count {
                H::read(&mut reader, &mut [0; 64]).await.expect(WORKS);
                progress.read.fetch_add(1, Ordering::Release);
                sender.thread().unpark();
            }
        });
        sender.join().expect(WORKS);
        progress.is_over.store(true, Ordering::Release);
        let waker = progress.waker.lock().expect(WORKS).take();
        waker.expect("the writer's task waits").wake();
        drop(reader);
    });
}

/// How often this thread has gone to sleep.
fn sleeps() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").expect("/proc is mounted");
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix("voluntary_ctxt_switches:")?
                .trim()
                .parse()
                .ok()
        })
        .expect("the kernel tells how often a thread slept")
}
