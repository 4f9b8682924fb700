//! Streams: options, addresses, peeking, closing, conversions, and what a vanished peer does.

mod common;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{Shutdown, TcpStream as StdStream};
use std::pin::pin;
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

#[test]
fn polling_a_stream_outside_of_a_runtime_panics_with_one_sentence() {
    let (_peer, mut stream) = run(pair_with_std());
    let panic =
        common::panics::panic_of(|| futures::FutureExt::now_or_never(stream.read(&mut [0])));
    assert!(panic.message.contains("there is no runtime on this thread"));
    let _: Option<io::Error> = stream.take_error().unwrap();
    run(rounds(1));
}
