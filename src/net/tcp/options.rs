//! A TCP connection's addresses and options.
//!
//! Called by users; calls `socket2`.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use super::stream::TcpStream;
use crate::net::addr::to_inet;

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

    /// Takes and clears the pending error (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.registration.socket().take_error()
    }

    /// Shuts down reading, writing, or both, for all handles of the connection.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`: `NotConnected` when the peer has reset the connection.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.registration.socket().shutdown(how)
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.registration.socket().tcp_nodelay()
    }

    /// Sets whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.registration.socket().set_tcp_nodelay(nodelay)
    }

    /// The time to live of packets (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.registration.socket().ttl_v4()
    }

    /// Sets the time to live of packets (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`: `InvalidInput` outside of 1 to 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.registration.socket().set_ttl_v4(ttl)
    }

    /// How long closing waits for unsent bytes (`SO_LINGER`), in whole seconds; `None`: not at all,
    /// the kernel sends them in the background.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.registration.socket().linger()
    }

    /// Sets how long closing waits for unsent bytes (`SO_LINGER`), in whole seconds.
    ///
    /// Closing then **blocks the thread**, and with it every task; only zero, which resets the
    /// connection instead ([`set_zero_linger`](Self::set_zero_linger)), does not.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.registration.socket().set_linger(linger)
    }

    /// Makes closing reset the connection and drop unsent bytes (`SO_LINGER` of zero).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        self.set_linger(Some(Duration::ZERO))
    }

    /// Whether an idle connection is probed (`SO_KEEPALIVE`).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn keepalive(&self) -> io::Result<bool> {
        self.registration.socket().keepalive()
    }

    /// Sets whether an idle connection is probed (`SO_KEEPALIVE`), at the system's intervals;
    /// `socket2::SockRef::from(&stream)` can set others.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_keepalive(&self, keepalive: bool) -> io::Result<()> {
        self.registration.socket().set_keepalive(keepalive)
    }
}
