//! Peers that mean no good: slow ones, ones that close half a connection, and ones that are killed.

mod common;

use std::fs;
use std::future::Future;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use common::memory_group::MemoryGroup;
use common::process::{Child, Resource, alone, alone_under, fork, leave, limit, skip};
use common::sockets::{counted, drain, narrow_pair, rounds, until};
use common::{listen, run};
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::{TcpListener, TcpStream};
use runtime::task::JoinHandle;

/// How many a process has that ends.
const CONNECTIONS: usize = 64;
/// What a process may use that keeps all it is sent, in bytes.
const MEMORY: u64 = 64 << 20;

/// A task, and how often it was polled.
struct Counted<R>(JoinHandle<R>, Arc<AtomicUsize>);

impl<R: 'static> Counted<R> {
    fn spawn(future: impl Future<Output = R> + 'static) -> Self {
        let polls = Arc::new(AtomicUsize::new(0));
        Self(runtime::spawn(counted(Arc::clone(&polls), future)), polls)
    }

    fn polls(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }
}

#[test]
fn peers_that_send_a_byte_at_a_time_are_heard_and_cost_a_poll_a_byte() {
    const PEERS: usize = 50;
    const LENGTH: usize = 200;
    run(async {
        let (listener, address) = listen().await;
        let sending = thread::spawn(move || {
            let connect = |_| {
                let peer = StdStream::connect(address).unwrap();
                peer.set_nodelay(true).unwrap();
                peer
            };
            let mut peers = Vec::from_iter((0..PEERS).map(connect));
            for byte in (0..=u8::MAX).cycle().take(LENGTH) {
                for peer in &mut peers {
                    peer.write_all(&[byte]).unwrap();
                }
            }
            peers
        });
        let mut tasks = Vec::new();
        for _ in 0..PEERS {
            let (mut stream, _) = listener.accept().await.unwrap();
            tasks.push(Counted::spawn(async move {
                let mut message = [0; LENGTH];
                stream.read_exact(&mut message).await.unwrap();
                message
            }));
        }
        let expected = Vec::from_iter((0..=u8::MAX).cycle().take(LENGTH));
        for task in tasks {
            let polls = Arc::clone(&task.1);
            assert_eq!(task.0.await.unwrap().as_slice(), expected);
            let polls = polls.load(Ordering::SeqCst);
            assert!(polls <= LENGTH + 1, "{polls} polls for {LENGTH} bytes");
        }
        sending.join().unwrap();
    });
}

#[test]
fn a_peer_that_takes_a_byte_at_a_time_gets_them_all() {
    const LENGTH: usize = 1 << 16;
    run(async {
        let (mut stream, peer) = narrow_pair().await;
        let sent = Vec::from_iter((0..LENGTH).map(|at| at.to_le_bytes()[1]));
        let expected = sent.clone();
        let writer = Counted::spawn(async move { stream.write_all(&sent).await.unwrap() });
        let taking = thread::spawn(move || {
            let mut peer = peer.into_std().unwrap();
            peer.set_nonblocking(false).unwrap();
            let mut taken = Vec::new();
            let mut byte = [0];
            while peer.read(&mut byte).unwrap() == 1 {
                taken.extend(byte);
            }
            taken
        });
        let polls = Arc::clone(&writer.1);
        writer.0.await.unwrap();
        assert!(taking.join().unwrap() == expected);
        assert!(polls.load(Ordering::SeqCst) < LENGTH);
    });
}

#[test]
fn both_ends_fill_the_buffers_and_close_half_and_every_byte_arrives() {
    const LENGTH: usize = 1 << 18;
    run(async {
        let (client, server) = narrow_pair().await;
        let (mut from_server, mut to_server) = client.into_split();
        let (mut from_client, mut to_client) = server.into_split();
        // Each closes its half when it has written, and nobody reads as yet.
        let client = Counted::spawn(async move {
            to_server.write_all(&[7; LENGTH]).await.unwrap();
        });
        let server = Counted::spawn(async move {
            to_client.write_all(&[7; LENGTH]).await.unwrap();
        });
        rounds(10).await;
        let before = (client.polls(), server.polls());
        rounds(200).await;
        assert_eq!((client.polls(), server.polls()), before);
        // One direction ends while the other is still full.
        assert_eq!(drained(&mut from_client).await, LENGTH);
        client.0.await.unwrap();
        let before = server.polls();
        rounds(200).await;
        assert!(server.polls() <= before + 1, "the writer spins");
        assert_eq!(drained(&mut from_server).await, LENGTH);
        server.0.await.unwrap();
    });
}

/// Reads to the end and counts.
async fn drained(reading: &mut (impl AsyncReadExt + Unpin)) -> usize {
    let mut all = Vec::new();
    reading.read_to_end(&mut all).await.unwrap();
    assert!(all.iter().all(|&byte| byte == 7));
    all.len()
}

#[test]
fn a_peer_that_has_closed_half_still_takes_what_was_stuck() {
    run(async {
        let (client, mut server) = narrow_pair().await;
        let sent = common::sockets::fill(&client);
        server.close().await.unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        rounds(3).await;
        assert_eq!(drain(&mut server, sent).await, sent);
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    });
}

/// Lets tasks wait to read from, and to write to, a process that `victim` is; all are told when it ends.
fn expect_told(victim: impl FnOnce(StdListener), ends: impl AsyncFnOnce(Child)) {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let Some(child) = fork() else {
        leave(|| victim(listener));
    };
    runtime::block_on(async move {
        let mut waiting = Vec::new();
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut reading, mut writing) = stream.into_split();
            waiting.push(runtime::spawn(async move {
                match reading.read(&mut [0]).await {
                    Ok(length) => assert_eq!(length, 0),
                    Err(error) => assert!(is_gone(&error), "{error}"),
                }
            }));
            waiting.push(runtime::spawn(async move {
                let error = loop {
                    if let Err(error) = writing.write_all(&[7; 1 << 16]).await {
                        break error;
                    }
                };
                assert!(is_gone(&error), "{error}");
            }));
        }
        drop(listener);
        rounds(100).await;
        ends(child).await;
        for task in waiting {
            task.await.unwrap();
        }
    });
}

fn is_gone(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    kinds.contains(&error.kind())
}

#[test]
fn all_who_wait_for_a_process_that_is_killed_are_told() {
    let sleeps = |listener: StdListener| {
        let accept = |_| listener.accept().unwrap();
        let _accepted = Vec::from_iter((0..CONNECTIONS).map(accept));
        loop {
            thread::park();
        }
    };
    // By now all buffers are full.
    alone(|| expect_told(sleeps, async |child| drop(child)));
}

/// Keeps all that it is sent.
fn hoard(listener: StdListener) {
    limit(Resource::Core, 0);
    runtime::block_on(async {
        let listener = TcpListener::from_std(listener).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            runtime::spawn(async move { stream.read_to_end(&mut Vec::new()).await });
        }
    });
}

/// Waits for a process that hoards, while the tasks that write to it go on, on this thread.
async fn dies(child: Child) {
    let ended = thread::spawn(|| child.ended());
    until(|| ended.is_finished()).await;
    assert!(!ended.join().unwrap().success());
}

#[test]
#[cfg_attr(
    runtime_plain_memory,
    ignore = "a sanitizer reserves more addresses than there is memory"
)]
fn all_who_wait_for_a_process_that_runs_out_of_memory_are_told() {
    let hoards = |listener| {
        limit(Resource::Memory, address_space() + MEMORY);
        hoard(listener);
    };
    alone(|| expect_told(hoards, dies));
}

#[test]
fn all_who_wait_for_a_process_that_is_killed_for_the_memory_it_uses_are_told() {
    alone_under(
        || MemoryGroup::new(MEMORY).map_err(skip).ok(),
        || {
            let group = MemoryGroup::of_parent().unwrap();
            let hoards = |listener| {
                group.enter();
                hoard(listener);
            };
            expect_told(hoards, dies);
        },
    );
}

/// How much this process has mapped, in bytes.
fn address_space() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmSize:"));
    let figure = line.and_then(|line| line.split_whitespace().nth(1));
    figure.unwrap().parse::<u64>().unwrap() << 10
}
