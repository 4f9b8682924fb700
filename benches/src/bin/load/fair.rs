//! One ping-pong connection beside others that flood the server.

use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use runtime_benches::percentile::percentile;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use serde_json::{Value, json};

use crate::clients::nanoseconds;
use crate::connection::{CHUNK, Connection, Pattern};

const PING: usize = 64;
const FLOOD_WRITE: usize = 16 * 1024;

/// What the two threads share.
#[derive(Default)]
struct Flood {
    is_over: AtomicBool,
    /// Bytes that have come back.
    bytes: AtomicU64,
}

/// Floods the server for `warm_up` and `duration`; meanwhile counts and times round trips of 64 B.
///
/// The flood has a thread of its own, so that its loop does not delay the pings.
pub(crate) fn fair(
    address: SocketAddr,
    flooders: usize,
    warm_up: Duration,
    duration: Duration,
) -> io::Result<Value> {
    let flood = Flood::default();
    thread::scope(|scope| {
        let flooding = scope.spawn(|| flood.run(address, flooders));
        thread::sleep(warm_up);
        let before = flood.bytes.load(Ordering::Relaxed);
        let start = Instant::now();
        let pings = ping(address, duration);
        let (elapsed, after) = (start.elapsed(), flood.bytes.load(Ordering::Relaxed));
        flood.is_over.store(true, Ordering::Relaxed);
        flooding.join().expect("the flood does not panic")?;
        let mut pings = pings?;
        let mut micros = |fraction| percentile(&mut pings, fraction) as f64 / 1e3;
        Ok(json!({
            "p50_us": micros(0.5),
            "p99_us": micros(0.99),
            "max_us": micros(1.0),
            "pings": pings.len(),
            "flood_mb_per_s": (after - before) as f64 / 1e6 / elapsed.as_secs_f64(),
        }))
    })
}

impl Flood {
    /// Writes all that the kernel takes on every connection, and reads all that comes, until it is over.
    ///
    /// What comes is not looked at: if this side were the slower one, the server would have time for the pings.
    fn run(&self, address: SocketAddr, flooders: usize) -> io::Result<()> {
        yield_to_pings()?;
        let pattern = Pattern::new();
        let mut buffer = vec![0; CHUNK];
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::new();
        for place in 0..flooders {
            let mut connection = Connection::open(address)?;
            connection.never_delay()?;
            connection.allow(usize::MAX);
            // Level-triggered: each connection gets one read and one write in turn.
            let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT;
            let token = epoll::EventData::new_u64(place as u64);
            epoll::add(&epoll, &connection, token, interest)?;
            connections.push(connection);
        }
        let mut events = Vec::with_capacity(flooders);
        while !self.is_over.load(Ordering::Relaxed) {
            events.clear();
            let limit = Duration::from_millis(50).try_into().expect("it is short");
            epoll::wait(&epoll, spare_capacity(&mut events), Some(&limit))?;
            for event in events.drain(..) {
                let place = usize::try_from(event.data.u64()).expect("a place in the list");
                let connection = &mut connections[place];
                let length = connection.discard(&mut buffer)?;
                self.bytes.fetch_add(length as u64, Ordering::Relaxed);
                connection.send_once(&pattern, FLOOD_WRITE)?;
            }
        }
        Ok(())
    }
}

/// Lets this thread run only while the other one waits: they share a CPU, as the server has the other one, and
/// an answered ping must not wait until the flood's time slice ends.
fn yield_to_pings() -> io::Result<()> {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let status = Command::new("chrt")
        .args(["--idle", "--pid", "0", &thread])
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other("chrt cannot make a thread yield"))
    }
}

/// Makes round trips one after the other for `duration`; returns how long each took, in ns.
///
/// A server that starves this connection answers late or never: the last round trip then counts with the time it
/// has waited until it was given up, after another `duration`.
fn ping(address: SocketAddr, duration: Duration) -> io::Result<Vec<u64>> {
    let pattern = Pattern::new();
    let mut buffer = vec![0; CHUNK];
    let mut connection = Connection::open(address)?;
    set_socket_timeout(&connection, Timeout::Recv, Some(duration))?;
    let mut samples = Vec::new();
    let end = Instant::now() + duration;
    while Instant::now() < end {
        let start = Instant::now();
        connection.allow(PING);
        connection.send(&pattern)?;
        let outcome = connection.await_quiet(&pattern, &mut buffer);
        samples.push(nanoseconds(start.elapsed()));
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
            outcome => outcome?,
        }
    }
    Ok(samples)
}
