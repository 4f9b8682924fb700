//! Duplicates that outlive their stream: no event of theirs reaches a later socket, and they work on.
#![expect(
    unsafe_code,
    reason = "only `dup(2)` makes a duplicate that the stream knows nothing of"
)]

mod common;

use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::TcpStream as StdStream;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

use common::sockets::{poll_here, poll_with, rounds, sources, until};
use common::{LIMIT, WakeCount, listen, pair_with_std, within};
use runtime::Runtime;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::{TcpListener, TcpStream};
use runtime::task::unconstrained;

/// The tests reckon with the numbers of descriptors, so they run one after the other.
static ALONE: Mutex<()> = Mutex::new(());

fn alone(test: impl AsyncFnOnce(&Runtime)) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(test(&runtime));
    });
}

fn connect(listener: &TcpListener) -> StdStream {
    StdStream::connect(listener.local_addr().unwrap()).unwrap()
}

/// Accepts the connection of `peer`; returns also its descriptor's number, which it is not asked for.
async fn accept(listener: &TcpListener, peer: &StdStream) -> (TcpStream, RawFd) {
    // The kernel gives out the lowest number that is free.
    let number = peer.try_clone().unwrap().as_raw_fd();
    let (stream, _) = listener.accept().await.unwrap();
    let check = StdStream::from(duplicate(number, 0));
    assert_eq!(check.peer_addr().unwrap(), peer.local_addr().unwrap());
    (stream, number)
}

/// A duplicate that has at least this number, made behind the stream's back.
fn duplicate(fd: RawFd, at_least: RawFd) -> OwnedFd {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, at_least) };
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the kernel just made `fd`, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// How many descriptors the epoll instances of this process watch.
fn watched() -> usize {
    let entries = fs::read_dir("/proc/self/fdinfo").unwrap();
    let infos = entries.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
    let count = |info: String| info.lines().filter(|line| line.starts_with("tfd:")).count();
    infos.map(count).sum()
}

#[test]
fn a_duplicate_made_through_the_stream_sends_no_events_once_the_stream_is_gone() {
    alone(async |runtime| {
        for _ in 0..100 {
            let before = (sources(runtime), watched());
            let (mut peer, mut stream) = pair_with_std().await;
            assert!(poll_here(&mut stream.read(&mut [0])).await.is_pending());
            assert_eq!(watched(), before.1 + 1);
            let duplicate = stream.as_fd().try_clone_to_owned().unwrap();
            drop(stream);
            assert_eq!((sources(runtime), watched()), before);
            let (mut other_peer, mut other) = pair_with_std().await;
            let (wakes, waker) = WakeCount::new();
            let mut byte = [0];
            let mut read = other.read(&mut byte);
            assert!(poll_with(&mut read, &waker).is_pending());
            peer.write_all(b"for the duplicate").unwrap();
            rounds(2).await;
            assert_eq!(wakes.wakes(), 0);
            other_peer.write_all(b"!").unwrap();
            assert_eq!(read.await.unwrap(), 1);
            let mut duplicate = StdStream::from(duplicate);
            assert_eq!(duplicate.read(&mut [0; 64]).unwrap(), 17);
        }
    });
}

#[test]
fn events_of_a_duplicate_that_nobody_knew_of_reach_no_later_socket() {
    alone(async |_| {
        let (listener, _) = listen().await;
        for _ in 0..100 {
            let (mut peer, mut other_peer) = (connect(&listener), connect(&listener));
            let (mut stream, number) = accept(&listener, &peer).await;
            assert!(poll_here(&mut stream.read(&mut [0])).await.is_pending());
            let duplicate = duplicate(number, 0);
            // Not lent, so it is closed without the epoll set being told.
            drop(stream);
            let (mut other, other_number) = accept(&listener, &other_peer).await;
            assert_eq!(number, other_number);
            let (wakes, waker) = WakeCount::new();
            let mut byte = [0];
            let mut read = other.read(&mut byte);
            assert!(poll_with(&mut read, &waker).is_pending());
            peer.write_all(b"stale").unwrap();
            rounds(2).await;
            assert_eq!(wakes.wakes(), 0);
            other_peer.write_all(b"!").unwrap();
            assert_eq!(read.await.unwrap(), 1);
            drop(duplicate);
        }
    });
}

#[test]
fn a_duplicate_that_comes_back_under_the_old_number_is_watched_anew() {
    alone(async |_| {
        let (listener, _) = listen().await;
        for _ in 0..20 {
            let mut peer = connect(&listener);
            let (mut stream, number) = accept(&listener, &peer).await;
            assert!(poll_here(&mut stream.read(&mut [0])).await.is_pending());
            let elsewhere = duplicate(number, number + 50);
            // Not lent, so it is closed without the epoll set being told: the registration stays.
            drop(stream);
            let back = duplicate(elsewhere.as_raw_fd(), number);
            assert_eq!(back.as_raw_fd(), number);
            let mut stream = TcpStream::from_std(back.into()).unwrap();
            let mut buffer = [0; 8];
            let mut read = stream.read(&mut buffer);
            assert!(poll_here(&mut read).await.is_pending());
            peer.write_all(b"hello").unwrap();
            assert_eq!(read.await.unwrap(), 5);
            drop(elsewhere);
        }
    });
}

#[test]
fn a_clone_of_std_and_the_stream_made_of_the_other_read_one_connection() {
    alone(async |runtime| {
        let before = sources(runtime);
        let (mut peer, stream) = pair_with_std().await;
        let stream = stream.into_std().unwrap();
        let mut clone = TcpStream::from_std(stream.try_clone().unwrap()).unwrap();
        let mut stream = TcpStream::from_std(stream).unwrap();
        let (wakes, waker) = WakeCount::new();
        assert!(poll_with(&mut stream.read(&mut [0]), &waker).is_pending());
        assert!(poll_with(&mut clone.read(&mut [0]), &waker).is_pending());
        peer.write_all(b"hello").unwrap();
        until(|| wakes.wakes() == 2).await;
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 5);
        assert!(poll_with(&mut clone.read(&mut [0]), &waker).is_pending());
        drop(stream);
        assert_eq!(sources(runtime), before + 1);
        // The clone is watched on.
        peer.write_all(b"more").unwrap();
        assert_eq!(clone.read(&mut [0; 8]).await.unwrap(), 4);
        clone.write_all(b"answer").await.unwrap();
        assert_eq!(peer.read(&mut [0; 8]).unwrap(), 6);
        drop(clone);
        assert_eq!(sources(runtime), before);
        drop(waker);
        assert_eq!(Arc::strong_count(&wakes), 1);
    });
}

#[test]
fn a_duplicate_of_a_stream_dropped_on_a_thread_without_a_runtime_is_watched_no_more() {
    alone(async |runtime| {
        let before = (sources(runtime), watched());
        let (_peer, mut stream) = pair_with_std().await;
        assert!(poll_here(&mut stream.read(&mut [0])).await.is_pending());
        let duplicate = stream.as_fd().try_clone_to_owned().unwrap();
        thread::spawn(move || drop(stream)).join().unwrap();
        until(|| sources(runtime) == before.0).await;
        assert_eq!(watched(), before.1);
        drop(duplicate);
    });
}

#[test]
fn a_duplicate_of_a_stream_that_moved_threads_sends_no_events_to_either() {
    alone(async |runtime| {
        let before = (sources(runtime), watched());
        let (mut peer, mut stream) = pair_with_std().await;
        let (wakes, waker) = WakeCount::new();
        assert!(poll_with(&mut stream.read(&mut [0]), &waker).is_pending());
        let duplicate = stream.as_fd().try_clone_to_owned().unwrap();
        let moves = move || {
            runtime::block_on(async {
                assert!(poll_here(&mut stream.read(&mut [0])).await.is_pending());
                drop(stream);
                peer.write_all(b"for the duplicate").unwrap();
                rounds(2).await;
            });
            peer
        };
        let _peer = thread::spawn(moves).join().unwrap();
        drop(waker);
        until(|| Arc::strong_count(&wakes) == 1).await;
        rounds(2).await;
        assert!(wakes.wakes() <= 1);
        assert_eq!((sources(runtime), watched()), before);
        assert_eq!(StdStream::from(duplicate).read(&mut [0; 64]).unwrap(), 17);
    });
}

#[test]
fn a_listener_leaves_the_epoll_set_also_where_nobody_knew_of_a_duplicate() {
    alone(async |_| {
        // As after `fork`: a backlog that nobody empties would be reported to this loop for ever.
        let before = watched();
        let probe = fs::File::open("/dev/null").unwrap();
        let number = probe.as_raw_fd();
        drop(probe);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let duplicate = duplicate(number, 0);
        let address = listener.local_addr().unwrap();
        assert!(
            poll_here(&mut Box::pin(listener.accept()))
                .await
                .is_pending()
        );
        assert_eq!(watched(), before + 1);
        drop(listener);
        assert_eq!(watched(), before);
        let _client = StdStream::connect(address).unwrap();
        drop(duplicate);
    });
}

#[test]
fn a_number_that_others_shared_and_gave_away_unseen_is_not_taken_for_theirs() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    within(LIMIT, || {
        let [first, second, third, fourth] = [(); 4].map(|()| Runtime::new().unwrap());
        let wait_in = |runtime: &Runtime, listener: &TcpListener| {
            runtime.block_on(async {
                let mut accept = Box::pin(listener.accept());
                assert!(poll_here(&mut accept).await.is_pending());
            });
        };
        let listener = first.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        for _ in 0..8 {
            wait_in(&first, &listener);
            wait_in(&second, &listener);
        }
        let number = listener.as_raw_fd();
        std::mem::forget(listener);
        // SAFETY: the descriptor is open, and its owner was forgotten.
        let listener = unsafe { std::net::TcpListener::from_raw_fd(number) };
        let listener = TcpListener::from_std(listener).unwrap();
        wait_in(&third, &listener);
        for _ in 0..10 {
            wait_in(&fourth, &listener);
        }
        assert_eq!(sources(&fourth), 1);
    });
}

/// A connection that was made blocking through a duplicate which the stream knows nothing of, and its peer.
async fn made_blocking(listener: &TcpListener) -> (TcpStream, StdStream) {
    let peer = connect(listener);
    let (stream, number) = accept(listener, &peer).await;
    let behind = StdStream::from(duplicate(number, 0));
    behind.set_nonblocking(false).unwrap();
    (stream, peer)
}

/// What one operation comes to that does not wait.
fn attempt<R>(operation: impl Future<Output = io::Result<R>>) -> io::Result<R> {
    match poll_with(&mut pin!(operation), Waker::noop()) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

#[test]
fn a_duplicate_that_is_made_blocking_stops_no_read() {
    type Read = fn(&mut TcpStream, &mut [u8]) -> io::Result<usize>;
    let reads: [Read; 5] = [
        |stream, buffer| attempt(AsyncReadExt::read(stream, buffer)),
        |stream, buffer| {
            let mut buffers = [IoSliceMut::new(buffer)];
            attempt(AsyncReadExt::read_vectored(stream, &mut buffers))
        },
        |stream, buffer| attempt(stream.peek(buffer)),
        |stream, buffer| stream.try_read(buffer),
        |stream, buffer| stream.try_read_vectored(&mut [IoSliceMut::new(buffer)]),
    ];
    alone(async |_| {
        let (listener, _) = listen().await;
        for read in reads {
            let (mut stream, mut peer) = made_blocking(&listener).await;
            let mut buffer = [0; 8];
            // Nothing has come, and the kernel would wait for it; the watchdog ends that.
            let error = read(&mut stream, &mut buffer).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            peer.write_all(b"ab").unwrap();
            stream.readable().await.unwrap();
            assert_eq!(read(&mut stream, &mut buffer).unwrap(), 2);
        }
    });
}

#[test]
fn a_duplicate_that_is_made_blocking_stops_no_write() {
    type Write = fn(&mut TcpStream, &[u8]) -> io::Result<usize>;
    let writes: [Write; 4] = [
        |stream, buffer| attempt(AsyncWriteExt::write(stream, buffer)),
        |stream, buffer| {
            let buffers = [IoSlice::new(buffer)];
            attempt(AsyncWriteExt::write_vectored(stream, &buffers))
        },
        |stream, buffer| stream.try_write(buffer),
        |stream, buffer| stream.try_write_vectored(&[IoSlice::new(buffer)]),
    ];
    // Without a budget, so that writing ends only when no more fits.
    let test = async |_: &Runtime| {
        let (listener, _) = listen().await;
        for write in writes {
            let (mut stream, mut peer) = made_blocking(&listener).await;
            let mut written = 0;
            // When no more fits, the kernel would wait for room; the watchdog ends that.
            let error = loop {
                match write(&mut stream, &[7; 1 << 16]) {
                    Ok(length) => written += length,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            peer.read_exact(&mut vec![0; written]).unwrap();
            stream.writable().await.unwrap();
            write(&mut stream, b"ab").unwrap();
        }
    };
    alone(async |runtime| unconstrained(test(runtime)).await);
}
