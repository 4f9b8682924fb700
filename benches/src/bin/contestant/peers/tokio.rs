//! tokio: its current-thread runtime, and the one whose tasks need not be `Send`.

#![expect(
    unsafe_code,
    reason = "`tokio::spawn` takes only futures that are `Send`, the scenarios' are not"
)]

use std::io;
use std::net;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::{task, time};

use crate::contestant::Runtime;
use crate::server::{Connections, Echo};

/// Why accepting does not fail.
const ACCEPTS: &str = "the listener accepts";

/// The current-thread runtime with plain `tokio::spawn`, as `#[tokio::main(flavor = "current_thread")]`
/// sets it up.
pub(crate) struct Tokio;

pin_project! {
    /// A future or an output that never leaves its thread, though its type would let it.
    struct OnThisThread<T> {
        #[pin]
        value: T,
    }
}

// SAFETY: a current-thread runtime polls and drops its tasks and their outputs in `block_on` and in its
// own destructor, and `Tokio::block_on` calls both on the thread that spawned the tasks.
unsafe impl<T> Send for OnThisThread<T> {}

impl<F: Future> Future for OnThisThread<F> {
    type Output = OnThisThread<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let output = self.project().value.poll(cx);
        output.map(|value| OnThisThread { value })
    }
}

impl Runtime for Tokio {
    fn block_on<F: Future>(future: F) -> F::Output {
        Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made")
            .block_on(future)
    }

    fn spawn<F>(future: F) -> impl Future + 'static
    where
        F: Future<Output: 'static> + 'static,
    {
        tokio::spawn(OnThisThread { value: future })
    }

    fn detach<F>(future: F)
    where
        F: Future<Output: 'static> + 'static,
    {
        tokio::spawn(OnThisThread { value: future });
    }

    fn yield_now() -> impl Future + 'static {
        task::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future + 'static {
        time::sleep(duration)
    }

    fn timeout<F: Future>(duration: Duration, future: F) -> impl Future {
        time::timeout(duration, future)
    }

    fn accept(
        listener: net::TcpListener,
        on_accept: impl Fn() + 'static,
    ) -> impl Future<Output = ()> + 'static {
        accept(listener, on_accept)
    }

    fn serve_echo(server: Echo) {
        let start = |client: Client| drop(tokio::spawn(client.serve()));
        Self::block_on(serve(server, start)).expect(ACCEPTS);
    }
}

/// The runtime with `tokio::task::spawn_local`, as `#[tokio::main(flavor = "local")]` sets it up.
pub(crate) struct TokioLocal;

impl Runtime for TokioLocal {
    fn block_on<F: Future>(future: F) -> F::Output {
        Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
            .expect("a runtime can be made")
            .block_on(future)
    }

    fn spawn<F>(future: F) -> impl Future + 'static
    where
        F: Future<Output: 'static> + 'static,
    {
        task::spawn_local(future)
    }

    fn detach<F>(future: F)
    where
        F: Future<Output: 'static> + 'static,
    {
        task::spawn_local(future);
    }

    fn yield_now() -> impl Future + 'static {
        task::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future + 'static {
        time::sleep(duration)
    }

    fn timeout<F: Future>(duration: Duration, future: F) -> impl Future {
        time::timeout(duration, future)
    }

    fn accept(
        listener: net::TcpListener,
        on_accept: impl Fn() + 'static,
    ) -> impl Future<Output = ()> + 'static {
        accept(listener, on_accept)
    }

    fn serve_echo(server: Echo) {
        let start = |client: Client| drop(task::spawn_local(client.serve()));
        Self::block_on(serve(server, start)).expect(ACCEPTS);
    }
}

/// Accepts and closes connections.
async fn accept(listener: net::TcpListener, on_accept: impl Fn()) {
    listener.set_nonblocking(true).expect(ACCEPTS);
    let listener = TcpListener::from_std(listener).expect(ACCEPTS);
    loop {
        listener.accept().await.expect(ACCEPTS);
        on_accept();
    }
}

/// Accepts clients and starts a task for each.
async fn serve(server: Echo, start: impl Fn(Client)) -> io::Result<()> {
    let (buffer, connections) = (server.buffer, server.connections);
    let listener = TcpListener::from_std(server.nonblocking())?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        start(Client {
            stream,
            buffer,
            connections,
        });
    }
}

/// A connection that nobody serves yet.
struct Client {
    stream: TcpStream,
    buffer: usize,
    connections: Connections,
}

impl Client {
    async fn serve(mut self) {
        let _ = echo(&mut self.stream, self.buffer).await;
        self.connections.ended();
    }
}

/// Sends back what comes, until the client has sent all.
async fn echo(stream: &mut TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length]).await?;
    }
}
