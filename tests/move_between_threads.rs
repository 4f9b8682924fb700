//! Sockets that change threads: they belong to the runtime that waits for them, and nothing is lost.

mod common;

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;

use common::sockets::{counted, narrow_pair, poll_here, poll_with, rounds, sources, until};
use common::{LIMIT, WakeCount, listen, pair_with_std, run, within};
use runtime::Runtime;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::{TcpListener, TcpStream};

/// Runs `future` on a thread and a runtime of its own.
fn elsewhere<F>(future: F) -> F::Output
where
    F: Future<Output: Send> + Send,
{
    thread::scope(|scope| scope.spawn(|| run(future)).join().unwrap())
}

/// A stream that waits for reading in the current runtime.
async fn watched() -> (StdStream, TcpStream) {
    let (peer, mut stream) = pair_with_std().await;
    assert!(poll_here(&mut stream.read(&mut [0])).await.is_pending());
    (peer, stream)
}

#[test]
fn a_stream_that_waited_here_is_read_there_with_bytes_that_come_after_the_move() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (mut peer, mut stream) = runtime.block_on(watched());
        elsewhere(async move {
            let mut buffer = [0; 8];
            let mut read = stream.read(&mut buffer);
            assert!(poll_here(&mut read).await.is_pending());
            peer.write_all(b"hello").unwrap();
            assert_eq!(read.await.unwrap(), 5);
        });
        runtime.block_on(rounds(3));
        assert_eq!(sources(&runtime), 0);
    });
}

#[test]
fn bytes_whose_event_the_old_runtime_has_taken_are_read_in_the_new_one() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let mut stream = runtime.block_on(async {
            let (mut peer, stream) = watched().await;
            peer.write_all(b"hello").unwrap();
            stream.readable().await.unwrap();
            drop(peer);
            stream
        });
        elsewhere(async move {
            stream.readable().await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "hello");
        });
    });
}

#[test]
fn bytes_whose_event_nobody_has_taken_are_read_in_the_new_runtime() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (mut peer, mut stream) = runtime.block_on(watched());
        peer.write_all(b"hello").unwrap();
        elsewhere(async move {
            stream.readable().await.unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 5);
            assert!(poll_here(&mut stream.read(&mut [0])).await.is_pending());
            drop(peer);
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        });
        // The event of the stream that left finds nobody.
        runtime.block_on(rounds(3));
        assert_eq!(sources(&runtime), 0);
    });
}

#[test]
fn sockets_made_before_any_runtime_work_in_one() {
    within(LIMIT, || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut peer = StdStream::connect(address).unwrap();
        let mut stream = TcpStream::from_std(listener.accept().unwrap().0).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        runtime::block_on(async {
            let mut buffer = [0; 8];
            let mut read = stream.read(&mut buffer);
            assert!(poll_here(&mut read).await.is_pending());
            peer.write_all(b"hello").unwrap();
            assert_eq!(read.await.unwrap(), 5);
            let mut accept = pin!(listener.accept());
            assert!(poll_here(&mut accept).await.is_pending());
            let _client = StdStream::connect(address).unwrap();
            accept.await.unwrap();
        });
    });
}

#[test]
fn a_stream_outlives_the_runtime_that_it_waited_in() {
    within(LIMIT, || {
        let (mut peer, mut stream) = runtime::block_on(watched());
        for text in ["here", "there"] {
            let read = async {
                let mut buffer = [0; 8];
                let mut read = stream.read(&mut buffer);
                assert!(poll_here(&mut read).await.is_pending());
                peer.write_all(text.as_bytes()).unwrap();
                assert_eq!(read.await.unwrap(), text.len());
            };
            runtime::block_on(read);
        }
        elsewhere(async move {
            let mut text = String::new();
            let mut read = stream.read_to_string(&mut text);
            assert!(poll_here(&mut read).await.is_pending());
            drop(peer);
            assert_eq!(read.await.unwrap(), 0);
        });
    });
}

#[test]
fn dropping_a_runtime_wakes_who_waits_and_lets_it_go() {
    within(LIMIT, || {
        let (wakes, waker) = WakeCount::new();
        let runtime = Runtime::new().unwrap();
        let (mut peer, mut stream) = runtime.block_on(pair_with_std());
        let mut buffer = [0; 8];
        let mut read = stream.read(&mut buffer);
        runtime.block_on(async { assert!(poll_with(&mut read, &waker).is_pending()) });
        drop((runtime, waker));
        assert_eq!(wakes.wakes(), 1);
        assert_eq!(Arc::strong_count(&wakes), 1);
        peer.write_all(b"hello").unwrap();
        assert_eq!(runtime::block_on(read).unwrap(), 5);
    });
}

#[test]
fn a_destructor_that_waits_while_its_runtime_is_dropped_is_told_so() {
    struct Waits(TcpStream, std::task::Waker, mpsc::Sender<bool>);
    impl Drop for Waits {
        fn drop(&mut self) {
            let polled = poll_with(&mut self.0.read(&mut [0]), &self.1);
            let is_told = matches!(polled, Poll::Ready(Err(_)));
            self.2.send(is_told).unwrap();
        }
    }
    within(LIMIT, || {
        let (wakes, waker) = WakeCount::new();
        let (sender, receiver) = mpsc::channel();
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (peer, stream) = pair_with_std().await;
            let waits = Waits(stream, waker, sender);
            runtime::spawn(async move {
                let _kept = (waits, peer);
                std::future::pending::<()>().await;
            });
            runtime::task::yield_now().await;
        });
        drop(runtime);
        assert!(receiver.recv().unwrap(), "the read waits for ever");
        assert_eq!(Arc::strong_count(&wakes), 1);
    });
}

#[test]
fn a_stream_moves_to_and_fro_a_thousand_times_with_every_byte() {
    const MOVES: u32 = 1000;
    within(LIMIT, || {
        let (to_peer, messages) = mpsc::channel::<u32>();
        let ((to_there, there), (to_here, here)) =
            (async_channel::bounded(1), async_channel::bounded(1));
        let (mut peer, stream) = run(pair_with_std());
        let writer = thread::spawn(move || {
            for number in messages {
                peer.write_all(&number.to_be_bytes()).unwrap();
            }
        });
        let hops = |from: async_channel::Receiver<(u32, TcpStream)>,
                    to: async_channel::Sender<(u32, TcpStream)>,
                    to_peer: mpsc::Sender<u32>| {
            thread::spawn(move || {
                let runtime = Runtime::new().unwrap();
                runtime.block_on(async {
                    while let Ok((number, mut stream)) = from.recv().await {
                        let mut message = [0; 4];
                        let mut read = stream.read_exact(&mut message);
                        // It waits here before the peer sends: the edge comes to this runtime.
                        assert!(poll_here(&mut read).await.is_pending());
                        to_peer.send(number).unwrap();
                        read.await.unwrap();
                        assert_eq!(u32::from_be_bytes(message), number);
                        if number == MOVES || to.send((number + 1, stream)).await.is_err() {
                            break;
                        }
                    }
                });
                drop((from, to));
                runtime.block_on(rounds(3));
                assert_eq!(sources(&runtime), 0);
            })
        };
        to_here.try_send((1, stream)).unwrap();
        let threads = [
            hops(here, to_there, to_peer.clone()),
            hops(there, to_here, to_peer),
        ];
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        writer.join().unwrap();
    });
}

#[test]
fn a_stream_in_mid_transfer_moves_to_and_fro_with_every_byte() {
    const TOTAL: usize = 1 << 20;
    within(LIMIT, || {
        let (mut peer, mut stream) = run(pair_with_std());
        let writer = thread::spawn(move || {
            let bytes = Vec::from_iter((0..TOTAL).map(|at| u8::try_from(at % 251).unwrap()));
            peer.write_all(&bytes).unwrap();
        });
        let runtimes = [Runtime::new().unwrap(), Runtime::new().unwrap()];
        let mut received = 0;
        for runtime in runtimes.iter().cycle() {
            let length = runtime.block_on(async {
                let mut buffer = [0; 1021];
                stream.readable().await.unwrap();
                let length = stream.read(&mut buffer).await.unwrap();
                for (at, byte) in buffer[..length].iter().enumerate() {
                    assert_eq!(usize::from(*byte), (received + at) % 251);
                }
                length
            });
            received += length;
            if length == 0 {
                break;
            }
        }
        assert_eq!(received, TOTAL);
        writer.join().unwrap();
    });
}

#[test]
fn a_stream_dropped_on_a_thread_without_a_runtime_lets_go_of_its_waker_and_entry() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (wakes, waker) = WakeCount::new();
        runtime.block_on(async {
            let (mut peer, mut stream) = pair_with_std().await;
            assert!(poll_with(&mut stream.read(&mut [0]), &waker).is_pending());
            drop(waker);
            let before = sources(&runtime);
            thread::spawn(move || drop(stream)).join().unwrap();
            // The message notifies the loop.
            until(|| Arc::strong_count(&wakes) == 1).await;
            assert_eq!(sources(&runtime), before - 1);
            assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        });
    });
}

#[test]
fn a_stream_dropped_between_two_runs_lets_go_of_its_entry() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (mut peer, stream) = runtime.block_on(watched());
        assert_eq!(sources(&runtime), 1);
        drop(stream);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        runtime.block_on(rounds(3));
        assert_eq!(sources(&runtime), 0);
    });
}

#[test]
fn a_registered_stream_made_std_on_another_thread_is_watched_no_more() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (wakes, waker) = WakeCount::new();
        runtime.block_on(async {
            let (mut peer, mut stream) = pair_with_std().await;
            assert!(poll_with(&mut stream.read(&mut [0]), &waker).is_pending());
            let into_std = move || stream.into_std().unwrap();
            let mut stream = thread::spawn(into_std).join().unwrap();
            until(|| Arc::strong_count(&wakes) == 2).await;
            let before = wakes.wakes();
            peer.write_all(b"hello").unwrap();
            rounds(3).await;
            assert_eq!(wakes.wakes(), before);
            assert_eq!(stream.read(&mut [0; 8]).unwrap(), 5);
        });
        assert_eq!(sources(&runtime), 0);
    });
}

#[test]
fn a_task_that_waits_for_a_stream_that_moved_away_is_woken_and_may_wait_on() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (mut peer, stream) = pair_with_std().await;
            let stream = Arc::new(stream);
            let mut readable = pin!(stream.readable());
            assert!(poll_here(&mut readable).await.is_pending());
            let there = Arc::clone(&stream);
            let (ready, is_ready) = mpsc::channel();
            let other = thread::spawn(move || {
                run(async move {
                    let mut readable = pin!(there.readable());
                    assert!(poll_here(&mut readable).await.is_pending());
                    ready.send(()).unwrap();
                    readable.await.unwrap();
                });
            });
            is_ready.recv().unwrap();
            peer.write_all(b"!").unwrap();
            readable.await.unwrap();
            other.join().unwrap();
        });
    });
}

/// Accepts on `listener` until `wanted` connections were accepted in all, and counts the polls.
async fn accept_all(
    listener: &TcpListener,
    accepted: &async_channel::Sender<SocketAddr>,
    stop: &async_channel::Receiver<()>,
    polls: &Arc<AtomicUsize>,
) {
    let mut stop = pin!(stop.recv());
    loop {
        let mut accept = pin!(counted(Arc::clone(polls), listener.accept()));
        let peer = poll_fn(|cx| {
            if stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            accept
                .as_mut()
                .poll(cx)
                .map(|result| Some(result.unwrap().1))
        });
        match peer.await {
            Some(peer) => accepted.send(peer).await.unwrap(),
            None => return,
        }
    }
}

#[test]
fn two_runtimes_accept_on_one_listener_and_neither_lose_a_connection_nor_spin() {
    const CONNECTIONS: usize = 1000;
    within(LIMIT, || {
        let (listener, address) = run(listen());
        let listener = Arc::new(listener);
        let (accepted, peers) = async_channel::unbounded();
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let polls = Arc::new(AtomicUsize::new(0));
        let accepting = || {
            let (listener, polls) = (Arc::clone(&listener), Arc::clone(&polls));
            let (accepted, stopped) = (accepted.clone(), stopped.clone());
            thread::spawn(move || {
                runtime::block_on(accept_all(&listener, &accepted, &stopped, &polls));
            })
        };
        let threads = [accepting(), accepting()];
        let mut expected = Vec::new();
        for _ in 0..CONNECTIONS {
            expected.push(StdStream::connect(address).unwrap().local_addr().unwrap());
        }
        let mut received = Vec::new();
        while received.len() < CONNECTIONS {
            received.push(peers.recv_blocking().unwrap());
        }
        expected.sort_unstable();
        received.sort_unstable();
        assert_eq!(received, expected);
        let busy = polls.load(Ordering::SeqCst);
        assert!(busy < 50 * CONNECTIONS, "{busy} polls for {CONNECTIONS}");
        // Both wait now; whatever time passes, they are not polled again and again.
        run(rounds(2000));
        let idle = polls.load(Ordering::SeqCst) - busy;
        assert!(idle < 100, "{idle} polls without a connection");
        drop(stop);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_runtime_that_stops_accepting_does_not_make_the_other_spin() {
    within(LIMIT, || {
        let (here, there) = (Runtime::new().unwrap(), Runtime::new().unwrap());
        let (wakes, waker) = WakeCount::new();
        let (listener, address) = here.block_on(listen());
        let mut other = pin!(listener.accept());
        let mut poll_other = || there.block_on(async { poll_with(&mut other, &waker) });
        assert!(poll_other().is_pending());
        // Whoever waits is told in its own runtime: that another one waits too wakes nobody.
        let mut accept = pin!(listener.accept());
        assert!(here.block_on(poll_here(&mut accept)).is_pending());
        there.block_on(rounds(1));
        assert_eq!(wakes.wakes(), 0);
        assert!(poll_other().is_pending());
        // This runtime takes one connection and no more.
        let _client = StdStream::connect(address).unwrap();
        here.block_on(accept).unwrap();
        let before = wakes.wakes();
        for _ in 0..100 {
            assert!(poll_other().is_pending());
            here.block_on(rounds(1));
            there.block_on(rounds(1));
        }
        let during = wakes.wakes() - before;
        assert!(during < 10, "the other was woken {during} times");
        let _client = StdStream::connect(address).unwrap();
        let before = wakes.wakes();
        while wakes.wakes() == before {
            here.block_on(rounds(1));
            there.block_on(rounds(1));
        }
        assert!(poll_other().is_ready());
    });
}

#[test]
fn an_accept_is_woken_although_the_runtime_that_last_polled_the_listener_runs_no_more() {
    within(LIMIT, || {
        let (here, there) = (Runtime::new().unwrap(), Runtime::new().unwrap());
        let (listener, address) = here.block_on(listen());
        let mut other = pin!(listener.accept());
        assert!(there.block_on(poll_here(&mut other)).is_pending());
        // The listener moves here; then this runtime stays, but is not run again.
        let mut accept = Box::pin(listener.accept());
        assert!(here.block_on(poll_here(&mut accept)).is_pending());
        drop(accept);
        there.block_on(async {
            // It is told that the listener moved, and waits on; only then does the client connect.
            rounds(1).await;
            assert!(poll_here(&mut other).await.is_pending());
            rounds(1).await;
            let client = runtime::spawn(async move { StdStream::connect(address).unwrap() });
            other.await.unwrap();
            client.await.unwrap();
        });
    });
}

#[test]
fn halves_that_wait_on_two_threads_do_not_take_the_socket_from_each_other_without_end() {
    within(LIMIT, || {
        let (client, mut server) = run(narrow_pair());
        let (mut reading, mut writing) = client.into_split();
        let polls = Arc::new(AtomicUsize::new(0));
        let spawn_reader = {
            let polls = Arc::clone(&polls);
            move || {
                let mut text = Vec::new();
                runtime::block_on(counted(polls, reading.read_to_end(&mut text))).unwrap();
                text.len()
            }
        };
        let spawn_writer = {
            let polls = Arc::clone(&polls);
            move || {
                let bytes = vec![7; 1 << 20];
                runtime::block_on(counted(polls, writing.write_all(&bytes))).unwrap();
                // The half lives until the bytes have come.
                writing
            }
        };
        let (reader, writer) = (thread::spawn(spawn_reader), thread::spawn(spawn_writer));
        run(async {
            rounds(100).await;
            let before = polls.load(Ordering::SeqCst);
            rounds(1000).await;
            let during = polls.load(Ordering::SeqCst) - before;
            let mut bytes = vec![0; 1 << 20];
            server.read_exact(&mut bytes).await.unwrap();
            server.write_all(b"done").await.unwrap();
            server.close().await.unwrap();
            assert!(during < 100, "the halves were polled {during} times");
        });
        assert_eq!(reader.join().unwrap(), 4);
        drop(writer.join().unwrap());
    });
}

#[test]
fn polling_accepts_on_two_threads_do_not_take_the_listener_from_each_other_without_end() {
    within(LIMIT, || {
        let (listener, address) = run(listen());
        let listener = Arc::new(listener);
        let polls = Arc::new(AtomicUsize::new(0));
        let accepting = || {
            let (listener, polls) = (Arc::clone(&listener), Arc::clone(&polls));
            thread::spawn(move || {
                let accept = poll_fn(|cx| listener.poll_accept(cx));
                runtime::block_on(counted(polls, accept)).unwrap();
            })
        };
        let threads = [accepting(), accepting()];
        run(async {
            until(|| polls.load(Ordering::SeqCst) >= 2).await;
            rounds(100).await;
            let before = polls.load(Ordering::SeqCst);
            rounds(1000).await;
            let during = polls.load(Ordering::SeqCst) - before;
            for _ in &threads {
                StdStream::connect(address).unwrap();
            }
            assert!(during < 100, "the accepts were polled {during} times");
        });
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}
