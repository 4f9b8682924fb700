//! The options of TCP sockets, and what all socket types have in common.
//!
//! Called by users; calls `socket2` through `io::registration`.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use super::listener::TcpListener;
use super::socket::TcpSocket;
use super::stream::TcpStream;
use crate::net::addr::to_inet;

/// Implements what leads to the fd of a type with a registration, and `Debug` with the named addresses.
macro_rules! impl_socket {
    ($type:ident, $($field:literal: $address:ident),*) => {
        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.registration.expose_fd()
            }
        }

        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                std::os::fd::AsRawFd::as_raw_fd(&self.registration.expose_fd())
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($type))
                    $(.field($field, &self.$address().ok()))*
                    .field("fd", &self.registration)
                    .finish()
            }
        }
    };
}

pub(super) use impl_socket;

/// Defines methods that `socket2` has under another name, or under the same.
macro_rules! options {
    ($type:ident: $(
        $(#[$doc:meta])*
        $name:ident($($value:ident: $argument:ty)?) -> $result:ty => $call:ident;
    )*) => {
        impl $type {$(
            $(#[$doc])*
            pub fn $name(&self $(, $value: $argument)?) -> io::Result<$result> {
                self.registration.socket().$call($($value)?)
            }
        )*}
    };
}

options! {
    TcpSocket:
    /// Takes and clears the pending error (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    take_error() -> Option<io::Error> => take_error;

    /// Restricts the socket to one network interface, or lifts that (`SO_BINDTODEVICE`).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`: `ENODEV` for an unknown interface, `PermissionDenied`.
    bind_device(interface: Option<&[u8]>) -> () => bind_device;

    /// The interface that the socket is restricted to.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    device() -> Option<Vec<u8>> => device;

    /// Sets whether an address may be bound while old connections of it linger (`SO_REUSEADDR`).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    set_reuseaddr(value: bool) -> () => set_reuse_address;

    /// Whether an address may be bound while old connections of it linger (`SO_REUSEADDR`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    reuseaddr() -> bool => reuse_address;

    /// Sets whether several sockets may share the address, and its connections (`SO_REUSEPORT`).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    set_reuseport(value: bool) -> () => set_reuse_port;

    /// Whether several sockets may share the address, and its connections (`SO_REUSEPORT`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    reuseport() -> bool => reuse_port;

    /// Sets whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    set_nodelay(value: bool) -> () => set_tcp_nodelay;

    /// Whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    nodelay() -> bool => tcp_nodelay;

    /// Sets whether idle connections are probed (`SO_KEEPALIVE`).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    set_keepalive(value: bool) -> () => set_keepalive;

    /// Whether idle connections are probed (`SO_KEEPALIVE`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    keepalive() -> bool => keepalive;

    /// Sets how long closing waits for unsent bytes (`SO_LINGER`); see `TcpStream::set_linger`.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    set_linger(value: Option<Duration>) -> () => set_linger;

    /// How long closing waits for unsent bytes (`SO_LINGER`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    linger() -> Option<Duration> => linger;
}

options! {
    TcpStream:
    /// Takes and clears the pending error (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    take_error() -> Option<io::Error> => take_error;

    /// Shuts down reading, writing, or both, for all handles of the connection.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`: `NotConnected` when the peer has reset the connection.
    shutdown(how: Shutdown) -> () => shutdown;

    /// Whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    nodelay() -> bool => tcp_nodelay;

    /// Sets whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    set_nodelay(nodelay: bool) -> () => set_tcp_nodelay;

    /// The time to live of packets (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    ttl() -> u32 => ttl_v4;

    /// Sets the time to live of packets (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`: `InvalidInput` outside of 1 to 255.
    set_ttl(ttl: u32) -> () => set_ttl_v4;

    /// How long closing waits for unsent bytes (`SO_LINGER`), in whole seconds; `None`: not at all,
    /// the kernel sends them in the background.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    linger() -> Option<Duration> => linger;

    /// Sets how long closing waits for unsent bytes (`SO_LINGER`), in whole seconds.
    ///
    /// Closing then **blocks the thread**, and with it every task; only zero, which resets the
    /// connection instead ([`set_zero_linger`](Self::set_zero_linger)), does not.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    set_linger(linger: Option<Duration>) -> () => set_linger;

    /// Whether an idle connection is probed (`SO_KEEPALIVE`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    keepalive() -> bool => keepalive;

    /// Sets whether an idle connection is probed (`SO_KEEPALIVE`), at the system's intervals;
    /// `socket2::SockRef::from(&stream)` can set others.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    set_keepalive(keepalive: bool) -> () => set_keepalive;
}

options! {
    TcpListener:
    /// The time to live of packets (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    ttl() -> u32 => ttl_v4;

    /// Sets the time to live of packets (`IP_TTL`), which accepted connections inherit.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`: `InvalidInput` outside of 1 to 255.
    set_ttl(ttl: u32) -> () => set_ttl_v4;

    /// Takes and clears the pending error (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    take_error() -> Option<io::Error> => take_error;
}

/// Addresses and options.
impl TcpStream {
    /// The address of this end.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        to_inet(&self.registration.socket().local_addr()?)
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// Those of `getpeername(2)`: `NotConnected` when the peer has reset the connection.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        to_inet(&self.registration.socket().peer_addr()?)
    }

    /// Makes closing reset the connection and drop unsent bytes (`SO_LINGER` of zero).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        self.set_linger(Some(Duration::ZERO))
    }
}
