//! smol: `async-executor`'s `LocalExecutor` with `async-io`.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use async_executor::LocalExecutor;
use async_io::{Async, Timer};
use futures_lite::future;
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};

use crate::contestant::Runtime;
use crate::server::Echo;

/// Why accepting does not fail.
const ACCEPTS: &str = "the listener accepts";

thread_local! {
    static EXECUTOR: &'static LocalExecutor<'static> = Box::leak(Box::default());
}

/// What the crate `smol` re-exports, with the executor for one thread.
pub(crate) struct Smol;

impl Runtime for Smol {
    fn block_on<F: Future>(future: F) -> F::Output {
        EXECUTOR.with(|executor| async_io::block_on(executor.run(future)))
    }

    fn spawn<F>(future: F) -> impl Future + 'static
    where
        F: Future<Output: 'static> + 'static,
    {
        EXECUTOR.with(|executor| executor.spawn(future))
    }

    fn detach<F>(future: F)
    where
        F: Future<Output: 'static> + 'static,
    {
        EXECUTOR.with(|executor| executor.spawn(future).detach());
    }

    fn yield_now() -> impl Future + 'static {
        future::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future + 'static {
        Timer::after(duration)
    }

    fn timeout<F: Future>(duration: Duration, future: F) -> impl Future {
        let limited = async { Ok(future.await) };
        let limit = async move {
            Timer::after(duration).await;
            Err(io::ErrorKind::TimedOut)
        };
        future::or(limited, limit)
    }

    async fn accept(listener: TcpListener, on_accept: impl Fn() + 'static) {
        let listener: Async<TcpListener> = Async::new(listener).expect(ACCEPTS);
        loop {
            listener.accept().await.expect(ACCEPTS);
            on_accept();
        }
    }

    fn serve_echo(server: Echo) {
        let (buffer, connections) = (server.buffer, server.connections);
        let served: io::Result<()> = Self::block_on(async {
            let listener: Async<TcpListener> = Async::new(server.listener)?;
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
async fn echo(stream: &mut Async<TcpStream>, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length]).await?;
    }
}
