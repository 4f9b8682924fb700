//! The runtime that this repository holds.

use std::io;
use std::net;
use std::time::Duration;

use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::{TcpListener, TcpStream};
use runtime::{task, time};

use crate::contestant::Runtime;
use crate::server::Echo;

/// Why accepting does not fail.
const ACCEPTS: &str = "the listener accepts";

/// This runtime.
pub(crate) struct Ours;

impl Runtime for Ours {
    fn block_on<F: Future>(future: F) -> F::Output {
        runtime::block_on(future)
    }

    fn block_on_coarsely<F: Future>(future: F) -> F::Output {
        runtime::Builder::new()
            .timer_slack(Duration::from_millis(1))
            .build()
            .expect("a runtime can be made")
            .block_on(future)
    }

    fn spawn<F>(future: F) -> impl Future + 'static
    where
        F: Future<Output: 'static> + 'static,
    {
        runtime::spawn(future)
    }

    fn detach<F>(future: F)
    where
        F: Future<Output: 'static> + 'static,
    {
        runtime::spawn(future);
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

    async fn accept(listener: net::TcpListener, on_accept: impl Fn() + 'static) {
        listener.set_nonblocking(true).expect(ACCEPTS);
        let listener = TcpListener::from_std(listener).expect(ACCEPTS);
        loop {
            listener.accept().await.expect(ACCEPTS);
            on_accept();
        }
    }

    fn serve_echo(server: Echo) {
        let (buffer, connections) = (server.buffer, server.connections);
        let served: io::Result<()> = runtime::block_on(async {
            let listener = TcpListener::from_std(server.nonblocking())?;
            loop {
                let (mut stream, _peer) = listener.accept().await?;
                runtime::spawn(async move {
                    // A reset ends one connection, not the server.
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
    let mut buffer = vec![0; buffer];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length]).await?;
    }
}
