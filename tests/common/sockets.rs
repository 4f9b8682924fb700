//! Sockets in the states that tests want, and futures that are polled by hand or counted.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use runtime::Runtime;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::{TcpListener, TcpSocket, TcpStream};

use super::{anywhere, pair};

/// Polls `future` once, with a waker of the test's own.
pub fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Polls `future` once, with the waker of the running task.
pub async fn poll_here<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Counts in `polls` how often `future` is polled.
pub async fn counted<F: Future>(polls: Arc<AtomicUsize>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        polls.fetch_add(1, Ordering::SeqCst);
        future.as_mut().poll(cx)
    })
    .await
}

/// Lets the loop go round until `is_so`.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        runtime::task::yield_now().await;
    }
}

/// Passes a byte to and fro `rounds` times: the loop goes round, and waits in the kernel.
pub async fn rounds(rounds: usize) {
    let (mut near, mut far) = pair().await;
    let echo = runtime::spawn(async move {
        let mut byte = [0];
        while let Ok(1) = far.read(&mut byte).await {
            far.write_all(&byte).await.unwrap();
        }
    });
    let mut byte = [0];
    for _ in 0..rounds {
        near.write_all(b".").await.unwrap();
        near.read_exact(&mut byte).await.unwrap();
    }
    drop(near);
    echo.await.unwrap();
}

/// A client whose way to the server holds few bytes, and the server.
pub async fn narrow_pair() -> (TcpStream, TcpStream) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(anywhere()).unwrap();
    let listener = socket.listen(1).unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4096).unwrap();
    let address = listener.local_addr().unwrap();
    let client = socket.connect(address).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

/// A listener whose backlog is full, so that further connections are not answered.
pub async fn full_listener() -> (TcpListener, SocketAddr, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(anywhere()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    for _ in 0..16 {
        match TcpStream::connect_timeout(address, Duration::from_millis(100)).await {
            Ok(client) => clients.push(client),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                return (listener, address, clients);
            }
        }
    }
    panic!("a backlog of 0 holds 16 connections");
}

/// Writes until no more fits; returns how much went.
pub fn fill(stream: &TcpStream) -> usize {
    let mut filled = 0;
    loop {
        match stream.try_write(&[7; 1024]) {
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return filled,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads exactly `length` bytes and counts the sevens among them.
pub async fn drain(stream: &mut TcpStream, length: usize) -> usize {
    let mut buffer = vec![0; length];
    stream.read_exact(&mut buffer).await.unwrap();
    buffer.iter().filter(|byte| **byte == 7).count()
}

/// How many descriptors are registered with a runtime, by its `Debug` output.
pub fn sources(runtime: &Runtime) -> usize {
    shown(runtime, "sources: ")
}

/// How many timers a runtime holds, by its `Debug` output.
pub fn timers(runtime: &Runtime) -> usize {
    shown(runtime, "timers: ")
}

fn shown(runtime: &Runtime, label: &str) -> usize {
    let text = format!("{runtime:?}");
    let (_, rest) = text.split_once(label).expect("the number is shown");
    let digits = rest.split(|digit: char| !digit.is_ascii_digit()).next();
    digits
        .and_then(|digits| digits.parse().ok())
        .expect("it is a number")
}
