//! Many connections that keep requests outstanding, in one edge-triggered epoll loop.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::connection::{CHUNK, Connection, Pattern};

/// How many connections are opened before the server has to have accepted them all: less than any backlog.
const OPENED_AT_ONCE: usize = 64;

/// How long a server may leave everything unanswered.
pub(crate) const PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// Connections of which some are active.
pub(crate) struct Clients {
    epoll: OwnedFd,
    pattern: Pattern,
    buffer: Vec<u8>,
    /// Bytes a request.
    size: usize,
    clients: Vec<Client>,
}

struct Client {
    connection: Connection,
    /// When each request that is not yet answered was made.
    asked: VecDeque<Instant>,
    /// Where in the stream the oldest of them ends.
    next_answer: usize,
}

/// What happened in one phase.
#[derive(Default)]
pub(crate) struct Tally {
    /// Requests that were made and answered.
    pub(crate) requests: u64,
    /// How long each took in ns, of those that were answered before the phase's time was over.
    pub(crate) latencies: Vec<u64>,
}

impl Clients {
    /// Opens `count` connections and makes one request on each, so that the server knows them all.
    pub(crate) fn open(address: SocketAddr, count: usize, size: usize) -> io::Result<Self> {
        let pattern = Pattern::new();
        let mut buffer = vec![0; CHUNK];
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut clients = Vec::with_capacity(count);
        while clients.len() < count {
            let first = clients.len();
            for _ in 0..OPENED_AT_ONCE.min(count - first) {
                clients.push(Client::open(address)?);
            }
            for client in &mut clients[first..] {
                client.connection.allow(size);
                client.connection.send(&pattern)?;
            }
            for client in &mut clients[first..] {
                client.connection.await_quiet(&pattern, &mut buffer)?;
                client.next_answer = client.connection.received() + size;
            }
        }
        let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        for (place, client) in clients.iter().enumerate() {
            let token = epoll::EventData::new_u64(place as u64);
            epoll::add(&epoll, &client.connection, token, interest)?;
        }
        Ok(Self {
            epoll,
            pattern,
            buffer,
            size,
            clients,
        })
    }

    /// Keeps `depth` requests outstanding on each of `active` connections for `duration`, then waits until all
    /// are answered. With no duration each makes `depth` requests.
    pub(crate) fn run(
        &mut self,
        active: usize,
        depth: usize,
        duration: Duration,
    ) -> io::Result<Tally> {
        let start = Instant::now();
        let end = start + duration;
        let mut tally = Tally::default();
        let mut unanswered = active * depth;
        for number in 0..active {
            // Spread evenly among the idle ones.
            let place = number * self.clients.len() / active;
            self.clients[place].ask(depth, self.size, start);
            self.clients[place].connection.send(&self.pattern)?;
        }
        let mut events = Vec::with_capacity(1024);
        while unanswered > 0 {
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&PATIENCE))?;
            if events.is_empty() {
                return Err(io::Error::other(format!(
                    "{unanswered} requests remain unanswered"
                )));
            }
            for event in events.drain(..) {
                let place = usize::try_from(event.data.u64()).expect("a place in the list");
                let client = &mut self.clients[place];
                client.connection.receive(&self.pattern, &mut self.buffer)?;
                let now = Instant::now();
                let answers = client.take_answers(self.size, |asked| {
                    if now < end {
                        tally.latencies.push(nanoseconds(now - asked));
                    }
                });
                tally.requests += answers as u64;
                if now < end {
                    client.ask(answers, self.size, now);
                } else {
                    unanswered -= answers;
                }
                client.connection.send(&self.pattern)?;
            }
        }
        Ok(tally)
    }
}

impl Client {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let connection = Connection::open(address)?;
        connection.never_delay()?;
        Ok(Self {
            connection,
            asked: VecDeque::new(),
            next_answer: 0,
        })
    }

    fn ask(&mut self, requests: usize, size: usize, now: Instant) {
        self.connection.allow(requests * size);
        self.asked.extend(std::iter::repeat_n(now, requests));
    }

    /// Forgets the requests that have been answered, tells when each was made, and returns how many they are.
    fn take_answers(&mut self, size: usize, mut tell: impl FnMut(Instant)) -> usize {
        let mut answers = 0;
        while self.next_answer <= self.connection.received() {
            self.next_answer += size;
            answers += 1;
            tell(self.asked.pop_front().expect("an answer was asked for"));
        }
        answers
    }
}

/// A duration in ns; centuries fit.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
