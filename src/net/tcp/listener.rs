//! A listener: it takes connections, and survives what the kernel answers when it cannot.
//!
//! Called by users; calls `io::registration` to wait and `sys::socket` to accept.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;

use super::options::impl_socket;
use super::socket::TcpSocket;
use super::stream::TcpStream;
use crate::io::registration::{Registration, WithTicket};
use crate::log;
use crate::net::addr::{ToSocketAddrs, to_inet};
use crate::net::resolve::first_success;
use crate::reactor::source::{Completion, Direction, Waiter};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sys;

/// How many connections may wait to be accepted, unless [`TcpSocket::listen`] says otherwise. The kernel
/// caps it at `/proc/sys/net/core/somaxconn`, which is 4,096 too unless changed.
const BACKLOG: u32 = 4096;

/// How long to wait before the next try when descriptors or memory have run out.
const REST: Duration = Duration::from_millis(50);

/// A TCP socket that listens for connections.
///
/// When the process or the system has run out of descriptors or memory (`EMFILE`, `ENFILE`, `ENOBUFS`,
/// `ENOMEM`), accepting backs off for 50 ms and tries again; connections that wait in the backlog are served
/// as soon as there is room, also if no new one arrives. One `tracing` warning is emitted per episode,
/// which ends with the next connection that is accepted.
/// Connections that died before they were accepted (`ECONNABORTED` and the network errors that
/// `accept(2)` lists) are skipped.
///
/// # Examples
///
/// ```
/// use runtime::net::{TcpListener, TcpStream};
///
/// # runtime::block_on(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (server, peer) = listener.accept().await?;
/// assert_eq!(peer, client.local_addr()?);
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub struct TcpListener {
    pub(super) registration: Registration,
    /// The warning about exhaustion was given and no connection was accepted since.
    is_warned: AtomicBool,
}

impl TcpListener {
    /// Listens on the first of the addresses that can be bound, with a backlog of 4,096.
    ///
    /// `SO_REUSEADDR` is set, so that a server can restart while old connections linger. Port 0 lets the
    /// kernel choose; [`local_addr`](Self::local_addr) tells. [`TcpSocket`] offers more options.
    ///
    /// # Errors
    ///
    /// The last address's error: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` (ports below 1024),
    /// `EMFILE`; or that of resolving a name.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what it opened.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        first_success(address, async |address| {
            let socket = TcpSocket::for_address(address)?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        })
        .await
    }

    pub(super) fn from_registration(registration: Registration) -> Self {
        Self {
            registration: registration.level_triggered(),
            is_warned: AtomicBool::new(false),
        }
    }

    /// Accepts a connection.
    ///
    /// Several tasks may accept at once; each connection goes to one of them.
    ///
    /// # Errors
    ///
    /// Those of `accept(2)` that are neither transient nor exhaustion (see the type), and those of
    /// registering with the runtime: `ENOSPC`, and `ENOMEM` if memory is so short that accepting cannot even back off.
    ///
    /// # Panics
    ///
    /// When polled outside of a runtime.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken no connection.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        WithTicket::new(Direction::Read, |cx, slot| {
            self.poll_accept_as(cx, Waiter::Ticket(slot))
        })
        .await
    }

    /// Polls for a connection; see [`accept`](Self::accept).
    ///
    /// # Errors
    ///
    /// Those of [`accept`](Self::accept).
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.poll_accept_as(cx, Waiter::Anonymous)
    }

    fn poll_accept_as(
        &self,
        cx: &Context<'_>,
        mut waiter: Waiter<'_>,
    ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            let accept = |fd: BorrowedFd<'_>| {
                let (fd, peer) = sys::socket::accept(fd)?;
                Ok(Completion::level_reported((fd, to_inet(&peer)?)))
            };
            let result = self
                .registration
                .poll_io(cx, Direction::Read, waiter.reborrow(), accept);
            match ready!(result) {
                Ok((fd, peer)) => {
                    self.is_warned.store(false, Ordering::Relaxed);
                    let stream = TcpStream::from_registration(Registration::new(fd));
                    return Poll::Ready(Ok((stream, peer)));
                }
                Err(error) if is_transient(&error) => {}
                Err(error) if is_exhaustion(&error) => self.back_off(error)?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn back_off(&self, error: io::Error) -> io::Result<()> {
        if !self.is_warned.swap(true, Ordering::Relaxed) {
            log::accept_backs_off(&error);
        }
        self.registration
            .back_off(Direction::Read, REST)
            .map_err(|_| error)
    }

    /// The connections as a stream that never ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::StreamExt;
    /// use runtime::net::{TcpListener, TcpStream};
    ///
    /// # runtime::block_on(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let _client = TcpStream::connect(listener.local_addr()?).await?;
    /// let connection = listener.incoming().next().await;
    /// assert!(connection.is_some_and(|connection| connection.is_ok()));
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// The address that the listener is bound to.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        to_inet(&self.registration.socket().local_addr()?)
    }

    /// Takes over a listener of the standard library and makes it nonblocking.
    ///
    /// # Errors
    ///
    /// Those of `ioctl(2)`, `FIONBIO`.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self::from_registration(Registration::from_foreign_fd(
            listener.into(),
        )))
    }

    /// Hands the listener to the standard library. It stays nonblocking: call
    /// [`set_nonblocking(false)`](std::net::TcpListener::set_nonblocking) if that is not wanted.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn into_std(self) -> io::Result<std::net::TcpListener> {
        Ok(self.registration.into_fd().into())
    }
}

/// Whether only the one connection is affected, which the kernel has taken off the backlog already.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
        )
    )
}

/// Whether trying again makes sense once others have given something back.
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

impl TryFrom<std::net::TcpListener> for TcpListener {
    type Error = io::Error;

    /// As [`TcpListener::from_std`] does.
    fn try_from(listener: std::net::TcpListener) -> io::Result<Self> {
        Self::from_std(listener)
    }
}

impl_socket!(TcpListener, "address": local_addr);

/// The stream that [`TcpListener::incoming`] makes.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Stream for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let connection = ready!(self.listener.poll_accept(cx));
        Poll::Ready(Some(connection.map(|(stream, _)| stream)))
    }
}
