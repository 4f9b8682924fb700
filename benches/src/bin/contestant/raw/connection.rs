//! One connection of `raw`'s echo server.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use super::socket::{receive, send};

/// Reads from one connection before the others get their turn.
const BUDGET: u32 = 31;

/// What a connection needs next.
pub(super) enum Next {
    /// An event of the kernel.
    Event,
    /// Another turn: its budget is used up.
    Turn,
    /// To be closed.
    Close,
}

/// A client.
pub(super) struct Connection {
    fd: OwnedFd,
    /// What the kernel did not take yet; nothing is read meanwhile.
    unsent: Vec<u8>,
    /// The kernel has told of the end of the stream, or of an error: a short read proves nothing then.
    has_hung_up: bool,
    /// It is in the list of those that wait for their next turn.
    pub(super) is_listed: bool,
}

impl Connection {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            unsent: Vec::new(),
            has_hung_up: false,
            is_listed: false,
        }
    }

    /// Takes note of an event's flags.
    pub(super) fn on_event(&mut self, events: u32) {
        let hang_up = libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;
        self.has_hung_up |= events & hang_up.cast_unsigned() != 0;
    }

    /// Sends back what has come, as far as the kernel and the budget let it.
    pub(super) fn serve(&mut self, buffer: &mut [u8]) -> Next {
        match self.try_serve(buffer) {
            Ok(next) => next,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Next::Event,
            Err(_) => Next::Close,
        }
    }

    fn try_serve(&mut self, buffer: &mut [u8]) -> io::Result<Next> {
        while !self.unsent.is_empty() {
            let sent = send(&self.fd, &self.unsent)?;
            self.unsent.drain(..sent);
        }
        for _ in 0..BUDGET {
            let length = receive(&self.fd, buffer)?;
            if length == 0 {
                return Ok(Next::Close);
            }
            self.send_all(&buffer[..length])?;
            if length < buffer.len() && !self.has_hung_up {
                return Ok(Next::Event);
            }
        }
        Ok(Next::Turn)
    }

    /// Sends; keeps what the kernel does not take.
    fn send_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match send(&self.fd, bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) => {
                    self.unsent.extend_from_slice(bytes);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
