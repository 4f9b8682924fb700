//! monoio: on epoll (its "legacy" driver) or on io_uring.

use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use futures_lite::future;
use io_uring::IoUring;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder, time};

use crate::contestant::Runtime;
use crate::server::Echo;

/// monoio on one of its drivers.
pub(crate) struct Monoio<D>(PhantomData<D>);

/// What a driver changes: how a runtime is made, and which mode its sockets are in.
pub(crate) trait Driver: 'static {
    /// As [`Runtime::block_on`].
    fn block_on<F: Future>(future: F) -> F::Output;

    /// Without timers, as `#[monoio::main]` sets it up unless it is told otherwise.
    fn block_on_without_timers<F: Future>(future: F) -> F::Output;

    /// The listener in the mode that the driver needs.
    fn listener(server: Echo) -> std::net::TcpListener;
}

/// Why a runtime can be made.
const AVAILABLE: &str = "the kernel offers the driver, and descriptors are left";

/// Readiness, edge-triggered.
pub(crate) struct Epoll;

impl Driver for Epoll {
    fn block_on<F: Future>(future: F) -> F::Output {
        let builder = RuntimeBuilder::<LegacyDriver>::new().enable_timer();
        builder.build().expect(AVAILABLE).block_on(future)
    }

    fn block_on_without_timers<F: Future>(future: F) -> F::Output {
        let builder = RuntimeBuilder::<LegacyDriver>::new();
        builder.build().expect(AVAILABLE).block_on(future)
    }

    fn listener(server: Echo) -> std::net::TcpListener {
        server.nonblocking()
    }
}

/// Completion.
pub(crate) struct Uring;

impl Driver for Uring {
    fn block_on<F: Future>(future: F) -> F::Output {
        let builder = uring_builder().enable_timer();
        builder.build().expect(AVAILABLE).block_on(future)
    }

    fn block_on_without_timers<F: Future>(future: F) -> F::Output {
        uring_builder().build().expect(AVAILABLE).block_on(future)
    }

    /// A nonblocking socket would make each operation fail that has to wait.
    fn listener(server: Echo) -> std::net::TcpListener {
        server.listener
    }
}

/// With what suits a ring that one thread uses: completions do not interrupt it.
fn uring_builder() -> RuntimeBuilder<IoUringDriver> {
    let mut ring = IoUring::builder();
    ring.setup_single_issuer().setup_coop_taskrun();
    RuntimeBuilder::new().uring_builder(ring)
}

impl<D: Driver> Runtime for Monoio<D> {
    fn block_on<F: Future>(future: F) -> F::Output {
        D::block_on(future)
    }

    fn spawn<F>(future: F) -> impl Future + 'static
    where
        F: Future<Output: 'static> + 'static,
    {
        monoio::spawn(future)
    }

    fn detach<F>(future: F)
    where
        F: Future<Output: 'static> + 'static,
    {
        drop(monoio::spawn(future));
    }

    /// monoio has none of its own.
    fn yield_now() -> impl Future + 'static {
        future::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future + 'static {
        time::sleep(duration)
    }

    fn timeout<F: Future>(duration: Duration, future: F) -> impl Future {
        time::timeout(duration, future)
    }

    fn serve_echo(server: Echo) {
        let (buffer, connections) = (server.buffer, server.connections);
        let served: io::Result<()> = D::block_on_without_timers(async {
            let listener = TcpListener::from_std(D::listener(server))?;
            loop {
                let (mut stream, _peer) = listener.accept().await?;
                monoio::spawn(async move {
                    let _ = echo(&mut stream, buffer).await;
                    connections.ended();
                });
            }
        });
        served.expect("the listener accepts");
    }
}

/// Sends back what comes, until the client has sent all.
async fn echo(stream: &mut TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(buffer);
    loop {
        let (length, read) = stream.read(buffer).await;
        if length? == 0 {
            return Ok(());
        }
        let (written, sent) = stream.write_all(read).await;
        written?;
        buffer = sent;
        buffer.clear();
    }
}
