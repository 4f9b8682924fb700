//! One socket for which several runtimes wait: each is told, none is kept busy, and nothing is left behind.

mod common;

use std::future::poll_fn;
use std::io::{self, Read as _, Write};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

use common::parked::{this_thread, wait_until_parked};
use common::sockets::{fill, narrow_pair, sources};
use common::{LIMIT, anywhere, pair_with_std, within};
use futures::channel::oneshot;
use futures::poll;
use runtime::Runtime;
use runtime::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
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

/// More than fit into 16 bits.
const TAKEOVERS: usize = 65_600;

/// Lets a runtime read its messages; returns how many sources it has.
fn sources_left(runtime: &Runtime) -> usize {
    for _ in 0..2 {
        runtime.block_on(async {});
    }
    sources(runtime)
}

/// A stream that two runtimes share, and the other end.
struct Shared {
    stream: TcpStream,
    peer: StdStream,
    /// A byte was sent that was not read.
    has_byte: bool,
}

impl Shared {
    /// Moves a byte, if the runtime knows nothing that speaks against it, and begins to wait for the next one.
    fn read_and_wait(&mut self) {
        if !self.has_byte {
            self.peer.write_all(b".").unwrap();
            self.has_byte = true;
        }
        if self.stream.try_read(&mut [0]).is_ok() {
            self.has_byte = false;
        }
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(&mut cx, &mut [0]) {
            assert_eq!(read.unwrap(), 1);
            self.has_byte = false;
        }
    }
}

#[test]
fn two_runtimes_take_a_stream_from_each_other_more_often_than_sixteen_bits_count() {
    within(3 * LIMIT, || {
        let (peer, stream) = runtime::block_on(pair_with_std());
        peer.set_nodelay(true).unwrap();
        let sink = peer.try_clone().unwrap();
        let mut shared = Shared {
            stream,
            peer,
            has_byte: false,
        };
        let runtimes = [Runtime::new().unwrap(), Runtime::new().unwrap()];
        runtimes[0].block_on(async {
            // This one waits for writing all the time.
            fill(&shared.stream);
            let mut cx = Context::from_waker(Waker::noop());
            let write = Pin::new(&mut shared.stream).poll_write(&mut cx, b".");
            assert!(write.is_pending());
        });
        for _ in 0..TAKEOVERS {
            for runtime in &runtimes {
                runtime.block_on(async { shared.read_and_wait() });
            }
        }
        let Shared {
            mut stream,
            has_byte,
            ..
        } = shared;
        let sink = thread::spawn(move || io::copy(&mut &sink, &mut io::sink()).unwrap());
        runtimes[0].block_on(async {
            if has_byte {
                // Else closing would reset the connection.
                stream.read_exact(&mut [0]).await.unwrap();
            }
            stream.write_all(&vec![7; 16 << 20]).await.unwrap();
        });
        drop(stream);
        assert!(sink.join().unwrap() > 16 << 20);
        for runtime in &runtimes {
            assert_eq!(sources_left(runtime), 0);
        }
    });
}

#[test]
fn two_runtimes_wait_for_a_listener_in_turn_more_often_than_sixteen_bits_count() {
    within(3 * LIMIT, || {
        let (listener, address) = listener();
        // On one thread, where each reads its messages between two waits.
        let runtimes = [Runtime::new().unwrap(), Runtime::new().unwrap()];
        for _ in 0..TAKEOVERS {
            for runtime in &runtimes {
                wait_once(runtime, &listener);
            }
        }
        for runtime in &runtimes {
            assert!(sources(runtime) <= 1);
            let _client = StdStream::connect(address).unwrap();
            runtime.block_on(async { drop(listener.accept().await.unwrap()) });
        }
        drop(listener);
        for runtime in &runtimes {
            assert_eq!(sources_left(runtime), 0);
        }
    });
}

/// Accepts until it is told to stop; then its runtime goes on until it is told to end.
fn accept_until(
    stopped: oneshot::Receiver<oneshot::Receiver<()>>,
    listener: Arc<TcpListener>,
    accepted: impl Fn(),
) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let accept = async {
            while let Ok((stream, _)) = listener.accept().await {
                drop(stream);
                accepted();
            }
        };
        match futures::future::select(pin!(accept), stopped).await {
            futures::future::Either::Right((Ok(ended), _)) => ended.await.unwrap(),
            _ => panic!("accepting ended before it was told to"),
        }
    });
    drop(listener);
    assert!(sources_left(&runtime) <= 1);
}

#[test]
fn of_three_runtimes_that_accept_on_one_listener_one_stops_and_the_others_take_all() {
    const CONNECTIONS: usize = 100;
    within(LIMIT, || {
        let (listener, address) = listener();
        let (accepted, taken) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let mut stops = Vec::new();
        let mut runtimes = Vec::new();
        for number in 0..3 {
            let (listener, accepted, tell) = (listener.clone(), accepted.clone(), tell.clone());
            let (stop, stopped) = oneshot::channel::<oneshot::Receiver<()>>();
            stops.push(stop);
            runtimes.push(thread::spawn(move || {
                tell.send((number, this_thread())).unwrap();
                accept_until(stopped, listener, || accepted.send(number).unwrap());
            }));
        }
        let mut threads = Vec::from_iter(told.iter().take(3));
        threads.sort_unstable();
        let threads = Vec::from_iter(threads.into_iter().map(|(_, thread)| thread));
        let connect = |count: usize| {
            let take = |_| {
                drop(StdStream::connect(address).unwrap());
                taken.recv().unwrap()
            };
            Vec::from_iter((0..count).map(take))
        };
        wait_until_at_rest(&threads);
        connect(CONNECTIONS);
        let mut stops = stops.into_iter();
        let (end, ended) = oneshot::channel();
        stops.next().unwrap().send(ended).unwrap();
        wait_until_at_rest(&threads);
        let before = wait_until_parked(&threads[0]).sleeps;
        let took = connect(CONNECTIONS);
        assert!(!took.contains(&0), "it has stopped");
        wait_until_at_rest(&threads);
        let slept = wait_until_parked(&threads[0]).sleeps - before;
        assert!(slept < 10, "it was woken {slept} times");
        let mut ends = vec![end];
        for stop in stops {
            let (end, ended) = oneshot::channel();
            stop.send(ended).unwrap();
            ends.push(end);
        }
        for end in ends {
            end.send(()).unwrap();
        }
        drop(listener);
        for runtime in runtimes {
            runtime.join().unwrap();
        }
    });
}

#[test]
fn a_writer_waits_in_one_runtime_while_a_second_reads_and_a_third_takes_over() {
    within(LIMIT, || {
        let (client, server) = runtime::block_on(narrow_pair());
        let stream = Arc::new(client);
        let filled = fill(&stream);
        let mut peer = server.into_std().unwrap();
        peer.set_nonblocking(false).unwrap();
        let (tell, told) = mpsc::channel();
        let writer = thread::spawn({
            let stream = Arc::clone(&stream);
            move || {
                let runtime = Runtime::new().unwrap();
                runtime.block_on(async {
                    let mut shared = &*stream;
                    let mut write = shared.write_all(&[7; 1 << 16]);
                    assert!(poll!(&mut write).is_pending());
                    tell.send(this_thread()).unwrap();
                    write.await.unwrap();
                });
            }
        });
        let writer_thread = told.recv().unwrap();
        let read = |runtime: &Runtime, peer: &mut StdStream| {
            runtime.block_on(async {
                let (mut shared, mut byte) = (&*stream, [0]);
                let mut read = shared.read(&mut byte);
                assert!(poll!(&mut read).is_pending());
                peer.write_all(b".").unwrap();
                assert_eq!(read.await.unwrap(), 1);
            });
        };
        let second = Runtime::new().unwrap();
        for _ in 0..100 {
            read(&second, &mut peer);
        }
        let third = Runtime::new().unwrap();
        for _ in 0..100 {
            read(&third, &mut peer);
        }
        // This one waits for writing as well, and gives up.
        third.block_on(async {
            assert!(poll!((&*stream).write(b".")).is_pending());
        });
        wait_until_parked(&writer_thread);
        let mut received = vec![0; filled + (1 << 16)];
        peer.read_exact(&mut received).unwrap();
        assert!(received.iter().all(|byte| *byte == 7));
        writer.join().unwrap();
        read(&second, &mut peer);
        drop(stream);
        assert_eq!(sources_left(&second), 0);
        assert_eq!(sources_left(&third), 0);
    });
}

#[test]
fn a_shared_socket_dropped_on_a_thread_without_a_runtime_leaves_nothing_in_two_others() {
    within(LIMIT, || {
        for has_duplicate in [false, true] {
            let (mut peer, stream) = runtime::block_on(pair_with_std());
            let (listener, address) = listener();
            let shared = Arc::new((stream, listener));
            let duplicate = has_duplicate.then(|| shared.0.as_fd().try_clone_to_owned().unwrap());
            let (tell, told) = mpsc::channel();
            let wait = |ended: oneshot::Receiver<()>| {
                let (shared, tell) = (Arc::clone(&shared), tell.clone());
                thread::spawn(move || {
                    let runtime = Runtime::new().unwrap();
                    runtime.block_on(poll_fn(|cx| {
                        assert!(
                            Pin::new(&mut &shared.0)
                                .poll_read(cx, &mut [0])
                                .is_pending()
                        );
                        assert!(shared.1.poll_accept(cx).is_pending());
                        Poll::Ready(())
                    }));
                    assert_eq!(sources(&runtime), 2);
                    drop(shared);
                    runtime.block_on(async {
                        tell.send(this_thread()).unwrap();
                        ended.await.unwrap();
                    });
                    assert_eq!(sources(&runtime), 0);
                })
            };
            let (ends, waits): (Vec<_>, Vec<_>) = (0..2)
                .map(|_| {
                    let (end, ended) = oneshot::channel();
                    (end, wait(ended))
                })
                .unzip();
            let threads = Vec::from_iter(told.iter().take(2));
            wait_until_at_rest(&threads);
            thread::spawn(move || drop(Arc::into_inner(shared).expect("it is the last one")))
                .join()
                .unwrap();
            assert!(StdStream::connect(address).is_err(), "it is closed");
            wait_until_at_rest(&threads);
            let sleeps = |thread: &PathBuf| wait_until_parked(thread).sleeps;
            let before = Vec::from_iter(threads.iter().map(sleeps));
            if let Some(_duplicate) = duplicate {
                // Nobody is told of the duplicate's bytes.
                for _ in 0..100 {
                    peer.write_all(b".").unwrap();
                }
            }
            wait_until_at_rest(&threads);
            assert_eq!(Vec::from_iter(threads.iter().map(sleeps)), before);
            for (end, wait) in ends.into_iter().zip(waits) {
                end.send(()).unwrap();
                wait.join().unwrap();
            }
        }
    });
}
