//! One stream, several runtimes, and random steps: who waits is woken in the end, and nothing is left.
//!
//! The stream is a Unix socket in a `TcpStream`'s clothes: what happens to it is seen at once. All runtimes live on
//! one thread, so a failure comes again.

mod common;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use common::sockets::{fill, sources};
use common::{LIMIT, within};
use proptest::prelude::*;
use proptest::sample::Index;
use runtime::io::{AsyncRead, AsyncWrite};
use runtime::net::TcpStream;
use runtime::task::{JoinHandle, yield_now};
use runtime::{Builder, Runtime};

const RUNTIMES: usize = 3;
/// How often runtimes take a stream from each other until they share it, and some more.
const CONTEST: usize = 10;
/// Enough rounds for every letter and event.
const ROUNDS: usize = 20;

/// How somebody waits for the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Way {
    runtime: usize,
    writes: bool,
    is_exclusive: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Spawn(Way),
    Abort(Index),
    /// Waits, with room for so much, and gives up at once.
    GiveUp(Way, usize),
    /// Two runtimes wait for one direction in turn, in vain.
    Contend(Way, usize),
    Turn(usize),
    PeerWrites,
    PeerReads,
    Fill,
    Drain,
    Renew(usize),
    /// Makes another socket of the descriptor if nobody waits.
    Reopen,
}

fn way() -> impl Strategy<Value = Way> {
    (0..RUNTIMES, any::<bool>(), any::<bool>()).prop_map(|(runtime, writes, is_exclusive)| Way {
        runtime,
        writes,
        is_exclusive,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => way().prop_map(Step::Spawn),
        1 => any::<Index>().prop_map(Step::Abort),
        6 => (way(), prop_oneof![Just(1), Just(100)]).prop_map(|(way, room)| Step::GiveUp(way, room)),
        4 => (way(), 0..RUNTIMES).prop_map(|(way, other)| Step::Contend(way, other)),
        4 => (0..RUNTIMES).prop_map(Step::Turn),
        3 => Just(Step::PeerWrites),
        1 => Just(Step::PeerReads),
        1 => Just(Step::Fill),
        1 => Just(Step::Drain),
        1 => (0..RUNTIMES).prop_map(Step::Renew),
        1 => Just(Step::Reopen),
    ]
}

struct Waiting {
    way: Way,
    task: JoinHandle<()>,
    is_done: Rc<Cell<bool>>,
}

struct World {
    runtimes: [Runtime; RUNTIMES],
    stream: Rc<RefCell<TcpStream>>,
    peer: UnixStream,
    waiting: Vec<Waiting>,
}

impl World {
    fn new() -> Self {
        let (stream, peer) = UnixStream::pair().unwrap();
        peer.set_nonblocking(true).unwrap();
        Self {
            runtimes: [(); RUNTIMES].map(|()| runtime()),
            stream: Rc::new(RefCell::new(stream_of(stream.into()))),
            peer,
            waiting: Vec::new(),
        }
    }

    fn take(&mut self, step: Step) {
        self.waiting.retain(|waiting| !waiting.is_done.get());
        match step {
            Step::Spawn(way) if !self.is_taken(way) => self.spawn(way),
            Step::Abort(index) if !self.waiting.is_empty() => {
                let index = index.index(self.waiting.len());
                self.waiting.swap_remove(index).task.abort();
            }
            Step::GiveUp(way, room) if !self.is_taken(way) => drop(self.poll_once(way, room)),
            Step::Contend(way, other) => self.contend(way, other),
            Step::Turn(runtime) => turn(&self.runtimes[runtime]),
            Step::PeerWrites => drop(self.peer.write(b"abcdefgh")),
            Step::PeerReads => empty(&self.peer),
            Step::Fill => drop(fill(&self.stream.borrow())),
            Step::Drain => while self.stream.borrow().try_read(&mut [0; 1000]).is_ok() {},
            Step::Renew(number) => {
                self.runtimes[number] = runtime();
                self.waiting.retain(|waiting| waiting.way.runtime != number);
            }
            Step::Reopen if self.waiting.is_empty() => self.reopen(),
            _ => {}
        }
    }

    /// Whether somebody waits who would lose the wait to this one.
    fn is_taken(&self, way: Way) -> bool {
        way.is_exclusive && self.waiting.iter().any(|waiting| waiting.way == way)
    }

    fn spawn(&mut self, way: Way) {
        let is_done = Rc::new(Cell::new(false));
        let (stream, done) = (Rc::clone(&self.stream), Rc::clone(&is_done));
        let runtime = &self.runtimes[way.runtime];
        let task = runtime.spawn(async move {
            poll_fn(|cx| poll(&stream, way, 1, cx)).await.unwrap();
            done.set(true);
        });
        turn(runtime);
        self.waiting.push(Waiting { way, task, is_done });
    }

    fn poll_once(&self, way: Way, room: usize) -> bool {
        self.runtimes[way.runtime].block_on(poll_fn(|cx| {
            Poll::Ready(poll(&self.stream, way, room, cx).is_ready())
        }))
    }

    fn contend(&mut self, way: Way, other: usize) {
        let other = Way {
            runtime: other,
            ..way
        };
        if self.is_taken(way) || self.is_taken(other) {
            return;
        }
        self.take(if way.writes { Step::Fill } else { Step::Drain });
        for _ in 0..CONTEST {
            assert!(!self.poll_once(way, 1) && !self.poll_once(other, 1));
        }
    }

    fn reopen(&self) {
        self.runtimes.iter().for_each(turn);
        let (another, _) = UnixStream::pair().unwrap();
        let stream = self.stream.replace(stream_of(another.into()));
        let stream = TcpStream::from_std(stream.into_std().unwrap()).unwrap();
        self.stream.replace(stream);
    }

    /// There is enough for all who wait: all of them must be done.
    fn end(self) {
        (&self.peer).write_all(&[0; 1000]).unwrap();
        for _ in 0..ROUNDS {
            empty(&self.peer);
            self.runtimes.iter().for_each(turn);
        }
        let lost = self.waiting.iter().filter(|waiting| !waiting.is_done.get());
        let lost = Vec::from_iter(lost.map(|waiting| waiting.way));
        assert!(lost.is_empty(), "never woken: {lost:?}");
        drop(self.waiting);
        drop(self.stream);
        for runtime in &self.runtimes {
            turn(runtime);
            assert_eq!(sources(runtime), 0);
        }
    }
}

/// A runtime that looks for events after each poll.
fn runtime() -> Runtime {
    Builder::new().event_interval(1).build().unwrap()
}

fn stream_of(fd: OwnedFd) -> TcpStream {
    TcpStream::from_std(net::TcpStream::from(fd)).unwrap()
}

/// Lets a runtime see what has happened, and whoever it wakes do something.
fn turn(runtime: &Runtime) {
    runtime.block_on(async {
        for _ in 0..20 {
            yield_now().await;
        }
    });
}

fn empty(mut peer: &UnixStream) {
    while peer.read(&mut [0; 65_536]).is_ok() {}
}

fn poll(
    stream: &RefCell<TcpStream>,
    way: Way,
    room: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let room = &mut [0; 100][..room];
    if way.is_exclusive {
        let mut stream = stream.borrow_mut();
        let stream = Pin::new(&mut *stream);
        match way.writes {
            true => stream.poll_write(cx, room),
            false => stream.poll_read(cx, room),
        }
    } else {
        let stream = &mut &*stream.borrow();
        match way.writes {
            true => Pin::new(stream).poll_write(cx, room),
            false => Pin::new(stream).poll_read(cx, room),
        }
    }
}

fn run(steps: Vec<Step>) {
    let mut world = World::new();
    steps.into_iter().for_each(|step| world.take(step));
    world.end();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whoever_waits_for_a_shared_stream_is_woken_and_nothing_is_left(
        steps in proptest::collection::vec(step(), 1..100)
    ) {
        within(LIMIT, || run(steps));
    }
}

/// The second runtime's own entry has to be found, whatever the first one's read said.
#[test]
fn a_guest_that_reads_after_anothers_short_read_still_waits_for_writing() {
    for is_exclusive in [false, true] {
        let [owner, guest] = [0, 1];
        let way = |runtime, writes| Way {
            runtime,
            writes,
            is_exclusive,
        };
        within(LIMIT, || {
            run(vec![
                Step::PeerWrites,
                Step::Contend(way(owner, true), guest),
                Step::Spawn(way(guest, true)),
                Step::GiveUp(way(owner, false), 100),
                Step::Spawn(way(guest, false)),
            ]);
        });
    }
}
