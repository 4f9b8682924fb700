//! Connected pairs, and what is in them.
//!
//! They are Unix sockets in a `TcpStream`'s clothes: what is written is there at once, and a program that makes
//! thousands of them a second leaves no ports behind. Real connections are the `soak` program's.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::{self, Shutdown};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use runtime::io::{AsyncRead, AsyncWrite};
use runtime::net::TcpStream;
use socket2::Socket;

use super::machine::Machine;
use super::op::Op;

/// Little, so that a long write or a few short ones fill it; the kernel gives twice as much.
const SEND_BUFFER: usize = 4096;
/// So many bytes are moved for each unit of a length.
const UNIT: usize = 64;
const MOST: usize = 1 + UNIT * 255;

thread_local! {
    /// How many ends are open.
    static OPEN: Cell<usize> = const { Cell::new(0) };
}

/// Both ends, as long as the program keeps them.
#[derive(Debug)]
pub(super) struct Pair([Option<Rc<End>>; 2]);

/// One end of a pair.
#[derive(Debug)]
pub(super) struct End {
    stream: TcpStream,
    outgoing: Rc<Wire>,
    incoming: Rc<Wire>,
}

/// What one end has sent to the other.
#[derive(Debug, Default)]
pub(super) struct Wire {
    written: Cell<usize>,
    read: Cell<usize>,
    /// There will be no more.
    is_ended: Cell<bool>,
    /// Nobody will read it.
    is_broken: Cell<bool>,
}

impl Wire {
    fn held(&self) -> usize {
        self.written.get() - self.read.get()
    }

    /// Whether a reader has something to find: bytes, or the end.
    pub(super) fn is_readable(&self) -> bool {
        self.held() > 0 || self.is_ended.get()
    }

    /// Whether a writer certainly has room, or an error to find. A full Unix socket does not tell when its own end is
    /// shut down.
    pub(super) fn is_writable(&self) -> bool {
        self.held() == 0 || self.is_broken.get()
    }

    /// Checks what a write said.
    fn wrote(&self, result: io::Result<usize>) {
        match result {
            Ok(length) => {
                assert!(length > 0 && !self.is_ended.get());
                self.written.set(self.written.get() + length);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => assert!(self.is_ended.get() || self.is_broken.get(), "{error}"),
        }
    }

    /// Checks what a read said.
    fn has_read(&self, result: io::Result<usize>, buffer: &[u8]) {
        match result {
            Ok(0) => assert!(self.held() == 0 && self.is_ended.get(), "an early end"),
            Ok(length) => {
                assert!(length <= self.held());
                let expected = (self.read.get()..).map(content);
                assert!(buffer[..length].iter().copied().eq(expected.take(length)));
                self.read.set(self.read.get() + length);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // The other end was dropped with unread bytes.
            Err(error) => assert!(self.is_ended.get(), "{error}"),
        }
    }

    fn next_bytes(&self, length: u8) -> Vec<u8> {
        let start = self.written.get();
        let length = room(length);
        (start..start + length).map(content).collect()
    }
}

/// The byte at a place of a stream.
fn content(place: usize) -> u8 {
    (place ^ place >> 8).to_le_bytes()[0]
}

/// How many bytes a length stands for; at least one.
fn room(length: u8) -> usize {
    1 + usize::from(length) * UNIT
}

impl Pair {
    fn new() -> Self {
        let (near, far) = UnixStream::pair().expect("descriptors are there");
        let [there, back] = [Rc::<Wire>::default(), Rc::default()];
        let near = End::new(near, Rc::clone(&there), Rc::clone(&back));
        let far = End::new(far, back, there);
        Self([Some(Rc::new(near)), Some(Rc::new(far))])
    }

    /// Whether no end is open, neither in a register nor with a task.
    pub(super) fn are_all_dropped() -> bool {
        OPEN.get() == 0
    }
}

impl End {
    fn new(stream: UnixStream, outgoing: Rc<Wire>, incoming: Rc<Wire>) -> Self {
        let stream = Socket::from(OwnedFd::from(stream));
        let narrowed = stream.set_send_buffer_size(SEND_BUFFER);
        narrowed.expect("a socket's buffer can be small");
        let stream = net::TcpStream::from(stream);
        OPEN.set(OPEN.get() + 1);
        Self {
            stream: TcpStream::from_std(stream).expect("sockets can be nonblocking"),
            outgoing,
            incoming,
        }
    }

    pub(super) fn incoming(&self) -> Rc<Wire> {
        Rc::clone(&self.incoming)
    }

    pub(super) fn outgoing(&self) -> Rc<Wire> {
        Rc::clone(&self.outgoing)
    }

    pub(super) fn poll_read(&self, cx: &mut Context<'_>, length: u8) -> Poll<()> {
        let mut buffer = [0; MOST];
        let buffer = &mut buffer[..room(length)];
        let result = ready!(Pin::new(&mut &self.stream).poll_read(cx, buffer));
        self.incoming.has_read(result, buffer);
        Poll::Ready(())
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, length: u8) -> Poll<()> {
        let bytes = self.outgoing.next_bytes(length);
        let result = ready!(Pin::new(&mut &self.stream).poll_write(cx, &bytes));
        self.outgoing.wrote(result);
        Poll::Ready(())
    }

    fn try_read(&self, length: u8) {
        let mut buffer = [0; MOST];
        let buffer = &mut buffer[..room(length)];
        let result = self.stream.try_read(buffer);
        self.incoming.has_read(result, buffer);
    }

    fn try_write(&self, length: u8) {
        let bytes = self.outgoing.next_bytes(length);
        self.outgoing.wrote(self.stream.try_write(&bytes));
    }

    fn shut_down(&self) {
        // Where the other end is gone there is nothing to shut down.
        if self.stream.shutdown(Shutdown::Write).is_ok() {
            self.outgoing.is_ended.set(true);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        OPEN.set(OPEN.get() - 1);
        self.outgoing.is_ended.set(true);
        self.incoming.is_broken.set(true);
    }
}

impl Machine {
    pub(super) fn perform_on_pair(&self, op: Op) {
        match op {
            Op::NewPair { pair } => {
                let pair = &self.pairs[usize::from(pair) % self.pairs.len()];
                drop(pair.replace(Some(Pair::new())));
            }
            Op::TryWrite { end, length } => self.on_end(end, |end| end.try_write(length)),
            Op::TryRead { end, length } => self.on_end(end, |end| end.try_read(length)),
            Op::Shutdown { end } => self.on_end(end, End::shut_down),
            Op::DropEnd { end } => {
                let mut pair = self.pairs[usize::from(end / 2) % self.pairs.len()].borrow_mut();
                let end = pair
                    .as_mut()
                    .and_then(|pair| pair.0[usize::from(end % 2)].take());
                drop(pair);
                drop(end);
            }
            _ => {}
        }
    }

    fn on_end(&self, end: u8, call: impl FnOnce(&End)) {
        if let Some(end) = self.end_of_pair(end) {
            call(&end);
        }
    }

    pub(super) fn end_of_pair(&self, end: u8) -> Option<Rc<End>> {
        let pair = self.pairs[usize::from(end / 2) % self.pairs.len()].borrow();
        pair.as_ref()?.0[usize::from(end % 2)].clone()
    }
}
