//! Descriptors and registrations: all are close-on-exec, and all are given back.

mod common;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpStream as StdStream;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use common::sockets::{full_listener, poll_here, rounds, sources};
use common::{LIMIT, listen, open_fds, pair, pair_with_std, within};
use runtime::Runtime;
use runtime::io::{AsyncReadExt, AsyncWriteExt, Interest};
use runtime::net::{TcpListener, TcpSocket, TcpStream};

/// The tests count the process's descriptors, so they run one after the other.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs a test that must close all it opens.
fn closing_all(test: impl FnOnce()) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    within(LIMIT, || {
        let before = open_fds();
        test();
        assert_eq!(open_fds(), before);
    });
}

/// The numbers of the open descriptors.
fn numbers() -> BTreeSet<String> {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let names = entries.map(|entry| name(entry).into_string().unwrap());
    let mut numbers = BTreeSet::from_iter(names);
    // The directory that was read is among them, and closed by now.
    numbers.retain(|number| is_close_on_exec(number).is_some());
    numbers
}

/// Whether a descriptor is closed when the process becomes another program.
fn is_close_on_exec(number: &str) -> Option<bool> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
    Some(flags & CLOSE_ON_EXEC != 0)
}

#[test]
fn dropping_the_runtime_closes_its_descriptors_and_those_of_its_tasks() {
    closing_all(|| {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (listener, address) = listen().await;
            let mut stream = TcpStream::connect(address).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            runtime::spawn(async move {
                let _server = server;
                stream.read(&mut [0]).await
            });
            runtime::spawn(async move { listener.accept().await.map(drop) });
            rounds(3).await;
        });
        drop(runtime);
    });
}

#[test]
fn runtimes_made_and_dropped_leave_no_descriptor() {
    closing_all(|| {
        for _ in 0..1000 {
            runtime::block_on(async {});
        }
    });
}

#[test]
fn ten_thousand_connections_leave_no_descriptor_and_no_registration() {
    closing_all(|| {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (listener, address) = listen().await;
            let before = open_fds();
            for _ in 0..10_000 {
                let mut client = TcpStream::connect(address).await.unwrap();
                let (mut server, _) = listener.accept().await.unwrap();
                assert!(poll_here(&mut server.read(&mut [0])).await.is_pending());
                client.write_all(b"!").await.unwrap();
                assert_eq!(server.read(&mut [0]).await.unwrap(), 1);
                // A reset leaves no port in TIME_WAIT.
                client.set_zero_linger().unwrap();
            }
            assert_eq!(open_fds(), before);
            drop(listener);
            assert_eq!(sources(&runtime), 0);
        });
    });
}

#[test]
fn aborted_tasks_close_their_sockets() {
    closing_all(|| {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            for _ in 0..100 {
                let (mut client, mut server) = pair().await;
                let task = runtime::spawn(async move { server.read(&mut [0]).await });
                rounds(1).await;
                task.abort();
                assert!(task.await.unwrap_err().is_cancelled());
                assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            }
            assert_eq!(sources(&runtime), 0);
        });
    });
}

#[test]
fn every_descriptor_is_close_on_exec() {
    closing_all(|| {
        let before = numbers();
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (listener, address) = listen().await;
            let client = TcpStream::connect(address).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            let socket = TcpSocket::new_v4().unwrap();
            let other = TcpListener::from_std(listener.into_std().unwrap()).unwrap();
            let ours = Vec::from_iter(numbers().difference(&before).cloned());
            let flags = ours.iter().filter_map(|number| is_close_on_exec(number));
            let flags = Vec::from_iter(flags);
            // Epoll, eventfd, timerfd, listener, two ends and an idle socket.
            assert_eq!(flags, [true; 7]);
            drop((client, server, socket, other));
        });
    });
}

#[test]
fn a_descriptor_that_cannot_be_watched_gives_its_error_and_leaks_nothing() {
    closing_all(|| {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let path = std::env::current_exe().unwrap();
            let file = OwnedFd::from(File::open(path).unwrap());
            // A file is no socket, but that is only found out when it is used.
            let stream = TcpStream::from_std(StdStream::from(file)).unwrap();
            let before = open_fds();
            for _ in 0..10_000 {
                for interest in [Interest::READABLE, Interest::WRITABLE] {
                    let error = stream.ready(interest).await.unwrap_err();
                    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
                }
                assert_eq!(sources(&runtime), 0);
            }
            assert_eq!(open_fds(), before);
        });
    });
}

#[test]
fn a_bind_that_fails_closes_its_socket() {
    closing_all(|| {
        runtime::block_on(async {
            let (_listener, address) = listen().await;
            let before = open_fds();
            for _ in 0..100 {
                TcpListener::bind(address).await.unwrap_err();
            }
            assert_eq!(open_fds(), before);
        });
    });
}

#[test]
fn a_cancelled_connect_closes_its_socket() {
    closing_all(|| {
        runtime::block_on(async {
            let (_listener, address, _clients) = full_listener().await;
            let before = open_fds();
            for _ in 0..100 {
                let mut connect = Box::pin(TcpStream::connect(address));
                assert!(poll_here(&mut connect).await.is_pending());
                assert_eq!(open_fds(), before + 1);
                drop(connect);
                assert_eq!(open_fds(), before);
            }
        });
    });
}

#[test]
fn into_std_hands_out_the_one_descriptor_that_there_is() {
    closing_all(|| {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (mut peer, mut stream) = pair_with_std().await;
            assert!(poll_here(&mut stream.read(&mut [0])).await.is_pending());
            let before = open_fds();
            let stream = stream.into_std().unwrap();
            assert_eq!(open_fds(), before);
            assert_eq!(sources(&runtime), 0);
            peer.write_all(b"!").unwrap();
            drop(stream);
            assert_eq!(open_fds(), before - 1);
        });
    });
}
