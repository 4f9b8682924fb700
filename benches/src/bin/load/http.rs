//! Clients of an HTTP server, each with one request at a time, in one edge-triggered epoll loop.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use runtime_benches::percentile::percentile;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde_json::{Value, json};

use crate::WARM_UP;
use crate::clients::{PATIENCE, nanoseconds};
use crate::connection::connect_to;
use crate::mark;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

struct Client {
    socket: OwnedFd,
    asked: Instant,
    /// Bytes of the answer that are yet to come.
    left: usize,
}

impl Client {
    fn ask(&mut self, answer: usize) -> io::Result<()> {
        (self.asked, self.left) = (Instant::now(), answer);
        let sent = send(&self.socket, REQUEST, SendFlags::NOSIGNAL)?;
        assert_eq!(sent, REQUEST.len(), "the kernel has room for one request");
        Ok(())
    }
}

/// Keeps one request outstanding on each of `connections` for `duration`.
pub(crate) fn http(
    address: SocketAddr,
    connections: usize,
    duration: Duration,
) -> io::Result<Value> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut clients = Vec::with_capacity(connections);
    let mut answer = 0;
    for place in 0..connections {
        let socket = connect_to(address)?;
        send(&socket, REQUEST, SendFlags::NOSIGNAL)?;
        answer = length_of_answer(&socket)?;
        let token = epoll::EventData::new_u64(place as u64);
        epoll::add(
            &epoll,
            &socket,
            token,
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        clients.push(Client {
            socket,
            asked: Instant::now(),
            left: 0,
        });
    }
    run(&epoll, &mut clients, answer, WARM_UP)?;
    mark::quiet()?;
    let mut latencies = run(&epoll, &mut clients, answer, duration)?;
    mark::quiet()?;
    let mut micros = |fraction| percentile(&mut latencies, fraction) as f64 / 1e3;
    let (p50, p99) = (micros(0.5), micros(0.99));
    Ok(json!({
        "requests": latencies.len(),
        "per_second": latencies.len() as f64 / duration.as_secs_f64(),
        "p50_us": p50,
        "p99_us": p99,
    }))
}

/// Makes requests for `duration`, and waits until the last are answered; returns how long each took, in ns.
fn run(
    epoll: &OwnedFd,
    clients: &mut [Client],
    answer: usize,
    duration: Duration,
) -> io::Result<Vec<u64>> {
    let end = Instant::now() + duration;
    let (mut latencies, mut unanswered) = (Vec::new(), clients.len());
    let (mut events, mut buffer) = (Vec::with_capacity(1024), [0; 1024]);
    for client in &mut *clients {
        client.ask(answer)?;
    }
    while unanswered > 0 {
        events.clear();
        epoll::wait(epoll, spare_capacity(&mut events), Some(&PATIENCE))?;
        if events.is_empty() {
            return Err(io::Error::other(format!(
                "{unanswered} requests remain unanswered"
            )));
        }
        for event in events.drain(..) {
            let place = usize::try_from(event.data.u64()).expect("a place in the list");
            let client = &mut clients[place];
            match recv(&client.socket, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((1.., length)) if length <= client.left => client.left -= length,
                Ok(_) => return Err(io::Error::other("another answer came than was asked for")),
                Err(Errno::AGAIN) => continue,
                Err(error) => return Err(error.into()),
            }
            if client.left > 0 {
                continue;
            }
            latencies.push(nanoseconds(client.asked.elapsed()));
            if Instant::now() < end {
                client.ask(answer)?;
            } else {
                unanswered -= 1;
            }
        }
    }
    Ok(latencies)
}

/// Receives the first answer; all others are as long, as they differ in their dates only.
fn length_of_answer(socket: &OwnedFd) -> io::Result<usize> {
    let mut buffer = [0; 1024];
    let mut length = 0;
    loop {
        let (received, _) = recv(socket, &mut buffer[length..], RecvFlags::empty())?;
        length += received;
        let text = String::from_utf8_lossy(&buffer[..length]);
        if received == 0 || !text.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(format!("the server answers {text:?}")));
        }
        let body = text.split_once("\r\n\r\n");
        if body
            .is_some_and(|(head, body)| head.contains(&format!("content-length: {}", body.len())))
        {
            return Ok(length);
        }
    }
}
