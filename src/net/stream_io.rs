//! Reading and writing a registered stream socket, of TCP or another family.
//!
//! Called by the stream types and their halves; calls `io::registration` to wait and `sys::socket` to move bytes.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

use crate::io::registration::{Registration, WithTicket};
use crate::reactor::source::{After, Completion, Direction, Directions, Waiter};
use crate::sys;
use crate::sys::socket::MAX_SLICES;

/// A connected stream socket.
pub(super) trait StreamSocket {
    /// Whether a read that brings fewer bytes than fit has drained the socket, so that the next one waits for an
    /// event. It has for TCP. On a Unix socket a read also stops where descriptors were sent, and no event
    /// announces what follows.
    const SHORT_READ_DRAINS: bool;

    fn registration(&self) -> &Registration;
}

#[inline]
pub(super) fn poll_read<S: StreamSocket>(
    socket: &S,
    cx: &Context<'_>,
    waiter: Waiter<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    let receive = |fd: BorrowedFd<'_>| receive::<S>(fd, buffer);
    socket
        .registration()
        .poll_io(cx, Direction::Read, waiter, receive)
}

pub(super) fn poll_read_vectored<S: StreamSocket>(
    socket: &S,
    cx: &Context<'_>,
    waiter: Waiter<'_>,
    buffers: &mut [IoSliceMut<'_>],
) -> Poll<io::Result<usize>> {
    let receive = |fd: BorrowedFd<'_>| receive_vectored::<S>(fd, buffers);
    socket
        .registration()
        .poll_io(cx, Direction::Read, waiter, receive)
}

#[inline]
pub(super) fn poll_write<S: StreamSocket>(
    socket: &S,
    cx: &Context<'_>,
    waiter: Waiter<'_>,
    buffer: &[u8],
) -> Poll<io::Result<usize>> {
    let send = |fd: BorrowedFd<'_>| send(fd, buffer);
    socket
        .registration()
        .poll_io(cx, Direction::Write, waiter, send)
}

pub(super) fn poll_write_vectored<S: StreamSocket>(
    socket: &S,
    cx: &Context<'_>,
    waiter: Waiter<'_>,
    buffers: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let send = |fd: BorrowedFd<'_>| send_vectored(fd, buffers);
    socket
        .registration()
        .poll_io(cx, Direction::Write, waiter, send)
}

pub(super) fn try_read<S: StreamSocket>(socket: &S, buffer: &mut [u8]) -> io::Result<usize> {
    socket
        .registration()
        .try_io(Directions::READ, |fd| receive::<S>(fd, buffer))
}

pub(super) fn try_read_vectored<S: StreamSocket>(
    socket: &S,
    buffers: &mut [IoSliceMut<'_>],
) -> io::Result<usize> {
    socket
        .registration()
        .try_io(Directions::READ, |fd| receive_vectored::<S>(fd, buffers))
}

pub(super) fn try_write<S: StreamSocket>(socket: &S, buffer: &[u8]) -> io::Result<usize> {
    socket
        .registration()
        .try_io(Directions::WRITE, |fd| send(fd, buffer))
}

pub(super) fn try_write_vectored<S: StreamSocket>(
    socket: &S,
    buffers: &[IoSlice<'_>],
) -> io::Result<usize> {
    socket
        .registration()
        .try_io(Directions::WRITE, |fd| send_vectored(fd, buffers))
}

/// Receives without taking. What is left in the socket says nothing about the next read.
pub(super) async fn peek<S: StreamSocket>(socket: &S, buffer: &mut [u8]) -> io::Result<usize> {
    WithTicket::new(Direction::Read, |cx, slot| {
        let peek =
            |fd: BorrowedFd<'_>| sys::socket::peek(fd, buffer).map(Completion::may_have_more);
        socket
            .registration()
            .poll_io(cx, Direction::Read, Waiter::Ticket(slot), peek)
    })
    .await
}

/// Shuts down writing; a connection that the peer has reset needs no more.
pub(super) fn close_write<S: StreamSocket>(socket: &S) -> io::Result<()> {
    match socket.registration().socket().shutdown(Shutdown::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

#[inline]
fn receive<S: StreamSocket>(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<Completion<usize>> {
    sys::socket::recv(fd, buffer).map(|moved| received::<S>(moved, buffer.len()))
}

fn receive_vectored<S: StreamSocket>(
    fd: BorrowedFd<'_>,
    buffers: &mut [IoSliceMut<'_>],
) -> io::Result<Completion<usize>> {
    let taken = buffers.iter().take(MAX_SLICES);
    let room = taken.map(|buffer| buffer.len()).sum();
    sys::socket::recv_vectored(fd, buffers).map(|moved| received::<S>(moved, room))
}

/// A read of `moved` bytes where there was room for `room`.
#[inline]
fn received<S: StreamSocket>(moved: usize, room: usize) -> Completion<usize> {
    if S::SHORT_READ_DRAINS {
        Completion::of_stream(moved, room)
    } else {
        Completion {
            value: moved,
            bytes: moved,
            after: After::MayHaveMore,
        }
    }
}

#[inline]
fn send(fd: BorrowedFd<'_>, buffer: &[u8]) -> io::Result<Completion<usize>> {
    sys::socket::send(fd, buffer).map(|moved| Completion::of_stream(moved, buffer.len()))
}

fn send_vectored(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<Completion<usize>> {
    let taken = buffers.iter().take(MAX_SLICES);
    let room = taken.map(|buffer| buffer.len()).sum();
    sys::socket::send_vectored(fd, buffers).map(|moved| Completion::of_stream(moved, room))
}

/// Implements reading for a type that leads to a [`StreamSocket`].
macro_rules! impl_read {
    ([$($generics:tt)*] $type:ty, $waiter:expr, |$this:ident| $socket:expr) => {
        const _: () = {
            use std::io::{IoSliceMut, Result};
            use std::pin::Pin;
            use std::task::{Context, Poll};

            impl<$($generics)*> futures_io::AsyncRead for $type {
                #[inline]
                fn poll_read(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    buffer: &mut [u8],
                ) -> Poll<Result<usize>> {
                    let $this = self.get_mut();
                    $crate::net::stream_io::poll_read($socket, cx, $waiter, buffer)
                }

                fn poll_read_vectored(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    buffers: &mut [IoSliceMut<'_>],
                ) -> Poll<Result<usize>> {
                    let $this = self.get_mut();
                    $crate::net::stream_io::poll_read_vectored($socket, cx, $waiter, buffers)
                }
            }
        };
    };
}

/// Implements writing for a type that leads to a [`StreamSocket`].
macro_rules! impl_write {
    ([$($generics:tt)*] $type:ty, $waiter:expr, |$this:ident| $socket:expr) => {
        const _: () = {
            use std::io::{IoSlice, Result};
            use std::pin::Pin;
            use std::task::{Context, Poll};

            impl<$($generics)*> futures_io::AsyncWrite for $type {
                #[inline]
                fn poll_write(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    buffer: &[u8],
                ) -> Poll<Result<usize>> {
                    let $this = self.get_mut();
                    $crate::net::stream_io::poll_write($socket, cx, $waiter, buffer)
                }

                fn poll_write_vectored(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    buffers: &[IoSlice<'_>],
                ) -> Poll<Result<usize>> {
                    let $this = self.get_mut();
                    $crate::net::stream_io::poll_write_vectored($socket, cx, $waiter, buffers)
                }

                /// Does nothing: there is no buffer outside the kernel.
                fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
                    Poll::Ready(Ok(()))
                }

                /// Shuts down writing.
                fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
                    let $this = self.get_mut();
                    Poll::Ready($crate::net::stream_io::close_write($socket))
                }
            }
        };
    };
}

pub(super) use {impl_read, impl_write};

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::net::UnixStream;
    use std::task::Waker;

    use socket2::{MsgHdr, SockRef};

    use super::*;

    /// A Unix stream socket.
    struct Unix(Registration);

    impl StreamSocket for Unix {
        const SHORT_READ_DRAINS: bool = false;

        fn registration(&self) -> &Registration {
            &self.0
        }
    }

    /// Sends one byte, and with it a descriptor.
    fn send_with_descriptor(socket: &UnixStream) {
        let fd = socket.as_raw_fd().to_ne_bytes();
        let mut control = Vec::new();
        // `struct cmsghdr`, with its length and that of its padding.
        control.extend((size_of::<libc::cmsghdr>() + fd.len()).to_ne_bytes());
        control.extend(libc::SOL_SOCKET.to_ne_bytes());
        control.extend(libc::SCM_RIGHTS.to_ne_bytes());
        control.extend(fd);
        control.resize(
            control.len().next_multiple_of(align_of::<libc::cmsghdr>()),
            0,
        );
        let buffers = [IoSlice::new(b"1")];
        let message = MsgHdr::new().with_buffers(&buffers).with_control(&control);
        assert_eq!(SockRef::from(socket).sendmsg(&message, 0).unwrap(), 1);
    }

    #[test]
    fn a_short_read_of_a_unix_stream_is_not_its_end() {
        crate::block_on(async {
            let (mut peer, socket) = UnixStream::pair().unwrap();
            socket.set_nonblocking(true).unwrap();
            let socket = Unix(Registration::from_foreign_fd(socket.into()));
            let cx = Context::from_waker(Waker::noop());
            let mut buffer = [0; 10];
            // Registration, so that readiness is known by events alone.
            assert!(poll_read(&socket, &cx, Waiter::Exclusive, &mut buffer).is_pending());
            send_with_descriptor(&peer);
            peer.write_all(b"234567890").unwrap();
            poll_fn(|cx| socket.0.poll_ready(cx, Direction::Read, Waiter::Exclusive))
                .await
                .unwrap();
            let mut read = || match poll_read(&socket, &cx, Waiter::Exclusive, &mut buffer) {
                Poll::Ready(result) => result.unwrap(),
                Poll::Pending => panic!("bytes are there, and no event will come"),
            };
            assert_eq!([read(), read()], [1, 9]);
        });
    }
}
