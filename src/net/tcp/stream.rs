//! A TCP connection.
//!
//! Called by users; calls `io::registration` to wait and `sys::socket` to move bytes.

use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::options::impl_socket;
use super::socket::TcpSocket;
use super::split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::io::registration::{Registration, WithTicket};
use crate::io::{Interest, Ready};
use crate::net::addr::ToSocketAddrs;
use crate::net::resolve::first_success;
use crate::net::stream_io::{self, StreamSocket, impl_read, impl_write};
use crate::reactor::source::{Completion, Direction, TicketSlot, Waiter};
use crate::time;

/// A TCP connection.
///
/// Reading and writing go through [`AsyncReadExt`](crate::io::AsyncReadExt) and
/// [`AsyncWriteExt`](crate::io::AsyncWriteExt), on the stream, on a shared reference to it, or on its
/// halves. Through `&TcpStream`, several tasks may read or write at once; each byte goes to one of
/// them. Closing through [`AsyncWriteExt::close`](crate::io::AsyncWriteExt::close) shuts down the
/// writing half; dropping the stream closes the connection.
///
/// Polling outside of a runtime panics.
///
/// # Examples
///
/// ```no_run
/// use runtime::io::{AsyncReadExt, AsyncWriteExt};
/// use runtime::net::TcpStream;
///
/// # async fn example() -> std::io::Result<()> {
/// let mut stream = TcpStream::connect("localhost:7000").await?;
/// stream.write_all(b"hello").await?;
/// let mut buffer = [0; 64];
/// let length = stream.read(&mut buffer).await?;
/// # Ok(())
/// # }
/// ```
pub struct TcpStream {
    pub(super) registration: Registration,
}

/// Making and unmaking.
impl TcpStream {
    /// Connects to the first of the addresses that answers.
    ///
    /// # Errors
    ///
    /// The last address's error: `ConnectionRefused`, `TimedOut` (the kernel's own, after minutes),
    /// `NetworkUnreachable`, `EMFILE`; or that of resolving a name.
    ///
    /// # Panics
    ///
    /// When polled outside of a runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what it opened.
    pub async fn connect(address: impl ToSocketAddrs) -> io::Result<Self> {
        first_success(address, async |address| {
            TcpSocket::for_address(address)?.connect(address).await
        })
        .await
    }

    /// Connects as [`connect`](Self::connect) does, within a time for the whole of it.
    ///
    /// # Errors
    ///
    /// `TimedOut` when the time has passed, and those of [`connect`](Self::connect).
    ///
    /// # Panics
    ///
    /// When polled outside of a runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what it opened.
    pub async fn connect_timeout(
        address: impl ToSocketAddrs,
        timeout: Duration,
    ) -> io::Result<Self> {
        match time::timeout(timeout, Self::connect(address)).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the connection was not made within {timeout:?}"),
            )),
        }
    }

    pub(super) fn from_registration(registration: Registration) -> Self {
        Self { registration }
    }

    /// Waits until the connection that `connect(2)` began is made.
    pub(super) async fn connected(&self) -> io::Result<()> {
        let outcome = |_: BorrowedFd<'_>| {
            if let Some(error) = self.take_error()? {
                return Err(error);
            }
            match self.peer_addr() {
                Ok(_) => Ok(Completion::may_have_more(())),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                Err(error) => Err(error),
            }
        };
        poll_fn(|cx| {
            self.registration
                .poll_io(cx, Direction::Write, Waiter::Exclusive, outcome)
        })
        .await
    }

    /// Takes over a connection of the standard library and makes it nonblocking.
    ///
    /// # Errors
    ///
    /// Those of `ioctl(2)`, `FIONBIO`.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self::from_registration(Registration::from_foreign_fd(
            stream.into(),
        )))
    }

    /// Hands the connection to the standard library. It stays nonblocking: call
    /// [`set_nonblocking(false)`](std::net::TcpStream::set_nonblocking) if that is not wanted.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        Ok(self.registration.into_fd().into())
    }

    /// Splits the stream into halves that borrow it, at no cost.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        (ReadHalf { stream: self }, WriteHalf { stream: self })
    }

    /// Splits the stream into halves that can go to different tasks.
    ///
    /// Dropping the write half shuts down writing; [`OwnedReadHalf::reunite`] undoes the split.
    #[must_use]
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        super::split::owned(self)
    }
}

/// Waiting.
impl TcpStream {
    /// Waits until one of the directions in `interest` is ready, and says which.
    ///
    /// # Errors
    ///
    /// Those of registering with the runtime (`ENOSPC`, `ENOMEM`).
    ///
    /// # Panics
    ///
    /// When polled outside of a runtime.
    ///
    /// # Cancel safety
    ///
    /// Readiness is not consumed: dropping the future loses nothing.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        let mut read = self.when_ready(Direction::Read);
        let mut write = self.when_ready(Direction::Write);
        poll_fn(|cx| {
            let readable = interest.is_readable() && is_done(Pin::new(&mut read), cx)?;
            let writable = interest.is_writable() && is_done(Pin::new(&mut write), cx)?;
            if !readable && !writable {
                return Poll::Pending;
            }
            Poll::Ready(Ok(Ready {
                readable,
                writable,
                read_closed: interest.is_readable() && self.registration.is_closed(Direction::Read),
                write_closed: interest.is_writable()
                    && self.registration.is_closed(Direction::Write),
            }))
        })
        .await
    }

    /// Waits until reading may succeed; see [`ready`](Self::ready).
    ///
    /// # Errors
    ///
    /// Those of registering with the runtime (`ENOSPC`, `ENOMEM`).
    ///
    /// # Panics
    ///
    /// When polled outside of a runtime.
    ///
    /// # Cancel safety
    ///
    /// Readiness is not consumed: dropping the future loses nothing.
    pub async fn readable(&self) -> io::Result<()> {
        self.when_ready(Direction::Read).await
    }

    /// Waits until writing may succeed; see [`ready`](Self::ready).
    ///
    /// # Errors
    ///
    /// Those of registering with the runtime (`ENOSPC`, `ENOMEM`).
    ///
    /// # Panics
    ///
    /// When polled outside of a runtime.
    ///
    /// # Cancel safety
    ///
    /// Readiness is not consumed: dropping the future loses nothing.
    pub async fn writable(&self) -> io::Result<()> {
        self.when_ready(Direction::Write).await
    }

    fn when_ready(&self, direction: Direction) -> impl Future<Output = io::Result<()>> + Unpin {
        WithTicket::new(direction, move |cx: &Context<'_>, slot: &mut TicketSlot| {
            self.registration
                .poll_ready(cx, direction, Waiter::Ticket(slot))
        })
    }

    /// Polls for reading to be possible; see [`readable`](Self::readable).
    ///
    /// # Errors
    ///
    /// Those of [`readable`](Self::readable).
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.registration
            .poll_ready(cx, Direction::Read, Waiter::Anonymous)
    }

    /// Polls for writing to be possible; see [`writable`](Self::writable).
    ///
    /// # Errors
    ///
    /// Those of [`writable`](Self::writable).
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.registration
            .poll_ready(cx, Direction::Write, Waiter::Anonymous)
    }

    /// Receives without taking: what is peeked at will be read again.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`, above all `ConnectionReset`.
    ///
    /// # Panics
    ///
    /// When polled outside of a runtime.
    ///
    /// # Cancel safety
    ///
    /// Nothing is taken, so nothing is lost.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        stream_io::peek(self, buffer).await
    }
}

/// Trying, without waiting.
impl TcpStream {
    /// Reads what is there.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing is; those of `recv(2)`.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        stream_io::try_transfer(self, buffer)
    }

    /// Reads what is there into several buffers, one after the other.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing is; those of `recvmsg(2)`.
    pub fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        stream_io::try_transfer(self, buffers)
    }

    /// Writes as much as fits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing does; `BrokenPipe` and others of `send(2)`.
    pub fn try_write(&self, buffer: &[u8]) -> io::Result<usize> {
        stream_io::try_transfer(self, buffer)
    }

    /// Writes as much as fits from several buffers, one after the other.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing does; `BrokenPipe` and others of `sendmsg(2)`.
    pub fn try_write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        stream_io::try_transfer(self, buffers)
    }

    /// Runs an operation of one's own on the socket, so that its `WouldBlock` is seen.
    ///
    /// It runs if one of the directions in `interest` may be ready, and must return `WouldBlock` only if
    /// the socket did, for all of these: they then count as not ready, and [`readable`](Self::readable) or
    /// [`writable`](Self::writable) waits for the next event.
    ///
    /// # Errors
    ///
    /// Those of the operation; `WouldBlock` when all the directions are known not to be ready.
    ///
    /// # Examples
    ///
    /// ```
    /// use runtime::io::Interest;
    /// use runtime::net::{TcpListener, TcpStream};
    /// use socket2::SockRef;
    ///
    /// # runtime::block_on(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (server, _) = listener.accept().await?;
    /// client.try_write(b"!")?;
    /// server.readable().await?;
    /// let mut byte = [std::mem::MaybeUninit::uninit()];
    /// let length = server.try_io(Interest::READABLE, || SockRef::from(&server).recv(&mut byte))?;
    /// assert_eq!(length, 1);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn try_io<R>(
        &self,
        interest: Interest,
        operation: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        self.registration.try_io(interest.directions(), |_| {
            operation().map(Completion::may_have_more)
        })
    }
}

impl StreamSocket for TcpStream {
    const SHORT_READ_DRAINS: bool = true;

    #[inline]
    fn registration(&self) -> &Registration {
        &self.registration
    }
}

impl_read!([] TcpStream, Waiter::Exclusive, |this| this);
impl_write!([] TcpStream, Waiter::Exclusive, |this| this);
impl_read!([] & TcpStream, Waiter::Anonymous, |this| *this);
impl_write!([] & TcpStream, Waiter::Anonymous, |this| *this);

/// Polls once; an error is the caller's.
fn is_done(
    future: Pin<&mut impl Future<Output = io::Result<()>>>,
    cx: &mut Context<'_>,
) -> io::Result<bool> {
    match future.poll(cx) {
        Poll::Ready(result) => result.map(|()| true),
        Poll::Pending => Ok(false),
    }
}

impl TryFrom<std::net::TcpStream> for TcpStream {
    type Error = io::Error;

    /// As [`TcpStream::from_std`] does.
    fn try_from(stream: std::net::TcpStream) -> io::Result<Self> {
        Self::from_std(stream)
    }
}

impl_socket!(TcpStream, "local": local_addr, "peer": peer_addr);
