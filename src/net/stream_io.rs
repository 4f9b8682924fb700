//! Reading and writing a registered stream socket, of TCP or another family.
//!
//! Called by the stream types and their halves; calls `io::registration` to wait and `sys::socket` to move bytes.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

use crate::io::registration::{Registration, WithTicket};
use crate::reactor::source::{After, Completion, Direction, Waiter};
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

/// The buffers of a read or a write, and the system call that fills or sends them.
pub(super) trait Transfer {
    const DIRECTION: Direction;

    /// How many bytes one call moves at most.
    fn room(&self) -> usize;

    /// Makes the call and gives the number of bytes that it moved.
    fn attempt(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize>;
}

impl Transfer for &mut [u8] {
    const DIRECTION: Direction = Direction::Read;

    #[inline]
    fn room(&self) -> usize {
        self.len()
    }

    #[inline]
    fn attempt(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        sys::socket::recv(socket, self)
    }
}

impl Transfer for &mut [IoSliceMut<'_>] {
    const DIRECTION: Direction = Direction::Read;

    fn room(&self) -> usize {
        let taken = self.iter().take(MAX_SLICES);
        taken.map(|buffer| buffer.len()).sum()
    }

    fn attempt(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        sys::socket::recv_vectored(socket, self)
    }
}

impl Transfer for &[u8] {
    const DIRECTION: Direction = Direction::Write;

    #[inline]
    fn room(&self) -> usize {
        self.len()
    }

    #[inline]
    fn attempt(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        sys::socket::send(socket, self)
    }
}

impl Transfer for &[IoSlice<'_>] {
    const DIRECTION: Direction = Direction::Write;

    fn room(&self) -> usize {
        let taken = self.iter().take(MAX_SLICES);
        taken.map(|buffer| buffer.len()).sum()
    }

    fn attempt(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        sys::socket::send_vectored(socket, self)
    }
}

/// Moves bytes as soon as the socket is ready.
#[inline]
pub(super) fn poll_transfer<S: StreamSocket, B: Transfer>(
    socket: &S,
    cx: &Context<'_>,
    waiter: Waiter<'_>,
    mut buffers: B,
) -> Poll<io::Result<usize>> {
    let attempt = |fd: BorrowedFd<'_>| attempt::<S, B>(fd, &mut buffers);
    socket
        .registration()
        .poll_io(cx, B::DIRECTION, waiter, attempt)
}

/// Moves bytes if the socket is ready now, and fails with `WouldBlock` otherwise.
pub(super) fn try_transfer<S: StreamSocket, B: Transfer>(
    socket: &S,
    mut buffers: B,
) -> io::Result<usize> {
    socket
        .registration()
        .try_io(B::DIRECTION.into(), |fd| attempt::<S, B>(fd, &mut buffers))
}

#[inline]
fn attempt<S: StreamSocket, B: Transfer>(
    fd: BorrowedFd<'_>,
    buffers: &mut B,
) -> io::Result<Completion<usize>> {
    let moved = buffers.attempt(fd)?;
    if S::SHORT_READ_DRAINS || B::DIRECTION == Direction::Write {
        return Ok(Completion::of_stream(moved, buffers.room()));
    }
    Ok(Completion {
        value: moved,
        bytes: moved,
        after: After::MayHaveMore,
    })
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
                    $crate::net::stream_io::poll_transfer($socket, cx, $waiter, buffer)
                }

                fn poll_read_vectored(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    buffers: &mut [IoSliceMut<'_>],
                ) -> Poll<Result<usize>> {
                    let $this = self.get_mut();
                    $crate::net::stream_io::poll_transfer($socket, cx, $waiter, buffers)
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
                    $crate::net::stream_io::poll_transfer($socket, cx, $waiter, buffer)
                }

                fn poll_write_vectored(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    buffers: &[IoSlice<'_>],
                ) -> Poll<Result<usize>> {
                    let $this = self.get_mut();
                    $crate::net::stream_io::poll_transfer($socket, cx, $waiter, buffers)
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
            assert!(poll_transfer(&socket, &cx, Waiter::Exclusive, &mut buffer[..]).is_pending());
            send_with_descriptor(&peer);
            peer.write_all(b"234567890").unwrap();
            poll_fn(|cx| socket.0.poll_ready(cx, Direction::Read, Waiter::Exclusive))
                .await
                .unwrap();
            let mut read = || match poll_transfer(&socket, &cx, Waiter::Exclusive, &mut buffer[..])
            {
                Poll::Ready(result) => result.unwrap(),
                Poll::Pending => panic!("bytes are there, and no event will come"),
            };
            assert_eq!([read(), read()], [1, 9]);
        });
    }
}
