//! Sockets that move between runtimes: what is left behind wakes nobody, and a move costs one registration.

use std::io::Write;
use std::net::TcpStream as StdStream;
use std::sync::mpsc;
use std::thread;

use futures::poll;
use runtime::Runtime;
use runtime::io::AsyncReadExt;
use runtime::net::TcpStream;

use crate::common::parked::{this_thread, wait_until_parked};
use crate::common::sockets::sources;
use crate::common::{LIMIT, pair_with_std, within};
use crate::counted::calls;

/// Reads a byte that comes only when it is waited for.
async fn read_one(stream: &mut TcpStream, peer: &mut StdStream) {
    let mut byte = [0];
    let mut read = stream.read(&mut byte);
    assert!(poll!(&mut read).is_pending());
    peer.write_all(b".").unwrap();
    assert_eq!(read.await.unwrap(), 1);
}

/// Lets a runtime read its messages; returns how many sources it has.
fn sources_left(runtime: &Runtime) -> usize {
    for _ in 0..2 {
        runtime.block_on(async {});
    }
    sources(runtime)
}

#[test]
fn a_stream_that_moved_wakes_the_runtime_that_it_left_a_few_times_at_most() {
    const MESSAGES: usize = 1000;
    within(LIMIT, || {
        let (tell, told) = mpsc::channel();
        let (end, ended) = futures::channel::oneshot::channel::<()>();
        let first = thread::spawn(move || {
            let runtime = Runtime::new().unwrap();
            let waits = runtime.block_on(async {
                let (mut peer, mut stream) = pair_with_std().await;
                read_one(&mut stream, &mut peer).await;
                tell.send((this_thread(), stream, peer)).unwrap();
                let before = calls();
                ended.await.unwrap();
                (calls() - before).epoll_wait.calls
            });
            assert_eq!(sources_left(&runtime), 0);
            waits
        });
        let (thread, mut stream, mut peer) = told.recv().unwrap();
        wait_until_parked(&thread);
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            for _ in 0..MESSAGES {
                read_one(&mut stream, &mut peer).await;
                wait_until_parked(&thread);
            }
        });
        drop(stream);
        wait_until_parked(&thread);
        end.send(()).unwrap();
        let waits = first.join().unwrap();
        // A message may say that another runtime waits, and one that the stream is gone; bytes may come before and
        // after the first is read; and there is the end.
        assert!(waits <= 6, "{waits} waits for {MESSAGES} bytes");
        assert_eq!(sources_left(&runtime), 0);
    });
}

#[test]
fn a_stream_that_goes_to_and_fro_costs_little_more_than_one_epoll_ctl_a_hop() {
    const ROUNDS: u64 = 500;
    within(LIMIT, || {
        let (there, received) = async_channel::unbounded::<(TcpStream, StdStream)>();
        let (send_back, back) = async_channel::unbounded();
        let other = thread::spawn(move || {
            let runtime = Runtime::new().unwrap();
            let before = calls();
            runtime.block_on(async {
                while let Ok((mut stream, mut peer)) = received.recv().await {
                    read_one(&mut stream, &mut peer).await;
                    send_back.send((stream, peer)).await.unwrap();
                }
            });
            assert_eq!(sources_left(&runtime), 0);
            (calls() - before).epoll_ctl.calls
        });
        let runtime = Runtime::new().unwrap();
        let before = calls();
        runtime.block_on(async {
            let (mut peer, mut stream) = pair_with_std().await;
            for _ in 0..ROUNDS {
                read_one(&mut stream, &mut peer).await;
                there.send((stream, peer)).await.unwrap();
                (stream, peer) = back.recv().await.unwrap();
            }
        });
        drop(there);
        let here = (calls() - before).epoll_ctl.calls;
        let calls = here + other.join().unwrap();
        assert_eq!(sources_left(&runtime), 0);
        let hops = 2 * ROUNDS;
        assert!(
            calls * 10 <= hops * 12 + 200,
            "{calls} calls of epoll_ctl for {hops} hops"
        );
    });
}
