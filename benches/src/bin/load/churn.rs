//! Connections that live for one request.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::connection::{Connection, Pattern};

const SIZE: usize = 64;

/// Connects, sends, receives and closes over and over, with `concurrency` connections open at a time, for `duration`
/// and until the last are closed; returns how many there were.
///
/// They are finished in the order in which they were opened, which is the order in which a server gets to know
/// them, so no epoll is needed: with one this side would be the slower one, and the server half idle.
pub(crate) fn churn(
    address: SocketAddr,
    concurrency: usize,
    duration: Duration,
) -> io::Result<u64> {
    let end = Instant::now() + duration;
    let pattern = Pattern::new();
    let mut buffer = [0; 2 * SIZE];
    let mut open = VecDeque::with_capacity(concurrency);
    for _ in 0..concurrency {
        open.push_back(start(address, &pattern)?);
    }
    let mut done = 0;
    while let Some(mut connection) = open.pop_front() {
        connection.await_quiet(&pattern, &mut buffer)?;
        drop(connection);
        done += 1;
        if Instant::now() < end {
            open.push_back(start(address, &pattern)?);
        }
    }
    Ok(done)
}

fn start(address: SocketAddr, pattern: &Pattern) -> io::Result<Connection> {
    let mut connection = Connection::open(address)?;
    connection.allow(SIZE);
    connection.send(pattern)?;
    Ok(connection)
}
