//! Moving bytes: what reading and writing a TCP stream, its halves and references to it share.
//!
//! Called by `stream` and `split`; calls `io::registration` to wait and `sys::socket` to move bytes.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use super::stream::TcpStream;
use crate::reactor::source::{Completion, Direction, Waiter};
use crate::sys::socket as call;

/// Reading and writing, for the stream, its halves and references to it.
impl TcpStream {
    #[inline]
    pub(super) fn poll_read_as(
        &self,
        cx: &Context<'_>,
        waiter: Waiter<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let receive = |fd: BorrowedFd<'_>| receive(fd, buffer);
        self.registration
            .poll_io(cx, Direction::Read, waiter, receive)
    }

    pub(super) fn poll_read_vectored_as(
        &self,
        cx: &Context<'_>,
        waiter: Waiter<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let receive = |fd: BorrowedFd<'_>| receive_vectored(fd, buffers);
        self.registration
            .poll_io(cx, Direction::Read, waiter, receive)
    }

    #[inline]
    pub(super) fn poll_write_as(
        &self,
        cx: &Context<'_>,
        waiter: Waiter<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let send = |fd: BorrowedFd<'_>| send(fd, buffer);
        self.registration
            .poll_io(cx, Direction::Write, waiter, send)
    }

    pub(super) fn poll_write_vectored_as(
        &self,
        cx: &Context<'_>,
        waiter: Waiter<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let send = |fd: BorrowedFd<'_>| send_vectored(fd, buffers);
        self.registration
            .poll_io(cx, Direction::Write, waiter, send)
    }

    /// Shuts down writing; a connection that the peer has reset needs no more.
    pub(super) fn close_write(&self) -> io::Result<()> {
        match self.shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

#[inline]
pub(super) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Completion<usize>> {
    call::recv(fd, buffer).map(|moved| Completion::of_stream(moved, buffer.len()))
}

pub(super) fn receive_vectored(
    fd: BorrowedFd<'_>,
    buffers: &mut [IoSliceMut<'_>],
) -> io::Result<Completion<usize>> {
    let taken = buffers.iter().take(call::MAX_SLICES);
    let room = taken.map(|buffer| buffer.len()).sum();
    call::recv_vectored(fd, buffers).map(|moved| Completion::of_stream(moved, room))
}

#[inline]
pub(super) fn send(fd: BorrowedFd<'_>, buffer: &[u8]) -> io::Result<Completion<usize>> {
    call::send(fd, buffer).map(|moved| Completion::of_stream(moved, buffer.len()))
}

pub(super) fn send_vectored(
    fd: BorrowedFd<'_>,
    buffers: &[IoSlice<'_>],
) -> io::Result<Completion<usize>> {
    let taken = buffers.iter().take(call::MAX_SLICES);
    let room = taken.map(|buffer| buffer.len()).sum();
    call::send_vectored(fd, buffers).map(|moved| Completion::of_stream(moved, room))
}

/// Implements reading for a type that leads to a stream.
macro_rules! impl_read {
    ([$($generics:tt)*] $type:ty, $waiter:expr, |$this:ident| $stream:expr) => {
        impl<$($generics)*> futures_io::AsyncRead for $type {
            #[inline]
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                $stream.poll_read_as(cx, $waiter, buffer)
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffers: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                $stream.poll_read_vectored_as(cx, $waiter, buffers)
            }
        }
    };
}

/// Implements writing for a type that leads to a stream.
macro_rules! impl_write {
    ([$($generics:tt)*] $type:ty, $waiter:expr, |$this:ident| $stream:expr) => {
        impl<$($generics)*> futures_io::AsyncWrite for $type {
            #[inline]
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &[u8],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                $stream.poll_write_as(cx, $waiter, buffer)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                $stream.poll_write_vectored_as(cx, $waiter, buffers)
            }

            /// Does nothing: there is no buffer outside of the kernel.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Shuts down writing.
            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this = self.get_mut();
                Poll::Ready($stream.close_write())
            }
        }
    };
}

impl_read!(['a] ReadHalf<'a>, Waiter::Exclusive, |this| this.stream);
impl_write!(['a] WriteHalf<'a>, Waiter::Exclusive, |this| this.stream);
impl_read!([] OwnedReadHalf, Waiter::Exclusive, |this| this.stream);
impl_write!([] OwnedWriteHalf, Waiter::Exclusive, |this| this.stream);
impl_read!([] TcpStream, Waiter::Exclusive, |this| this);
impl_write!([] TcpStream, Waiter::Exclusive, |this| this);
impl_read!([] & TcpStream, Waiter::Anonymous, |this| this);
impl_write!([] & TcpStream, Waiter::Anonymous, |this| this);
