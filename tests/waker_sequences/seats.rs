//! What the wakers of the sequences wait for, and what makes it happen.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io::Write;
use std::net::TcpListener as Acceptor;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::oneshot;
use runtime::io::AsyncRead;
use runtime::net::{TcpListener, TcpStream};
use runtime::task::{JoinHandle, JoinSet};
use runtime::time::{Duration, Instant, Timer, sleep};
use runtime::{Runtime, spawn};
use socket2::SockRef;

/// How many seats there are.
pub(super) const SEATS: usize = 7;
/// The seat of a task in another runtime of this thread, which ends before the others.
pub(super) const GUEST: usize = 1;
const FAR: Duration = Duration::from_secs(3600);

/// What can be waited for.
pub(super) enum Thing {
    Join(JoinHandle<()>),
    Set(JoinSet<()>),
    Timer(Timer),
    /// Waits for bytes as the one who reads.
    Read(TcpStream),
    /// Waits for readiness as one of several.
    Readable(TcpStream),
    Accept(Pin<Box<dyn Future<Output = ()>>>),
}

impl Thing {
    /// Polls; ready says whether there may be more to wait for.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match self {
            Self::Join(handle) => Pin::new(handle).poll(cx).map(|_| false),
            Self::Set(set) => set.poll_join_next(cx).map(|joined| joined.is_some()),
            Self::Timer(timer) => Pin::new(timer).poll(cx).map(|()| false),
            Self::Read(stream) => Pin::new(stream)
                .poll_read(cx, &mut [0])
                .map(|read| read.is_ok()),
            Self::Readable(stream) => stream.poll_read_ready(cx).map(|ready| ready.is_ok()),
            Self::Accept(accept) => accept.as_mut().poll(cx).map(|()| false),
        }
    }
}

/// Makes happen what a thing waits for.
enum Trigger {
    Tasks(Vec<oneshot::Sender<()>>),
    Deadline,
    Peer(std::net::TcpStream),
    /// To a listener that is open for as long as it may be connected to.
    Connect(Acceptor, Vec<std::net::TcpStream>),
}

/// A thing, and who waits for it.
pub(super) struct Seat {
    pub(super) thing: RefCell<Option<Thing>>,
    trigger: RefCell<Trigger>,
    /// How often it has happened, and was not taken.
    pub(super) stock: Cell<usize>,
    /// The waker, and how often it had been woken when its wait began.
    pub(super) waits: RefCell<Vec<(usize, usize)>>,
}

impl Seat {
    fn new(thing: Thing, trigger: Trigger) -> Self {
        Self {
            thing: RefCell::new(Some(thing)),
            trigger: RefCell::new(trigger),
            stock: Cell::new(0),
            waits: RefCell::default(),
        }
    }

    /// Aborts a task, or puts a timer off until it is far away.
    pub(super) fn abort(&self) {
        match &mut *self.thing.borrow_mut() {
            Some(Thing::Join(handle)) => handle.abort(),
            Some(Thing::Timer(timer)) => {
                timer.reset(Instant::now() + FAR);
                self.stock.set(0);
            }
            _ => {}
        }
    }

    /// Makes that happen for which the thing waits.
    pub(super) fn make_ready(&self) {
        match &mut *self.trigger.borrow_mut() {
            Trigger::Tasks(senders) => match senders.pop() {
                Some(sender) => drop(sender),
                None => return,
            },
            Trigger::Deadline => match &mut *self.thing.borrow_mut() {
                Some(Thing::Timer(timer)) => timer.reset(Instant::now()),
                _ => return,
            },
            // Our end may be gone.
            Trigger::Peer(peer) => drop(peer.write_all(b"!")),
            Trigger::Connect(acceptor, peers) => peers.push(connect(acceptor)),
        }
        self.stock.set(self.stock.get() + 1);
    }

    /// Drops what is here, unless it is being polled.
    pub(super) fn clear(&self) {
        let thing = self.thing.take();
        if thing.is_some() {
            self.waits.take();
        }
        drop(thing);
    }
}

/// Fills the seats; must be called in a runtime.
pub(super) fn seats(guest: &Runtime) -> Vec<Seat> {
    let acceptor = Acceptor::bind("127.0.0.1:0").unwrap();
    let (send, receive) = oneshot::channel();
    let join = spawn(async { _ = receive.await });
    let mut set = JoinSet::new();
    let mut senders = Vec::new();
    for _ in 0..2 {
        let (send, receive) = oneshot::channel();
        set.spawn(async { _ = receive.await });
        senders.push(send);
    }
    let (read, readable) = (pair(&acceptor), pair(&acceptor));
    let listener = TcpListener::from_std(acceptor.try_clone().unwrap()).unwrap();
    let accept = async move { _ = listener.accept().await };
    let seats = vec![
        Seat::new(Thing::Join(join), Trigger::Tasks(vec![send])),
        Seat::new(
            Thing::Join(guest.spawn(pending())),
            Trigger::Tasks(Vec::new()),
        ),
        Seat::new(Thing::Set(set), Trigger::Tasks(senders)),
        Seat::new(Thing::Timer(sleep(FAR)), Trigger::Deadline),
        Seat::new(Thing::Read(read.1), Trigger::Peer(read.0)),
        Seat::new(Thing::Readable(readable.1), Trigger::Peer(readable.0)),
        Seat::new(
            Thing::Accept(Box::pin(accept)),
            Trigger::Connect(acceptor, Vec::new()),
        ),
    ];
    assert_eq!(seats.len(), SEATS);
    seats
}

/// A connection whose peer is reset at its end, so that its port is free at once.
fn connect(acceptor: &Acceptor) -> std::net::TcpStream {
    let peer = std::net::TcpStream::connect(acceptor.local_addr().unwrap()).unwrap();
    let at_once = Some(Duration::ZERO);
    SockRef::from(&peer).set_linger(at_once).unwrap();
    peer
}

/// Both ends of a connection, the first without a runtime.
pub(super) fn pair(acceptor: &Acceptor) -> (std::net::TcpStream, TcpStream) {
    let peer = connect(acceptor);
    let (stream, _) = acceptor.accept().unwrap();
    (peer, TcpStream::from_std(stream).unwrap())
}
