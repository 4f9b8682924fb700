//! Sockets that many tasks use through references, and tasks that are merely there.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::io::{self, Write};
#[cfg(feature = "peers")]
use std::net::TcpListener;
use std::net::TcpStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use serde_json::{Value, json};

use crate::contestant::Runtime;
use crate::scenarios::lateness::processor_time;
use crate::scenarios::per_operation;
use crate::scenarios::tasks::Signal;
use crate::server;

/// A runtime, and what it offers for streams beyond what a server of echoes uses.
pub(crate) trait Streams: Runtime {
    /// Takes over a connection that tasks read through references.
    fn share(stream: TcpStream) -> io::Result<Rc<dyn SharedStream>>;

    /// Serves HTTP with hyper, for ever; the listener is nonblocking.
    #[cfg(feature = "peers")]
    async fn serve_http(listener: TcpListener) -> io::Result<()>;
}

/// A connection that several tasks read.
pub(crate) trait SharedStream {
    /// Reads, as the runtime's users do through a reference; boxed alike for all.
    fn read_shared<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> Pin<Box<dyn Future<Output = io::Result<usize>> + 'a>>;
}

/// Why the sockets of this process can be made and used.
const LOOPBACK: &str = "the loopback device has ports, and descriptors are left";

/// Two ends of a connection.
pub(crate) fn connection() -> (TcpStream, TcpStream) {
    let listener = server::listener().expect(LOOPBACK);
    let client = TcpStream::connect(listener.local_addr().expect(LOOPBACK)).expect(LOOPBACK);
    let (stream, _) = listener.accept().expect(LOOPBACK);
    for end in [&client, &stream] {
        end.set_nodelay(true).expect(LOOPBACK);
    }
    (client, stream)
}

/// One end of a connection, of which tasks read the other.
struct Peer<S: ?Sized> {
    client: TcpStream,
    stream: Rc<S>,
    /// Set by who has read.
    has_read: Signal,
    read: Cell<u64>,
}

impl Peer<dyn SharedStream> {
    fn new<R: Streams>() -> Rc<Self> {
        let (client, stream) = connection();
        Rc::new(Self {
            client,
            stream: R::share(stream).expect(LOOPBACK),
            has_read: Signal::default(),
            read: Cell::new(0),
        })
    }

    /// Reads one byte after the other.
    async fn read(self: Rc<Self>) {
        let mut byte = [0];
        while self
            .stream
            .read_shared(&mut byte)
            .await
            .is_ok_and(|length| length == 1)
        {
            self.read.set(self.read.get() + 1);
            self.has_read.set();
        }
    }

    /// Sends a byte, and waits until somebody has read it.
    async fn send(&self) {
        let before = self.read.get();
        (&self.client).write_all(&[0]).expect(LOOPBACK);
        while self.read.get() == before {
            self.has_read.wait().await;
        }
    }
}

/// Round trips of the loop to a task that waits for a socket, beside `idle` tasks.
pub(crate) async fn round_trip<R: Streams>(idle: u64, count: u64) -> Value {
    let peer = Peer::new::<R>();
    for _ in 0..idle {
        R::detach(pending::<()>());
    }
    R::detach(Rc::clone(&peer).read());
    per_operation(count, async |count| {
        for _ in 0..count {
            peer.send().await;
        }
    })
    .await
}

/// Reads that have to wait and are given up, after `polls` tasks have polled one and ended; no event comes.
pub(crate) async fn dead_waiters<R: Streams>(polls: u64, count: u64) -> Value {
    let peer = Peer::new::<R>();
    let ended = Rc::new(Cell::new(0));
    for _ in 0..polls {
        let (peer, ended) = (Rc::clone(&peer), Rc::clone(&ended));
        // All before the loop looks for events.
        R::detach(async move {
            let mut byte = [0];
            let mut read = pin!(peer.stream.read_shared(&mut byte));
            poll_fn(|cx| {
                assert!(read.as_mut().poll(cx).is_pending(), "a byte has come");
                Poll::Ready(())
            })
            .await;
            ended.set(ended.get() + 1);
        });
    }
    while ended.get() < polls {
        R::sleep(Duration::from_millis(1)).await;
    }
    per_operation(count, async |count| {
        poll_fn(|cx| {
            for _ in 0..count {
                let mut byte = [0];
                let mut read = pin!(peer.stream.read_shared(&mut byte));
                assert!(read.as_mut().poll(cx).is_pending(), "a byte has come");
            }
            Poll::Ready(())
        })
        .await;
    })
    .await
}

/// Sends bytes to `waiters` tasks that all read the same socket; the metric is the processor time of each byte.
pub(crate) async fn waiters<R: Streams>(waiters: u64, count: u64) -> Value {
    let peer = Peer::new::<R>();
    for _ in 0..waiters {
        R::detach(Rc::clone(&peer).read());
    }
    let settle = || R::sleep(Duration::from_millis(20));
    settle().await;
    peer.send().await;
    settle().await;
    let before = processor_time();
    for _ in 0..count {
        peer.send().await;
    }
    settle().await;
    let used = processor_time() - before;
    json!({ "cpu_us": used.as_secs_f64() * 1e6 / count as f64 })
}
