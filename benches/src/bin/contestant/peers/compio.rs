//! compio: on epoll (its `polling` driver) or on io_uring.

use std::io;
use std::marker::PhantomData;
use std::net;
use std::time::Duration;

use compio::buf::BufResult;
use compio::driver::{DriverType, ProactorBuilder};
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::RuntimeBuilder;
use compio::time;
use futures_lite::future;

use crate::contestant::Runtime;
use crate::server::Echo;

/// Why accepting does not fail.
const ACCEPTS: &str = "the listener accepts";

/// compio on one of its drivers.
pub(crate) struct Compio<D>(PhantomData<D>);

/// Which driver.
pub(crate) trait Driver: 'static {
    const TYPE: DriverType;
}

/// Readiness, one-shot, through the crate `polling`.
pub(crate) struct Polling;

impl Driver for Polling {
    const TYPE: DriverType = DriverType::Poll;
}

/// Completion.
pub(crate) struct Uring;

impl Driver for Uring {
    const TYPE: DriverType = DriverType::IoUring;
}

impl<D: Driver> Runtime for Compio<D> {
    /// When a task has woken a task, compio's next look at io_uring waits with a limit of zero, and the
    /// kernel puts the thread to sleep for that: 20 µs.
    const MAIN_JOINS_QUICKER: bool = true;

    fn block_on<F: Future>(future: F) -> F::Output {
        let mut proactor = ProactorBuilder::new();
        proactor.driver_type(D::TYPE);
        // What suits a ring that one thread uses: completions do not interrupt it. `polling` has no ring.
        proactor.single_issuer(true).coop_taskrun(true);
        proactor.taskrun_flag(true).defer_taskrun(true);
        RuntimeBuilder::new()
            .with_proactor(proactor)
            .build()
            .expect("a runtime can be made")
            .block_on(future)
    }

    fn spawn<F>(future: F) -> impl Future + 'static
    where
        F: Future<Output: 'static> + 'static,
    {
        compio::runtime::spawn(future)
    }

    fn detach<F>(future: F)
    where
        F: Future<Output: 'static> + 'static,
    {
        compio::runtime::spawn(future).detach();
    }

    /// compio has none of its own.
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
        let listener = TcpListener::from_std(listener).expect(ACCEPTS);
        loop {
            listener.accept().await.expect(ACCEPTS);
            on_accept();
        }
    }

    fn serve_echo(server: Echo) {
        let (buffer, connections) = (server.buffer, server.connections);
        let served: io::Result<()> = Self::block_on(async {
            // It makes the listener nonblocking where its driver needs that.
            let listener = TcpListener::from_std(server.listener)?;
            loop {
                let (mut stream, _peer) = listener.accept().await?;
                Self::detach(async move {
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
        let BufResult(length, read) = stream.read(buffer).await;
        if length? == 0 {
            return Ok(());
        }
        let BufResult(written, sent) = stream.write_all(read).await;
        written?;
        buffer = sent;
        buffer.clear();
    }
}
