//! One connection to an echo server, and the bytes that go over it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};

/// What a connection can send or receive with one system call.
pub(crate) const CHUNK: usize = 64 * 1024;

/// The bytes of every stream: byte `n` is `n` modulo a prime, so that a lost or repeated request shows.
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    const PERIOD: usize = 251;

    pub(crate) fn new() -> Self {
        let byte = |place| u8::try_from(place % Self::PERIOD).expect("the period fits a byte");
        Self((0..Self::PERIOD + CHUNK).map(byte).collect())
    }

    /// The bytes from `place` in a stream; at most `CHUNK` of them.
    fn bytes(&self, place: usize, length: usize) -> &[u8] {
        &self.0[place % Self::PERIOD..][..length.min(CHUNK)]
    }
}

/// A connected socket, and how far its stream has gone.
pub(crate) struct Connection {
    socket: OwnedFd,
    /// The stream may be sent up to here.
    allowed: usize,
    sent: usize,
    received: usize,
}

/// Connects, which blocks.
pub(crate) fn connect_to(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &address)?;
    Ok(socket)
}

impl Connection {
    /// Connects, which blocks; nothing else will.
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            socket: connect_to(address)?,
            allowed: 0,
            sent: 0,
            received: 0,
        })
    }

    /// Lets small requests leave before earlier ones are acknowledged.
    pub(crate) fn never_delay(&self) -> io::Result<()> {
        Ok(set_tcp_nodelay(&self.socket, true)?)
    }

    /// Lets `length` more bytes be sent.
    pub(crate) fn allow(&mut self, length: usize) {
        self.allowed = self.allowed.saturating_add(length);
    }

    /// How many bytes have come back.
    pub(crate) fn received(&self) -> usize {
        self.received
    }

    /// Whether everything that may be sent has come back.
    pub(crate) fn is_quiet(&self) -> bool {
        self.received == self.allowed
    }

    /// Sends what may be sent and the kernel takes.
    pub(crate) fn send(&mut self, pattern: &Pattern) -> io::Result<()> {
        while self.sent < self.allowed && self.send_once(pattern, CHUNK)? {}
        Ok(())
    }

    /// Sends at most `length` bytes with one call; returns whether the kernel took any.
    pub(crate) fn send_once(&mut self, pattern: &Pattern, length: usize) -> io::Result<bool> {
        let bytes = pattern.bytes(self.sent, length.min(self.allowed - self.sent));
        match send(
            &self.socket,
            bytes,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        ) {
            Ok(length) => {
                self.sent += length;
                Ok(true)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Receives and checks all that has come.
    pub(crate) fn receive(&mut self, pattern: &Pattern, buffer: &mut [u8]) -> io::Result<()> {
        // A short read proves that nothing is left.
        while self.receive_once(pattern, buffer, RecvFlags::DONTWAIT)? == buffer.len() {}
        Ok(())
    }

    /// Receives and checks what one call brings; returns its length, 0 if there is nothing yet.
    pub(crate) fn receive_once(
        &mut self,
        pattern: &Pattern,
        buffer: &mut [u8],
        flags: RecvFlags,
    ) -> io::Result<usize> {
        let length = match recv(&self.socket, &mut *buffer, flags) {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((length, _)) => length,
            Err(Errno::AGAIN) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let is_due = self.received + length <= self.sent;
        if !is_due || buffer[..length] != *pattern.bytes(self.received, length) {
            return Err(io::Error::other("other bytes came back than were sent"));
        }
        self.received += length;
        Ok(length)
    }

    /// Receives what one call brings without looking at it; returns its length, 0 if there is nothing yet.
    ///
    /// The kernel does not even copy it.
    pub(crate) fn discard(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = match recv(&self.socket, buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
            Ok((_, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((_, length)) => length,
            Err(Errno::AGAIN) => 0,
            Err(error) => return Err(error.into()),
        };
        self.received += length;
        Ok(length)
    }

    /// Waits until everything that was sent has come back, for as long as the socket's own limit.
    pub(crate) fn await_quiet(&mut self, pattern: &Pattern, buffer: &mut [u8]) -> io::Result<()> {
        while !self.is_quiet() {
            if self.receive_once(pattern, buffer, RecvFlags::empty())? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.send(pattern)?;
        }
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
