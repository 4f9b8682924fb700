//! A TCP socket before it connects or listens, for setting options in between.
//!
//! Called by users and by `TcpListener::bind` and `TcpStream::connect`; calls `socket2`.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

use super::listener::TcpListener;
use super::options::impl_socket;
use super::stream::TcpStream;
use crate::io::registration::Registration;
use crate::net::addr::to_inet;

/// A TCP socket that is not connected yet, with its options.
///
/// # Examples
///
/// ```
/// use runtime::net::TcpSocket;
///
/// # runtime::block_on(async {
/// let socket = TcpSocket::new_v4()?;
/// socket.set_reuseaddr(true)?;
/// socket.bind("127.0.0.1:0".parse().unwrap())?;
/// let listener = socket.listen(1024)?;
/// # drop(listener);
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub struct TcpSocket {
    pub(super) registration: Registration,
}

impl TcpSocket {
    /// Opens a socket for IPv4.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`, above all `EMFILE`.
    pub fn new_v4() -> io::Result<Self> {
        Self::new(Domain::IPV4)
    }

    /// Opens a socket for IPv6.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`, above all `EMFILE`.
    pub fn new_v6() -> io::Result<Self> {
        Self::new(Domain::IPV6)
    }

    pub(super) fn for_address(address: SocketAddr) -> io::Result<Self> {
        Self::new(Domain::for_address(address))
    }

    fn new(domain: Domain) -> io::Result<Self> {
        let socket = Socket::new_raw(
            domain,
            Type::STREAM.nonblocking().cloexec(),
            Some(Protocol::TCP),
        )?;
        Ok(Self {
            registration: Registration::new(socket.into()),
        })
    }

    /// Takes over an unconnected socket of the standard library's type and makes it nonblocking.
    ///
    /// # Errors
    ///
    /// Those of `ioctl(2)`, `FIONBIO`.
    pub fn from_std_stream(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            registration: Registration::from_foreign_fd(stream.into()),
        })
    }

    /// Binds the socket to a local address.
    ///
    /// # Errors
    ///
    /// Those of `bind(2)`: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`.
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        self.registration.socket().bind(&address.into())
    }

    /// Connects the socket.
    ///
    /// # Errors
    ///
    /// Those of `connect(2)`: `ConnectionRefused`, `TimedOut` (the kernel's own, after minutes),
    /// `NetworkUnreachable`.
    ///
    /// # Panics
    ///
    /// When polled outside of a runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket.
    pub async fn connect(self, address: SocketAddr) -> io::Result<TcpStream> {
        let started = self.registration.socket().connect(&address.into());
        let stream = TcpStream::from_registration(self.registration);
        match started {
            Ok(()) => Ok(stream),
            Err(error) if is_in_progress(&error) => {
                stream.connected().await?;
                Ok(stream)
            }
            Err(error) => Err(error),
        }
    }

    /// Listens, with room for `backlog` connections that were not accepted yet.
    ///
    /// The kernel caps the backlog at `/proc/sys/net/core/somaxconn`.
    ///
    /// # Errors
    ///
    /// Those of `listen(2)`: `AddrInUse`.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        self.registration
            .socket()
            .listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(TcpListener::from_registration(self.registration))
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        to_inet(&self.registration.socket().local_addr()?)
    }
}

/// Defines pairs for the buffer sizes, which are `u32` here and `usize` in `socket2`.
macro_rules! buffers {
    ($($option:literal: $set:ident, $get:ident;)*) => {
        impl TcpSocket {$(
            #[doc = concat!("Sets the size of a buffer in the kernel, in bytes (`", $option, "`). The kernel doubles and caps it.")]
            ///
            /// # Errors
            ///
            /// Those of `setsockopt(2)`.
            pub fn $set(&self, bytes: u32) -> io::Result<()> {
                self.registration.socket().$set(bytes as usize)
            }

            #[doc = concat!("The size of a buffer in the kernel, in bytes (`", $option, "`): twice what was set.")]
            ///
            /// # Errors
            ///
            /// Those of `getsockopt(2)`.
            pub fn $get(&self) -> io::Result<u32> {
                let bytes = self.registration.socket().$get()?;
                Ok(u32::try_from(bytes).unwrap_or(u32::MAX))
            }
        )*}
    };
}

buffers! {
    "SO_SNDBUF": set_send_buffer_size, send_buffer_size;
    "SO_RCVBUF": set_recv_buffer_size, recv_buffer_size;
}

/// Whether `connect` has begun what a later event will end; a signal leaves it in progress too.
fn is_in_progress(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}

impl_socket!(TcpSocket, "address": local_addr);
