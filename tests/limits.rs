//! Limits of the process and the system: who needs what has run out is told so, and all else goes on.
#![expect(unsafe_code, reason = "only libc fills epoll sets")]

mod common;

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::net::TcpStream as StdStream;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::pin::pin;

use common::process::{
    Resource, alone, alone_under, become_nobody, limit, skip, wait_for_resolving_threads,
};
use common::sockets::{full_listener, poll_here, rounds, sources};
use common::{listen, listen_at_localhost, open_fds, pair};
use runtime::Runtime;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use runtime::time::{Duration, sleep};

/// Opens files until no more can be.
fn exhaust() -> Vec<File> {
    Vec::from_iter(std::iter::from_fn(|| File::open("/dev/null").ok()))
}

fn expect_error<T>(result: io::Result<T>, number: i32) {
    let error = result.err().expect("what it needs has run out");
    assert_eq!(error.raw_os_error(), Some(number), "{error}");
}

#[test]
fn without_a_free_descriptor_who_needs_one_is_told_so_and_all_else_goes_on() {
    alone(|| {
        limit(Resource::Descriptors, 64);
        let before = open_fds();
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (listener, address) = listen().await;
            let (mut near, mut far) = pair().await;
            let watched = sources(&runtime);
            let fillers = exhaust();
            for _ in 0..100 {
                expect_error(TcpStream::connect(address).await, libc::EMFILE);
                expect_error(TcpListener::bind("127.0.0.1:0").await, libc::EMFILE);
                expect_error(TcpSocket::new_v4(), libc::EMFILE);
                near.write_all(b"!").await.unwrap();
                far.read_exact(&mut [0]).await.unwrap();
                sleep(Duration::from_micros(100)).await;
            }
            // The resolver may need one, or not; in any case it ends.
            let _ = lookup_host("localhost:80").await;
            drop(fillers);
            let client = TcpStream::connect(address).await.unwrap();
            listener.accept().await.unwrap();
            drop((client, near, far));
            assert!(sources(&runtime) <= watched);
        });
        drop(runtime);
        assert_eq!(open_fds(), before);
    });
}

#[test]
fn a_runtime_that_lacks_one_of_its_descriptors_is_not_made_and_leaves_nothing() {
    alone(|| {
        limit(Resource::Descriptors, 64);
        let before = open_fds();
        let mut fillers = exhaust();
        for _ in 0..3 {
            // More often than there are places for runtimes in a process.
            for _ in 0..5000 {
                expect_error(Runtime::new(), libc::EMFILE);
            }
            fillers.pop();
        }
        drop(Runtime::new().unwrap());
        drop(fillers);
        assert_eq!(open_fds(), before);
        runtime::block_on(rounds(3));
    });
}

#[test]
fn without_a_free_thread_a_name_is_not_looked_up_and_all_else_goes_on() {
    alone(|| {
        runtime::block_on(async {
            let (_listener, address) = listen_at_localhost().await;
            let by_name = ("localhost", address.port());
            TcpStream::connect(by_name).await.unwrap();
            wait_for_resolving_threads();
            become_nobody();
            let before = limit(Resource::Threads, 0);
            let results = [
                lookup_host(by_name).await.map(drop),
                TcpStream::connect(by_name).await.map(drop),
                TcpListener::bind("localhost:0").await.map(drop),
            ];
            for result in results {
                let error = result.unwrap_err();
                // `EAGAIN`, but there is nothing to wait for.
                assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
                assert!(error.to_string().contains("no thread"), "{error}");
            }
            rounds(3).await;
            sleep(Duration::from_micros(100)).await;
            runtime::spawn(async {}).await.unwrap();
            TcpStream::connect(address).await.unwrap();
            limit(Resource::Threads, before);
            TcpStream::connect(by_name).await.unwrap();
        });
    });
}

/// The setting that tells how many descriptors all epoll sets of a user may watch.
const WATCHES: &str = "/proc/sys/fs/epoll/max_user_watches";
/// So many are few enough to use up, and more than other processes of this system need meanwhile.
const FEW_WATCHES: u64 = 100_000;

/// Lowers the limit for the whole system, until dropped.
struct FewWatches(String);

impl FewWatches {
    fn new() -> Option<Self> {
        let before = fs::read_to_string(WATCHES).unwrap();
        if before.trim().parse::<u64>().unwrap() <= FEW_WATCHES {
            skip(format_args!("{WATCHES} is so low that others would notice"));
            return None;
        }
        if let Err(error) = fs::write(WATCHES, FEW_WATCHES.to_string()) {
            skip(format_args!("{WATCHES} cannot be lowered: {error}"));
            return None;
        }
        Some(Self(before))
    }
}

impl Drop for FewWatches {
    fn drop(&mut self) {
        fs::write(WATCHES, &self.0).expect("it was written before");
    }
}

/// An epoll set that watches `watched`, or as many of them as it may.
fn watch(watched: &[OwnedFd]) -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    assert!(epoll >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the kernel just made `epoll`, and nobody else knows it.
    let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
    for fd in watched {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let (epoll, fd) = (epoll.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: the pointer must be valid for reading one event: it is the local above.
        let result = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(epoll)
}

/// Uses up all that this user may watch.
fn exhaust_watches() -> Vec<OwnedFd> {
    let event_fd = |_| {
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        // SAFETY: the kernel just made `fd`, and nobody else knows it.
        unsafe { OwnedFd::from_raw_fd(fd) }
    };
    let watched = Vec::from_iter((0..300).map(event_fd));
    let mut sets = Vec::new();
    let mut count = watched.len();
    // The last set holds what is left, one descriptor after the other.
    while count > 0 {
        match watch(&watched[..count]) {
            Ok(set) => sets.push(set),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
                count /= 2;
            }
        }
    }
    // What is watched dies with its descriptors.
    sets.extend(watched);
    sets
}

#[test]
#[ignore = "lowers a limit of the whole system, which takes the superuser"]
fn at_the_limit_of_watches_who_has_to_wait_is_told_so_and_all_else_goes_on() {
    alone_under(FewWatches::new, || {
        become_nobody();
        limit(Resource::Descriptors, 1000);
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (listener, address) = listen().await;
            let (near, mut far) = pair().await;
            assert!(poll_here(&mut far.read(&mut [0])).await.is_pending());
            let (mut fresh, _peer) = pair().await;
            let (_full, full, _clients) = full_listener().await;
            let watched = sources(&runtime);
            let fillers = exhaust_watches();
            for _ in 0..1000 {
                expect_error(fresh.read(&mut [0]).await, libc::ENOSPC);
                expect_error(fresh.readable().await, libc::ENOSPC);
                expect_error(listener.accept().await, libc::ENOSPC);
                expect_error(TcpStream::connect(full).await, libc::ENOSPC);
                expect_error(Runtime::new(), libc::ENOSPC);
                // Who need not wait is not told.
                let _client = TcpStream::connect(address).await.unwrap();
                listener.accept().await.unwrap();
                assert_eq!(sources(&runtime), watched);
                // What is watched already is not affected.
                assert!(poll_here(&mut far.read(&mut [0])).await.is_pending());
                near.try_write(b"!").unwrap();
                far.read_exact(&mut [0]).await.unwrap();
                sleep(Duration::from_micros(100)).await;
            }
            let _client = StdStream::connect(address).unwrap();
            drop(fillers);
            listener.accept().await.unwrap();
            assert!(poll_here(&mut pin!(listener.accept())).await.is_pending());
            assert!(poll_here(&mut fresh.read(&mut [0])).await.is_pending());
            rounds(3).await;
        });
    });
}
