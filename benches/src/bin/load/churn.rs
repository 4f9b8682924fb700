//! Connections that live for one request.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::connection::{Connection, Pattern};

const SIZE: usize = 64;

const PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// Connects, sends, receives and closes over and over, some connections at a time.
pub(crate) struct Churn {
    address: SocketAddr,
    epoll: OwnedFd,
    pattern: Pattern,
    buffer: Vec<u8>,
}

impl Churn {
    pub(crate) fn new(address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            address,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            pattern: Pattern::new(),
            buffer: vec![0; 2 * SIZE],
        })
    }

    /// Goes on for `duration`, then waits until the last `concurrency` ones are done; returns how many there were.
    pub(crate) fn run(&mut self, concurrency: usize, duration: Duration) -> io::Result<u64> {
        let end = Instant::now() + duration;
        let mut connections = Vec::with_capacity(concurrency);
        for place in 0..concurrency {
            connections.push(Some(self.start(place)?));
        }
        let mut events = Vec::with_capacity(concurrency);
        let (mut open, mut done) = (concurrency, 0);
        while open > 0 {
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&PATIENCE))?;
            if events.is_empty() {
                return Err(io::Error::other(format!(
                    "{open} connections remain unanswered"
                )));
            }
            for event in events.drain(..) {
                let place = usize::try_from(event.data.u64()).expect("a place in the list");
                let connection = connections[place].as_mut().expect("it is open");
                connection.receive(&self.pattern, &mut self.buffer)?;
                if !connection.is_quiet() {
                    continue;
                }
                done += 1;
                connections[place] = None;
                if Instant::now() < end {
                    connections[place] = Some(self.start(place)?);
                } else {
                    open -= 1;
                }
            }
        }
        Ok(done)
    }

    fn start(&self, place: usize) -> io::Result<Connection> {
        let mut connection = Connection::open(self.address)?;
        connection.allow(SIZE);
        connection.send(&self.pattern)?;
        let token = epoll::EventData::new_u64(place as u64);
        let interest = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &connection, token, interest)?;
        Ok(connection)
    }
}
