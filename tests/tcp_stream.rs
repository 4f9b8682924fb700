//! Streams: options, addresses, peeking, closing, conversions, and what a vanished peer does.
#![expect(unsafe_code, reason = "only libc sets what a signal does")]

mod common;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{Shutdown, TcpStream as StdStream};
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::sockets::{narrow_pair, poll_here, rounds};
use common::{listen, pair, pair_with_std, run};
use runtime::io::{AsyncReadExt, AsyncWriteExt, Interest};
use runtime::net::TcpStream;
use runtime::time::timeout;

#[test]
fn options_are_set_and_read() {
    run(async {
        let (client, _server) = pair().await;
        for on in [true, false] {
            client.set_nodelay(on).unwrap();
            assert_eq!(client.nodelay().unwrap(), on);
            client.set_keepalive(on).unwrap();
            assert_eq!(client.keepalive().unwrap(), on);
        }
        client.set_ttl(42).unwrap();
        assert_eq!(client.ttl().unwrap(), 42);
        assert_eq!(
            client.set_ttl(0).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        for linger in [Some(Duration::from_secs(3)), Some(Duration::ZERO), None] {
            client.set_linger(linger).unwrap();
            assert_eq!(client.linger().unwrap(), linger);
        }
        client.set_zero_linger().unwrap();
        assert_eq!(client.linger().unwrap(), Some(Duration::ZERO));
    });
}

#[test]
fn the_addresses_of_the_two_ends_mirror_each_other() {
    run(async {
        let (client, server) = pair().await;
        assert_eq!(client.local_addr().unwrap(), server.peer_addr().unwrap());
        assert_eq!(server.local_addr().unwrap(), client.peer_addr().unwrap());
        let shown = format!("{client:?}");
        assert!(
            shown.contains(&client.peer_addr().unwrap().to_string()),
            "{shown}"
        );
    });
}

#[test]
fn vectored_operations_fill_and_empty_all_buffers_in_order() {
    run(async {
        let (mut client, mut server) = pair().await;
        let slices = [IoSlice::new(b"a"), IoSlice::new(b""), IoSlice::new(b"bcd")];
        assert_eq!(client.write_vectored(&slices).await.unwrap(), 4);
        let (mut first, mut second) = ([0; 2], [0; 8]);
        let mut slices = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(server.read_vectored(&mut slices).await.unwrap(), 4);
        assert_eq!((&first, &second[..2]), (b"ab", b"cd".as_slice()));
    });
}

#[test]
fn ready_tells_the_directions_that_were_asked_for_and_what_is_closed() {
    run(async {
        let (client, server) = pair().await;
        let ready = client.ready(Interest::WRITABLE).await.unwrap();
        assert!(ready.is_writable() && !ready.is_readable() && !ready.is_empty());
        server.try_write(b"!").unwrap();
        let ready = client.ready(Interest::READABLE).await.unwrap();
        assert!(ready.is_readable() && !ready.is_writable());
        assert!(!ready.is_read_closed() && !ready.is_write_closed());
        client.try_read(&mut [0; 8]).unwrap();
        drop(server);
        let ready = client.ready(Interest::READABLE).await.unwrap();
        assert!(ready.is_readable() && ready.is_read_closed() && !ready.is_write_closed());
        client.shutdown(Shutdown::Write).unwrap();
        common::sockets::until(|| {
            let ready = pin!(client.ready(Interest::WRITABLE));
            futures::FutureExt::now_or_never(ready)
                .is_some_and(|ready| ready.unwrap().is_write_closed())
        })
        .await;
    });
}

#[test]
fn closing_shuts_down_writing_only_and_may_be_repeated() {
    run(async {
        let (mut client, mut server) = pair().await;
        client.close().await.unwrap();
        client.close().await.unwrap();
        let error = client.write(b"!").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
        server.write_all(b"still here").await.unwrap();
        assert_eq!(client.read(&mut [0; 64]).await.unwrap(), 10);
    });
}

#[test]
fn shutting_down_reading_ends_a_waiting_read() {
    run(async {
        let (client, _server) = pair().await;
        let mut byte = [0];
        let mut reading = &client;
        let mut read = reading.read(&mut byte);
        assert!(poll_here(&mut read).await.is_pending());
        client.shutdown(Shutdown::Read).unwrap();
        assert_eq!(read.await.unwrap(), 0);
    });
}

#[test]
fn shutting_down_writing_fails_a_waiting_write() {
    run(async {
        let (client, _server) = narrow_pair().await;
        let bytes = vec![7; 1 << 20];
        let mut writing = &client;
        let mut write = writing.write_all(&bytes);
        assert!(poll_here(&mut write).await.is_pending());
        client.shutdown(Shutdown::Both).unwrap();
        assert_eq!(write.await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn writing_to_a_peer_that_is_gone_is_an_error_and_no_signal() {
    const CHILD: &str = "RUNTIME_TEST_DEFAULT_SIGPIPE";
    if std::env::var_os(CHILD).is_some() {
        // SAFETY: the default action needs no handler.
        let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        assert_ne!(before, libc::SIG_ERR);
        run(write_to_nobody());
        return;
    }
    let name = "writing_to_a_peer_that_is_gone_is_an_error_and_no_signal";
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", name, "--nocapture"]).env(CHILD, "1");
    let output = test.output().unwrap();
    assert_eq!(output.status.signal(), None, "SIGPIPE is {}", libc::SIGPIPE);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

async fn write_to_nobody() {
    let gone = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    for is_vectored in [false, true] {
        for is_tried in [false, true] {
            let (mut client, server) = pair().await;
            drop(server);
            let mut errors = Vec::new();
            for _ in 0..3 {
                let slices = [IoSlice::new(b"hello")];
                let result = match (is_vectored, is_tried) {
                    (false, false) => client.write(b"hello").await,
                    (true, false) => client.write_vectored(&slices).await,
                    (false, true) => client.try_write(b"hello"),
                    (true, true) => client.try_write_vectored(&slices),
                };
                errors.extend(result.err());
            }
            // The first write is answered with a reset; the others fail.
            assert_eq!(errors.len(), 2);
            assert!(errors.iter().all(|error| gone.contains(&error.kind())));
        }
    }
}

#[test]
fn a_peer_that_resets_is_an_error_of_reading() {
    run(async {
        let (mut client, server) = pair().await;
        server.set_zero_linger().unwrap();
        drop(server);
        let error = client.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(
            client.peer_addr().unwrap_err().kind(),
            ErrorKind::NotConnected
        );
    });
}

#[test]
fn a_stream_of_std_that_blocks_does_not_block_the_loop() {
    run(async {
        let (listener, address) = listen().await;
        let blocking = StdStream::connect(address).unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut client = TcpStream::try_from(blocking).unwrap();
        let mut byte = [0];
        let mut read = client.read(&mut byte);
        assert!(poll_here(&mut read).await.is_pending());
        server.write_all(b"!").await.unwrap();
        assert_eq!(read.await.unwrap(), 1);
    });
}

#[test]
fn a_registered_stream_works_on_in_std_and_comes_back() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        for _ in 0..10 {
            assert!(poll_here(&mut stream.read(&mut [0])).await.is_pending());
            let mut blocking = stream.into_std().unwrap();
            let error = blocking.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            blocking.set_nonblocking(false).unwrap();
            peer.write_all(b"!").unwrap();
            blocking.read_exact(&mut [0]).unwrap();
            stream = TcpStream::from_std(blocking).unwrap();
        }
        assert!(poll_here(&mut stream.read(&mut [0])).await.is_pending());
        drop(peer);
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    });
}

#[test]
fn a_read_that_times_out_has_taken_no_byte() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        let mut buffer = [0; 8];
        let read = timeout(Duration::ZERO, stream.read(&mut buffer)).await;
        assert!(read.is_err());
        peer.write_all(b"hello").unwrap();
        // Both are ready: what was read wins.
        let read = timeout(Duration::ZERO, stream.read(&mut buffer)).await;
        let length = match read {
            Ok(length) => length.unwrap(),
            // The event was not taken yet.
            Err(_) => stream.read(&mut buffer).await.unwrap(),
        };
        assert_eq!(&buffer[..length], b"hello");
    });
}

/// Sends this thread one signal after the other until it is dropped.
struct Signals(Arc<AtomicBool>, Option<thread::JoinHandle<usize>>);

impl Signals {
    fn begin() -> Self {
        extern "C" fn nothing(_: libc::c_int) {}
        let handler: extern "C" fn(libc::c_int) = nothing;
        // SAFETY: zero bytes must be a valid `sigaction`: it holds integers and a nullable pointer.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // Without SA_RESTART, the kernel interrupts whatever waits.
        action.sa_sigaction = handler as libc::sighandler_t;
        // SAFETY: the pointer must be valid for reading one `sigaction`, and the handler must be
        // safe to run at any time: it does nothing.
        let result =
            unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
        assert_eq!(result, 0);
        let is_done = Arc::new(AtomicBool::new(false));
        // SAFETY: nothing is passed.
        let target = unsafe { libc::pthread_self() };
        let sender = thread::spawn({
            let is_done = Arc::clone(&is_done);
            move || {
                let mut sent = 0;
                while !is_done.load(Ordering::SeqCst) {
                    // SAFETY: the target must be alive: it waits for this thread in `drop`.
                    unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
                    sent += 1;
                    thread::yield_now();
                }
                sent
            }
        });
        Self(is_done, Some(sender))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        let sent = self.1.take().map(thread::JoinHandle::join);
        assert!(thread::panicking() || sent.is_some_and(|sent| sent.is_ok_and(|sent| sent > 0)));
    }
}

#[test]
fn signals_end_no_operation() {
    run(async {
        let _signals = Signals::begin();
        for _ in 0..20 {
            // Connecting, accepting, reading, writing and waiting in the kernel.
            rounds(50).await;
            runtime::time::sleep(Duration::from_millis(1)).await;
            let (mut client, mut server) = narrow_pair().await;
            let task = runtime::spawn(async move {
                client.write_all(&[7; 1 << 16]).await.unwrap();
                client.close().await.unwrap();
            });
            let mut received = Vec::new();
            server.read_to_end(&mut received).await.unwrap();
            assert_eq!(received.len(), 1 << 16);
            task.await.unwrap();
        }
    });
}

#[test]
fn polling_a_stream_outside_of_a_runtime_panics_with_one_sentence() {
    let (_peer, mut stream) = run(pair_with_std());
    let panic =
        common::panics::panic_of(|| futures::FutureExt::now_or_never(stream.read(&mut [0])));
    assert!(panic.message.contains("there is no runtime on this thread"));
    let _: Option<io::Error> = stream.take_error().unwrap();
    run(rounds(1));
}
