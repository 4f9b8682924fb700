//! One socket for which several runtimes wait: each is told, none is kept busy, and nothing is left behind.

mod common;

use std::future::poll_fn;
use std::io::Write;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Instant;

use common::parked::{this_thread, wait_until_parked};
use common::sockets::sources;
use common::{LIMIT, anywhere, pair_with_std, within};
use futures::channel::oneshot;
use futures::poll;
use runtime::Runtime;
use runtime::io::{AsyncRead, AsyncReadExt, Interest};
use runtime::net::{TcpListener, TcpStream};

fn listener() -> (Arc<TcpListener>, SocketAddr) {
    let listener = StdListener::bind(anywhere()).unwrap();
    let address = listener.local_addr().unwrap();
    (Arc::new(TcpListener::from_std(listener).unwrap()), address)
}

/// Begins to wait for a connection, and gives up.
fn wait_once(runtime: &Runtime, listener: &TcpListener) {
    runtime.block_on(poll_fn(|cx| {
        assert!(listener.poll_accept(cx).is_pending());
        Poll::Ready(())
    }));
}

#[test]
fn runtimes_that_race_for_a_listener_leave_no_entry() {
    const ROUNDS: usize = 1000;
    within(LIMIT, || {
        let together = Barrier::new(2);
        let (met, left) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let current = Mutex::new(None);
        // A busy machine tries less often.
        let end = Instant::now() + LIMIT / 4;
        let race = |brings: bool| {
            let runtime = Runtime::new().unwrap();
            for round in 1..=ROUNDS {
                if brings && Instant::now() < end {
                    *current.lock().unwrap() = Some(listener().0);
                }
                together.wait();
                let Some(listener): Option<Arc<TcpListener>> = current.lock().unwrap().clone()
                else {
                    break;
                };
                // Closer together than a barrier's sleepers wake up.
                met.fetch_add(1, Ordering::SeqCst);
                while met.load(Ordering::SeqCst) < 2 * round {
                    thread::yield_now();
                }
                wait_once(&runtime, &listener);
                drop(listener);
                together.wait();
                drop(current.lock().unwrap().take());
                together.wait();
                // Letters are read.
                runtime.block_on(async {});
                runtime.block_on(async {});
                left.fetch_add(sources(&runtime), Ordering::Relaxed);
            }
        };
        thread::scope(|scope| {
            let racers = [scope.spawn(|| race(true)), scope.spawn(|| race(false))];
            for racer in racers {
                racer.join().unwrap();
            }
        });
        assert_eq!(left.into_inner(), 0);
    });
}

/// Waits until these threads sleep, and stay asleep while they are looked at a hundred times.
fn wait_until_at_rest(threads: &[PathBuf]) {
    let sleeps = || {
        let parks = threads.iter().map(|thread| wait_until_parked(thread));
        Vec::from_iter(parks.map(|park| park.sleeps))
    };
    let (mut before, mut same) = (sleeps(), 0);
    while same < 100 {
        let now = sleeps();
        same = if now == before { same + 1 } else { 0 };
        before = now;
    }
}

#[test]
fn runtimes_that_wait_exclusively_for_one_stream_under_a_lock_come_to_rest() {
    within(LIMIT, || {
        let (mut peer, stream) = runtime::block_on(pair_with_std());
        let stream = Mutex::new(stream);
        let (tell, told) = mpsc::channel();
        let read = || {
            tell.send(this_thread()).unwrap();
            runtime::block_on(poll_fn(|cx| {
                let mut stream = stream.lock().unwrap();
                // This transfers nothing.
                stream.try_io(Interest::WRITABLE, || Ok(())).unwrap();
                Pin::new(&mut *stream).poll_read(cx, &mut [0])
            }))
        };
        thread::scope(|scope| {
            let readers = [scope.spawn(read), scope.spawn(read)];
            wait_until_at_rest(&[told.recv().unwrap(), told.recv().unwrap()]);
            peer.write_all(b"12").unwrap();
            for reader in readers {
                assert_eq!(reader.join().unwrap().unwrap(), 1);
            }
        });
    });
}

/// Reads a byte that comes only when it is waited for.
async fn read_one(stream: &mut TcpStream, peer: &mut StdStream) {
    let mut byte = [0];
    let mut read = pin!(stream.read(&mut byte));
    assert!(poll!(read.as_mut()).is_pending());
    peer.write_all(b".").unwrap();
    assert_eq!(read.await.unwrap(), 1);
}

#[test]
fn a_stream_that_is_sent_to_and_fro_wakes_only_the_runtime_that_has_it() {
    const MESSAGES: u64 = 100;
    within(LIMIT, || {
        let (tell, told) = mpsc::channel();
        let (there, received) = async_channel::unbounded::<(TcpStream, StdStream)>();
        let (send_back, back) = async_channel::unbounded();
        let other = thread::spawn(move || {
            runtime::block_on(async {
                tell.send(this_thread()).unwrap();
                while let Ok((mut stream, mut peer)) = received.recv().await {
                    read_one(&mut stream, &mut peer).await;
                    send_back.send((stream, peer)).await.unwrap();
                }
            });
        });
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (mut peer, mut stream) = pair_with_std().await;
            for _ in 0..20 {
                read_one(&mut stream, &mut peer).await;
                there.send((stream, peer)).await.unwrap();
                (stream, peer) = back.recv().await.unwrap();
            }
            let other = told.recv().unwrap();
            // It reads the letter that says that the stream has moved.
            read_one(&mut stream, &mut peer).await;
            let before = wait_until_parked(&other).sleeps;
            for _ in 0..MESSAGES {
                read_one(&mut stream, &mut peer).await;
                wait_until_parked(&other);
            }
            let slept = wait_until_parked(&other).sleeps - before;
            assert!(slept < MESSAGES / 10, "it was woken {slept} times");
        });
        drop(there);
        other.join().unwrap();
    });
}

#[test]
fn a_runtime_that_waited_for_a_listener_once_sleeps_while_another_accepts() {
    const CONNECTIONS: u64 = 100;
    within(LIMIT, || {
        let (listener, address) = listener();
        let turns = Barrier::new(2);
        let (tell, told) = mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        let waits = AtomicUsize::new(0);
        // In turn, until neither takes it from the other any more.
        let settle = |runtime: &Runtime, is_first: bool| {
            for round in 0..40 {
                turns.wait();
                if (round % 2 == 0) == is_first {
                    waits.fetch_add(1, Ordering::Relaxed);
                    wait_once(runtime, &listener);
                }
            }
            turns.wait();
        };
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                let runtime = Runtime::new().unwrap();
                settle(&runtime, true);
                tell.send(this_thread()).unwrap();
                runtime.block_on(ended).unwrap();
            });
            let runtime = Runtime::new().unwrap();
            settle(&runtime, false);
            assert_eq!(waits.load(Ordering::Relaxed), 40);
            let idle = told.recv().unwrap();
            // It is told of a connection that nobody takes, and silences the listener.
            let before = wait_until_parked(&idle).sleeps;
            let _client = StdStream::connect(address).unwrap();
            while wait_until_parked(&idle).sleeps == before {}
            runtime.block_on(async { drop(listener.accept().await.unwrap()) });
            let before = wait_until_parked(&idle).sleeps;
            for _ in 0..CONNECTIONS {
                let _client = StdStream::connect(address).unwrap();
                runtime.block_on(async { drop(listener.accept().await.unwrap()) });
                wait_until_parked(&idle);
            }
            let slept = wait_until_parked(&idle).sleeps - before;
            assert!(slept < CONNECTIONS / 10, "it was woken {slept} times");
            end.send(()).unwrap();
            other.join().unwrap();
        });
    });
}
