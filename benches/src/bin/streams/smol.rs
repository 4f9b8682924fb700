//! smol's streams.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;

use async_io::Async;
use futures_lite::io::AsyncReadExt;

use crate::contestant::Runtime;
use crate::http;
use crate::peers::smol::Smol;
use crate::shared::{SharedStream, Streams};

impl Streams for Smol {
    fn share(stream: TcpStream) -> io::Result<Rc<dyn SharedStream>> {
        Ok(Rc::new(Async::new(stream)?))
    }

    async fn serve_http(listener: TcpListener) -> io::Result<()> {
        let listener: Async<TcpListener> = Async::new(listener)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            Self::detach(http::serve(http::FuturesIo(stream)));
        }
    }
}

impl SharedStream for Async<TcpStream> {
    fn read_shared<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> Pin<Box<dyn Future<Output = io::Result<usize>> + 'a>> {
        Box::pin(async move {
            let mut stream = self;
            stream.read(buffer).await
        })
    }
}
