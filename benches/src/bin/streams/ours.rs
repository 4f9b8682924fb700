//! This runtime's streams.

use std::io;
use std::net;
use std::pin::Pin;
use std::rc::Rc;

use runtime::io::{AsyncReadExt, AsyncWriteExt};
#[cfg(feature = "peers")]
use runtime::net::TcpListener;
use runtime::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream};

use crate::halves::Halves;
#[cfg(feature = "peers")]
use crate::http;
use crate::ours::Ours;
use crate::shared::{SharedStream, Streams};

impl Streams for Ours {
    fn share(stream: net::TcpStream) -> io::Result<Rc<dyn SharedStream>> {
        stream.set_nonblocking(true)?;
        Ok(Rc::new(TcpStream::from_std(stream)?))
    }

    #[cfg(feature = "peers")]
    async fn serve_http(listener: net::TcpListener) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            runtime::spawn(http::serve(http::FuturesIo(stream)));
        }
    }
}

impl SharedStream for TcpStream {
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

impl Halves for Ours {
    type Reader = OwnedReadHalf;
    type Writer = OwnedWriteHalf;

    fn split(stream: net::TcpStream) -> io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
        Ok(TcpStream::from_std(stream)?.into_split())
    }

    async fn read(reader: &mut OwnedReadHalf, buffer: &mut [u8]) -> io::Result<usize> {
        reader.read(buffer).await
    }

    async fn write_all(writer: &mut OwnedWriteHalf, bytes: &[u8]) -> io::Result<()> {
        writer.write_all(bytes).await
    }
}
