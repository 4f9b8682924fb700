//! hyper on any runtime: what it answers, and its input and output for streams of `futures-io`.

#![expect(
    unsafe_code,
    reason = "hyper reads into memory that is not initialised; initialising it would cost each read 8 KiB"
)]

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::slice;
use std::task::{Context, Poll, ready};

use futures_lite::io::{AsyncRead, AsyncWrite};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};

/// Serves one connection until the client closes it.
pub(crate) async fn serve(io: impl Read + Write + Unpin) {
    // A reset ends one connection, not the server.
    let _ = http1::Builder::new()
        .serve_connection(io, service_fn(hello))
        .await;
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(
        b"Hello, world!",
    ))))
}

/// hyper's input and output on a stream that reads with a system call.
pub(crate) struct FuturesIo<S>(pub(crate) S);

impl<S: AsyncRead + Unpin> Read for FuturesIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: nothing takes these bytes for initialised: see below.
        let spare = unsafe { cursor.as_mut() };
        // SAFETY: the streams that this wraps hand the buffer to the kernel, which only writes to it.
        let buffer = unsafe { slice::from_raw_parts_mut(spare.as_mut_ptr().cast(), spare.len()) };
        let length = ready!(Pin::new(&mut self.0).poll_read(cx, buffer))?;
        // SAFETY: the kernel has written so many bytes.
        unsafe { cursor.advance(length) };
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for FuturesIo<S> {
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
        Pin::new(&mut self.0).poll_close(cx)
    }
}
