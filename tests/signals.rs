//! Signals: they interrupt system calls and end no operation, and writing to nobody raises none.
#![expect(unsafe_code, reason = "only libc sets what a signal does")]

mod common;

use std::cell::RefCell;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, mem, ptr, thread};

use common::process::alone;
use common::sockets::{counted, fill, narrow_pair, rounds};
use common::{listen, listen_at_localhost, pair, pair_with_std};
use runtime::io::{AsyncReadExt, AsyncWriteExt, Cursor, copy};
use runtime::net::{TcpListener, TcpStream};
use runtime::time::{Duration, Instant, sleep};
use socket2::SockRef;

/// How many signals have come.
static SIGNALS: AtomicUsize = AtomicUsize::new(0);

/// Interrupts this thread a thousand times a second until it is dropped.
struct Storm(libc::timer_t);

impl Storm {
    fn begin() -> Self {
        handle_without_restart();
        // SAFETY: zero bytes must be a valid `sigevent`: it holds integers and a nullable pointer.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGUSR1;
        // SAFETY: nothing is passed.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer = ptr::null_mut();
        let clock = libc::CLOCK_MONOTONIC;
        // SAFETY: the pointers must be valid for reading and writing: they are the locals above.
        let result = unsafe { libc::timer_create(clock, &raw mut event, &raw mut timer) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        let period = libc::timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        let setting = libc::itimerspec {
            it_interval: period,
            it_value: period,
        };
        // SAFETY: the setting must be valid for reading: it is the local above; the old one may be null.
        let result = unsafe { libc::timer_settime(timer, 0, &raw const setting, ptr::null_mut()) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        Self(timer)
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        // SAFETY: the timer was made by `timer_create` and is deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}

/// Counts `SIGUSR1`; without `SA_RESTART`, so the kernel interrupts whatever waits.
fn handle_without_restart() {
    extern "C" fn count(_: libc::c_int) {
        SIGNALS.fetch_add(1, Ordering::SeqCst);
    }
    let handler: extern "C" fn(libc::c_int) = count;
    // SAFETY: zero bytes must be a valid `sigaction`: it holds integers and a nullable pointer.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    // SAFETY: the pointer must be valid for reading one `sigaction`, and the handler must be safe to run
    // at any time: it touches one atomic.
    let result = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut()) };
    assert_eq!(result, 0);
}

/// Waits on a thread of its own until `count` more signals have come, then does `call`.
fn after_signals(count: usize, call: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    let until = SIGNALS.load(Ordering::SeqCst) + count;
    thread::spawn(move || {
        while SIGNALS.load(Ordering::SeqCst) < until {
            thread::yield_now();
        }
        call();
    })
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 8192];
    loop {
        match stream.read(&mut buffer).await.unwrap() {
            0 => return,
            length => stream.write_all(&buffer[..length]).await.unwrap(),
        }
    }
}

/// Connects by name, sends bytes and gets them back.
async fn exchange(port: u16, seed: u8) {
    let mut stream = TcpStream::connect(("localhost", port)).await.unwrap();
    for length in [1, 100, 10_000, 100_000] {
        let sent = Vec::from_iter((0..length).map(|at: usize| at.to_le_bytes()[0] ^ seed));
        let mut received = vec![0; length];
        let (mut reading, mut writing) = stream.split();
        let both =
            futures::future::join(writing.write_all(&sent), reading.read_exact(&mut received));
        let (write, read) = both.await;
        write.unwrap();
        read.unwrap();
        assert!(sent == received);
        sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn a_storm_of_signals_ends_no_operation_and_loses_no_byte() {
    alone(|| {
        runtime::block_on(async {
            let _storm = Storm::begin();
            let (listener, address) = listen_at_localhost().await;
            runtime::spawn(async move {
                loop {
                    runtime::spawn(echo(listener.accept().await.unwrap().0));
                }
            });
            while SIGNALS.load(Ordering::SeqCst) < 1000 {
                let exchange = |seed| runtime::spawn(exchange(address.port(), seed));
                for task in Vec::from_iter((0..8).map(exchange)) {
                    task.await.unwrap();
                }
            }
        });
    });
}

#[test]
fn a_storm_of_signals_wakes_no_task() {
    alone(|| {
        let _storm = Storm::begin();
        runtime::block_on(async {
            while SIGNALS.load(Ordering::SeqCst) < 200 {
                let polls = Arc::new(AtomicUsize::new(0));
                let timer = sleep(Duration::from_millis(20));
                let deadline = timer.deadline();
                counted(Arc::clone(&polls), timer).await;
                assert!(deadline <= Instant::now());
                assert_eq!(polls.load(Ordering::SeqCst), 2);
            }
        });
    });
}

/// A nonblocking socket never sleeps in a call, so only one that its user has made blocking shows this.
#[test]
fn a_call_that_blocks_is_repeated_when_a_signal_interrupts_it() {
    alone(|| {
        runtime::block_on(async {
            let _storm = Storm::begin();
            for is_vectored in [false, true] {
                let (mut peer, mut stream) = pair_with_std().await;
                SockRef::from(&stream).set_nonblocking(false).unwrap();
                let writes = after_signals(20, move || peer.write_all(b"hello").unwrap());
                let mut buffer = [0; 8];
                let received = match is_vectored {
                    false => stream.read(&mut buffer).await,
                    true => {
                        stream
                            .read_vectored(&mut [IoSliceMut::new(&mut buffer)])
                            .await
                    }
                };
                assert_eq!(received.unwrap(), 5);
                writes.join().unwrap();
            }
            let listener = blocking_listener().await;
            let address = listener.local_addr().unwrap();
            let connects = after_signals(20, move || drop(StdStream::connect(address).unwrap()));
            listener.accept().await.unwrap();
            connects.join().unwrap();
        });
    });
}

async fn blocking_listener() -> TcpListener {
    let listener = listen().await.0.into_std().unwrap();
    let duplicate = listener.try_clone().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    duplicate.set_nonblocking(false).unwrap();
    listener
}

#[test]
fn a_write_that_blocks_is_repeated_when_a_signal_interrupts_it() {
    alone(|| {
        runtime::block_on(async {
            let _storm = Storm::begin();
            for is_vectored in [false, true] {
                let (mut stream, server) = narrow_pair().await;
                fill(&stream);
                let mut server = server.into_std().unwrap();
                server.set_nonblocking(false).unwrap();
                SockRef::from(&stream).set_nonblocking(false).unwrap();
                let reads = after_signals(20, move || {
                    server.read_to_end(&mut Vec::new()).unwrap();
                });
                let sent = match is_vectored {
                    false => stream.write(b"hello").await,
                    true => stream.write_vectored(&[IoSlice::new(b"hello")]).await,
                };
                assert_eq!(sent.unwrap(), 5);
                drop(stream);
                reads.join().unwrap();
            }
        });
    });
}

/// A stream whose peer is gone, and which has been told so: the next write is a broken pipe.
async fn to_nobody() -> TcpStream {
    let (client, server) = pair().await;
    server.set_zero_linger().unwrap();
    drop(server);
    let error = client.take_error().unwrap().expect("the peer has reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    client
}

#[test]
fn writing_to_a_peer_that_is_gone_is_an_error_and_no_signal() {
    alone(|| {
        // SAFETY: the default action, which ends the process, needs no handler.
        let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        assert_ne!(before, libc::SIG_ERR);
        let errors = RefCell::new(Vec::new());
        let failed = |name: &'static str, result: io::Result<usize>| {
            errors.borrow_mut().push((name, result.unwrap_err().kind()));
        };
        runtime::block_on(async {
            let slices = [IoSlice::new(b"hel"), IoSlice::new(b"lo")];
            let mut stream = to_nobody().await;
            failed("write", stream.write(b"hello").await);
            failed("write_vectored", stream.write_vectored(&slices).await);
            failed("write_all", stream.write_all(b"hello").await.map(|()| 5));
            failed("try_write", stream.try_write(b"hello"));
            failed("try_write_vectored", stream.try_write_vectored(&slices));
            failed("by reference", (&stream).write(b"hello").await);
            let from = Cursor::new(b"hello");
            failed("copy", copy(from, &mut stream).await.map(|_| 5));
            let (_reading, mut writing) = stream.split();
            failed("half", writing.write(b"hello").await);
            failed("half, vectored", writing.write_vectored(&slices).await);
            let (_reading, mut writing) = stream.into_split();
            failed("owned half", writing.write(b"hello").await);
            failed(
                "owned half, vectored",
                writing.write_vectored(&slices).await,
            );
            writing.close().await.unwrap();
        });
        let errors = errors.into_inner();
        let is_told = |error: &(_, ErrorKind)| error.1 == ErrorKind::BrokenPipe;
        assert!(errors.iter().all(is_told), "{errors:?}");
        assert_eq!(errors.len(), 11);
    });
}

#[test]
fn a_write_that_waits_for_a_peer_that_resets_is_an_error_and_no_signal() {
    alone(|| {
        // SAFETY: the default action, which ends the process, needs no handler.
        let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        assert_ne!(before, libc::SIG_ERR);
        runtime::block_on(async {
            let (mut client, server) = narrow_pair().await;
            let writer = runtime::spawn(async move {
                let error = client.write_all(&[7; 1 << 20]).await.unwrap_err();
                (
                    error.kind(),
                    client.write(b"more").await.unwrap_err().kind(),
                )
            });
            rounds(3).await;
            server.set_zero_linger().unwrap();
            drop(server);
            let told = writer.await.unwrap();
            assert_eq!(told, (ErrorKind::ConnectionReset, ErrorKind::BrokenPipe));
        });
    });
}
