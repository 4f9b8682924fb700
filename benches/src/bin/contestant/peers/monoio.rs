//! monoio: on epoll (its "legacy" driver) or on io_uring.

use std::io;
use std::marker::PhantomData;
use std::net;
use std::time::Duration;

use futures_lite::future;
use io_uring::IoUring;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder, time};

use crate::contestant::Runtime;
use crate::server::Echo;

/// Why accepting does not fail.
const ACCEPTS: &str = "the listener accepts";

/// monoio on one of its drivers.
pub(crate) struct Monoio<D>(PhantomData<D>);

/// What a driver changes: how a runtime is made, and which mode its sockets are in.
pub(crate) trait Driver: 'static {
    /// As [`Runtime::block_on`].
    fn block_on<F: Future>(future: F) -> F::Output;

    /// Without timers, as `#[monoio::main]` sets it up unless it is told otherwise.
    fn block_on_without_timers<F: Future>(future: F) -> F::Output;

    /// The mode that the driver needs sockets in.
    const IS_NONBLOCKING: bool;
}

/// Why a runtime can be made.
const AVAILABLE: &str = "the kernel offers the driver, and descriptors are left";

/// Readiness, edge-triggered.
pub(crate) struct Epoll;

impl Driver for Epoll {
    const IS_NONBLOCKING: bool = true;

    fn block_on<F: Future>(future: F) -> F::Output {
        let builder = RuntimeBuilder::<LegacyDriver>::new().enable_timer();
        builder.build().expect(AVAILABLE).block_on(future)
    }

    fn block_on_without_timers<F: Future>(future: F) -> F::Output {
        let builder = RuntimeBuilder::<LegacyDriver>::new();
        builder.build().expect(AVAILABLE).block_on(future)
    }
}

/// Completion.
pub(crate) struct Uring;

impl Driver for Uring {
    /// A nonblocking socket would make each operation fail that has to wait.
    const IS_NONBLOCKING: bool = false;

    fn block_on<F: Future>(future: F) -> F::Output {
        let builder = uring_builder().enable_timer();
        builder.build().expect(AVAILABLE).block_on(future)
    }

    fn block_on_without_timers<F: Future>(future: F) -> F::Output {
        uring_builder().build().expect(AVAILABLE).block_on(future)
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

    async fn accept(listener: net::TcpListener, on_accept: impl Fn() + 'static) {
        listener.set_nonblocking(D::IS_NONBLOCKING).expect(ACCEPTS);
        let listener = TcpListener::from_std(listener).expect(ACCEPTS);
        loop {
            listener.accept().await.expect(ACCEPTS);
            on_accept();
        }
    }

    fn serve_echo(server: Echo) {
        let (buffer, connections) = (server.buffer, server.connections);
        let served: io::Result<()> = D::block_on_without_timers(async {
            server.listener.set_nonblocking(D::IS_NONBLOCKING)?;
            let listener = TcpListener::from_std(server.listener)?;
            loop {
                let (mut stream, _peer) = listener.accept().await?;
                monoio::spawn(async move {
                    let _ = echo(&mut stream, buffer).await;
                    connections.ended();
                });
            }
        });
        served.expect(ACCEPTS);
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
