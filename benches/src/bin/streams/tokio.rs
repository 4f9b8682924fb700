//! tokio's streams.

#![expect(
    unsafe_code,
    reason = "hyper reads into memory that is not initialised"
)]

use std::io;
use std::net;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::contestant::Runtime;
use crate::halves::Halves;
use crate::http;
use crate::peers::tokio::Tokio;
use crate::shared::{SharedStream, Streams};

impl Streams for Tokio {
    fn share(stream: net::TcpStream) -> io::Result<Rc<dyn SharedStream>> {
        stream.set_nonblocking(true)?;
        Ok(Rc::new(TcpStream::from_std(stream)?))
    }

    async fn serve_http(listener: net::TcpListener) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            Self::detach(http::serve(TokioIo(stream)));
        }
    }
}

impl SharedStream for TcpStream {
    fn read_shared<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> Pin<Box<dyn Future<Output = io::Result<usize>> + 'a>> {
        Box::pin(async move {
            loop {
                self.readable().await?;
                match self.try_read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    outcome => return outcome,
                }
            }
        })
    }
}

impl Halves for Tokio {
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

/// hyper's input and output on a tokio connection, as in `hyper-util`.
struct TokioIo(TcpStream);

impl hyper::rt::Read for TokioIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: the bytes are only lent to a `ReadBuf`, which takes none of them for initialised that are not.
        let mut buffer = ReadBuf::uninit(unsafe { cursor.as_mut() });
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        let length = buffer.filled().len();
        // SAFETY: the buffer says that so many bytes have been filled.
        unsafe { cursor.advance(length) };
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for TokioIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
