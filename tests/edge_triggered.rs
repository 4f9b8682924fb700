//! Edge-triggered readiness: no edge is lost, whatever the operations in between saw of it.
#![expect(unsafe_code, reason = "the limit of descriptors is libc's to tell")]

mod common;

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use common::sockets::{
    counted, drain, fill, narrow_pair, poll_here, poll_with, rounds, sources, until,
};
use common::{LIMIT, WakeCount, listen, pair, pair_with_std, run, within};
use runtime::Builder;
use runtime::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Interest};
use runtime::net::TcpStream;
use socket2::SockRef;

fn would_block<R: std::fmt::Debug>(result: io::Result<R>) {
    let error = result.expect_err("nothing is there");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

/// Registers the stream for reading, by a read that has to wait.
async fn watch_reading(stream: &mut TcpStream) {
    assert!(poll_here(&mut stream.read(&mut [0])).await.is_pending());
}

#[test]
fn bytes_left_by_a_full_read_are_read_without_a_new_edge() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        watch_reading(&mut stream).await;
        peer.write_all(b"abcdefgh").unwrap();
        let mut buffer = [0; 3];
        for expected in [b"abc".as_slice(), b"def", b"gh"] {
            let length = stream.read(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], expected);
        }
    });
}

#[test]
fn bytes_that_come_after_a_short_read_are_read() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        watch_reading(&mut stream).await;
        let mut buffer = [0; 64];
        for round in 0..1000_u32 {
            peer.write_all(&round.to_be_bytes()).unwrap();
            assert_eq!(stream.read(&mut buffer).await.unwrap(), 4);
            assert_eq!(buffer[..4], round.to_be_bytes());
        }
    });
}

#[test]
fn data_and_the_end_in_one_event_are_both_read() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        watch_reading(&mut stream).await;
        peer.write_all(b"hello").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 5);
        for _ in 0..3 {
            assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
        }
    });
}

#[test]
fn data_and_the_end_in_one_event_are_both_read_by_vectored_reads() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        watch_reading(&mut stream).await;
        peer.write_all(b"hello").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        for expected in [5, 0] {
            let (mut first, mut second) = ([0; 3], [0; 61]);
            let mut slices = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
            assert_eq!(stream.read_vectored(&mut slices).await.unwrap(), expected);
        }
    });
}

#[test]
fn data_and_the_end_in_one_event_are_both_seen_by_try_read() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        watch_reading(&mut stream).await;
        peer.write_all(b"hello").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        stream.readable().await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(stream.try_read(&mut buffer).unwrap(), 5);
        stream.readable().await.unwrap();
        assert_eq!(stream.try_read(&mut buffer).unwrap(), 0);
        let ready = stream.ready(Interest::READABLE).await.unwrap();
        assert!(ready.is_read_closed() && !ready.is_write_closed());
    });
}

#[test]
fn bytes_behind_urgent_data_are_read() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        watch_reading(&mut stream).await;
        peer.write_all(b"before").unwrap();
        SockRef::from(&peer).send_out_of_band(b"!").unwrap();
        peer.write_all(b"behind").unwrap();
        // The kernel ends a read at the mark, so this one is short, though there is more.
        let mut buffer = [0; 64];
        let length = stream.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"before");
        let length = stream.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"behind");
    });
}

#[test]
fn a_vectored_read_of_more_slices_than_the_kernel_takes_does_not_count_as_short() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        watch_reading(&mut stream).await;
        peer.write_all(&[7; 1500]).unwrap();
        let mut bytes = vec![[0_u8]; 2000];
        let mut received = 0;
        while received < 1500 {
            let mut slices = Vec::from_iter(bytes.iter_mut().map(|byte| IoSliceMut::new(byte)));
            received += stream.read_vectored(&mut slices).await.unwrap();
        }
        assert_eq!(received, 1500);
    });
}

#[test]
fn a_vectored_write_of_more_slices_than_the_kernel_takes_does_not_count_as_short() {
    run(async {
        let (mut client, mut server) = narrow_pair().await;
        // Writing is watched once a write had to wait.
        let filled = fill(&client);
        let mut write = client.write(&[7]);
        let is_pending = poll_here(&mut write).await.is_pending();
        let sent = usize::from(!is_pending);
        assert_eq!(drain(&mut server, filled).await, filled);
        client.writable().await.unwrap();
        let slices = vec![IoSlice::new(&[7]); 2000];
        let mut written = 0;
        while written < 2000 {
            written += client.write_vectored(&slices[written..]).await.unwrap();
        }
        assert_eq!(drain(&mut server, 2000 + sent).await, 2000 + sent);
    });
}

#[test]
fn a_half_closed_peer_does_not_make_the_writer_spin() {
    run(async {
        let (client, mut server) = narrow_pair().await;
        let (mut reading, mut writing) = client.into_split();
        let polls = Arc::new(AtomicUsize::new(0));
        let writer = runtime::spawn(counted(Arc::clone(&polls), async move {
            writing.write_all(&[7; 1 << 20]).await.unwrap();
        }));
        server.close().await.unwrap();
        assert_eq!(reading.read(&mut [0; 64]).await.unwrap(), 0);
        rounds(10).await;
        let before = polls.load(Ordering::SeqCst);
        rounds(500).await;
        let during = polls.load(Ordering::SeqCst) - before;
        assert!(during < 10, "the writer was polled {during} times");
        assert_eq!(drain(&mut server, 1 << 20).await, 1 << 20);
        writer.await.unwrap();
    });
}

#[test]
fn a_reset_wakes_the_reader_and_the_writer() {
    run(async {
        let (client, server) = narrow_pair().await;
        let (mut reading, mut writing) = client.into_split();
        let reader = runtime::spawn(async move { reading.read(&mut [0; 64]).await });
        let writer = runtime::spawn(async move {
            let result = writing.write_all(&[7; 1 << 20]).await;
            // The half must not be dropped before the reader has seen the error.
            (result, writing)
        });
        rounds(10).await;
        server.set_zero_linger().unwrap();
        drop(server);
        let (write, _writing) = writer.await.unwrap();
        let errors = [reader.await.unwrap().err(), write.err()];
        let gone = [
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::UnexpectedEof,
        ];
        // The kernel tells the error once; the other direction sees what is left of it.
        assert!(
            errors
                .iter()
                .flatten()
                .all(|error| gone.contains(&error.kind()))
        );
        let is_reset = |error: &&io::Error| error.kind() == io::ErrorKind::ConnectionReset;
        assert_eq!(errors.iter().flatten().filter(is_reset).count(), 1);
        assert!(errors[1].is_some());
    });
}

#[test]
fn nothing_to_read_leaves_writing_ready() {
    run(async {
        let (mut client, mut server) = pair().await;
        let ready = client.ready(Interest::WRITABLE).await.unwrap();
        assert!(ready.is_writable() && !ready.is_readable());
        watch_reading(&mut client).await;
        would_block(client.try_read(&mut [0; 8]));
        let ready = poll_here(&mut std::pin::pin!(client.ready(Interest::WRITABLE))).await;
        assert!(matches!(ready, Poll::Ready(Ok(ready)) if ready.is_writable()));
        assert_eq!(client.try_write(b"!").unwrap(), 1);
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 1);
    });
}

#[test]
fn a_full_buffer_leaves_reading_ready() {
    run(async {
        let (client, mut server) = narrow_pair().await;
        server.write_all(b"hello").await.unwrap();
        client.readable().await.unwrap();
        client.writable().await.unwrap();
        fill(&client);
        assert_eq!(client.try_read(&mut [0; 64]).unwrap(), 5);
    });
}

#[test]
fn both_directions_wait_and_are_woken_each_by_its_own_event() {
    run(async {
        let (client, mut server) = narrow_pair().await;
        let ((reads, reader), (writes, writer)) = (WakeCount::new(), WakeCount::new());
        let (mut reading, mut writing) = client.into_split();
        let mut byte = [0];
        let mut read = reading.read(&mut byte);
        let mut write = writing.write_all(&[7; 1 << 20]);
        assert!(poll_with(&mut read, &reader).is_pending());
        assert!(poll_with(&mut write, &writer).is_pending());
        server.write_all(b"!").await.unwrap();
        until(|| reads.wakes() > 0).await;
        assert!(matches!(poll_with(&mut read, &reader), Poll::Ready(Ok(1))));
        assert_eq!(writes.wakes(), 0);
        let reader = runtime::spawn(async move { drain(&mut server, 1 << 20).await });
        loop {
            let before = writes.wakes();
            if poll_with(&mut write, &writer).is_ready() {
                break;
            }
            until(|| writes.wakes() > before).await;
        }
        assert_eq!(reader.await.unwrap(), 1 << 20);
        assert_eq!(reads.wakes(), 1);
    });
}

#[test]
fn readiness_seen_before_an_await_holds_after_it() {
    run(async {
        let (mut peer, stream) = pair_with_std().await;
        peer.write_all(b"one").unwrap();
        stream.readable().await.unwrap();
        rounds(3).await;
        peer.write_all(b"two").unwrap();
        rounds(3).await;
        stream.readable().await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(stream.try_read(&mut buffer).unwrap(), 6);
        would_block(stream.try_read(&mut buffer));
        let mut again = std::pin::pin!(stream.readable());
        assert!(poll_here(&mut again).await.is_pending());
        peer.write_all(b"three").unwrap();
        again.await.unwrap();
        assert_eq!(stream.try_read(&mut buffer).unwrap(), 5);
    });
}

#[test]
fn any_number_of_edges_between_readiness_and_the_read_is_one_readiness() {
    within(LIMIT, || {
        let runtime = Builder::new().event_interval(1).build().unwrap();
        runtime.block_on(async {
            let (mut peer, mut stream) = pair_with_std().await;
            for edges in [1, 255, 256, 65_536] {
                peer.write_all(b".").unwrap();
                stream.readable().await.unwrap();
                for _ in 0..edges {
                    peer.write_all(b".").unwrap();
                    runtime::task::yield_now().await;
                }
                let mut buffer = vec![0; edges + 64];
                let mut received = stream.try_read(&mut buffer).unwrap();
                while received < edges + 1 {
                    received += stream.read(&mut buffer).await.unwrap();
                }
                assert_eq!(received, edges + 1);
                let mut read = stream.read(&mut buffer);
                assert!(poll_here(&mut read).await.is_pending());
                peer.write_all(b"!").unwrap();
                assert_eq!(read.await.unwrap(), 1);
            }
        });
    });
}

#[test]
fn a_peek_that_finds_nothing_waits_for_the_next_edge_and_takes_nothing() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        let mut buffer = [0; 64];
        {
            let mut peek = std::pin::pin!(stream.peek(&mut buffer));
            assert!(poll_here(&mut peek).await.is_pending());
            peer.write_all(b"hello").unwrap();
            assert_eq!(peek.await.unwrap(), 5);
        }
        // The peek was short, yet the bytes are still there.
        assert_eq!(stream.peek(&mut buffer).await.unwrap(), 5);
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");
    });
}

#[test]
fn would_block_of_a_users_own_operation_is_seen() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        watch_reading(&mut stream).await;
        peer.write_all(b"hello").unwrap();
        stream.readable().await.unwrap();
        let blocked = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        would_block(stream.try_io(Interest::READABLE, blocked));
        let (wakes, waker) = WakeCount::new();
        let mut readable = std::pin::pin!(stream.readable());
        assert!(poll_with(&mut readable, &waker).is_pending());
        would_block(stream.try_io(Interest::READABLE, || -> io::Result<()> {
            panic!("it is known that there is nothing")
        }));
        peer.write_all(b"!").unwrap();
        until(|| wakes.wakes() == 1).await;
        let read = || (&*SockRef::from(&stream)).read(&mut [0; 64]);
        assert_eq!(stream.try_io(Interest::READABLE, read).unwrap(), 6);
    });
}

#[test]
fn would_block_of_an_operation_in_both_directions_clears_both() {
    run(async {
        let (client, server) = pair().await;
        let both = Interest::READABLE | Interest::WRITABLE;
        assert!(client.ready(both).await.unwrap().is_writable());
        would_block(client.try_io(both, || -> io::Result<()> {
            Err(io::ErrorKind::WouldBlock.into())
        }));
        // Neither is ready now, so nothing is tried.
        would_block(client.try_io(both, || -> io::Result<()> { panic!("tried") }));
        server.try_write(b"!").unwrap();
        client.readable().await.unwrap();
        would_block(client.try_io(both, || -> io::Result<()> {
            Err(io::ErrorKind::WouldBlock.into())
        }));
        let mut ready = std::pin::pin!(client.ready(both));
        assert!(poll_here(&mut ready).await.is_pending());
    });
}

#[test]
fn try_operations_work_before_any_wait_and_outside_of_a_runtime() {
    let (mut client, server) = run(pair());
    assert_eq!(client.try_write(b"hel").unwrap(), 3);
    let slices = [IoSlice::new(b"l"), IoSlice::new(b"o")];
    assert_eq!(client.try_write_vectored(&slices).unwrap(), 2);
    let (mut first, mut second) = ([0; 2], [0; 8]);
    let mut slices = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(server.try_read_vectored(&mut slices).unwrap(), 5);
    assert_eq!((&first, &second[..3]), (b"he", b"llo".as_slice()));
    would_block(server.try_read(&mut first));
    would_block(server.try_io(Interest::READABLE, || server.try_read(&mut second)));
    run(async {
        let mut server = server;
        client.write_all(b"!").await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 1);
    });
}

#[test]
fn a_short_vectored_try_write_waits_for_room() {
    run(async {
        let (client, mut server) = narrow_pair().await;
        client.writable().await.unwrap();
        let block = vec![7; 1 << 16];
        let mut sent = 0;
        loop {
            match client.try_write_vectored(&[IoSlice::new(&block), IoSlice::new(&block)]) {
                Ok(length) => sent += length,
                Err(error) => break assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert_eq!(drain(&mut server, sent).await, sent);
        client.writable().await.unwrap();
        assert!(client.try_write(&block).unwrap() > 0);
    });
}

#[test]
fn an_empty_buffer_is_read_at_once_and_loses_no_readiness() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        watch_reading(&mut stream).await;
        peer.write_all(b"hello").unwrap();
        stream.readable().await.unwrap();
        assert_eq!(stream.read(&mut []).await.unwrap(), 0);
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 5);
    });
}

#[test]
fn an_event_that_is_still_in_the_kernel_for_a_closed_descriptor_reaches_nobody() {
    within(LIMIT, || {
        // One event per look: the second stream's event stays in the kernel while the first is handled.
        let runtime = Builder::new().max_events(1).build().unwrap();
        runtime.block_on(async {
            let (listener, address) = listen().await;
            for _ in 0..100 {
                let (mut first_peer, mut first) = pair_with_std().await;
                let (mut second_peer, mut second) = pair_with_std().await;
                watch_reading(&mut first).await;
                watch_reading(&mut second).await;
                first_peer.write_all(b"1").unwrap();
                second_peer.write_all(b"2").unwrap();
                assert_eq!(first.read(&mut [0]).await.unwrap(), 1);
                drop(second);
                let mut third_peer = std::net::TcpStream::connect(address).unwrap();
                let (mut third, _) = listener.accept().await.unwrap();
                let (wakes, waker) = WakeCount::new();
                let mut buffer = [0; 8];
                let mut read = third.read(&mut buffer);
                assert!(poll_with(&mut read, &waker).is_pending());
                rounds(3).await;
                assert_eq!(wakes.wakes(), 0);
                third_peer.write_all(b"3").unwrap();
                assert_eq!(read.await.unwrap(), 1);
                assert_eq!(buffer[0], b'3');
            }
        });
    });
}

/// How many connected pairs fit, up to `wanted`.
fn pairs(wanted: usize) -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer must be valid for writing one `rlimit`: it is the local above.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(result, 0);
    // The other tests of this binary run at the same time.
    let room = usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX) / 2;
    let room = room.saturating_sub(150);
    if room < wanted {
        eprintln!("only {room} pairs instead of {wanted}: the limit of descriptors is low");
    }
    room.min(wanted)
}

#[test]
fn many_more_descriptors_than_events_fit_are_ready_at_once_and_all_are_served() {
    within(LIMIT, || {
        let runtime = Builder::new().max_events(16).build().unwrap();
        runtime.block_on(async {
            let (mut peers, mut readers) = (Vec::new(), Vec::new());
            let (listener, address) = listen().await;
            for _ in 0..pairs(5000) {
                peers.push(std::net::TcpStream::connect(address).unwrap());
                let (mut stream, _) = listener.accept().await.unwrap();
                watch_reading(&mut stream).await;
                readers.push(runtime::spawn(async move {
                    let mut text = String::new();
                    stream.read_to_string(&mut text).await.map(|_| text)
                }));
            }
            for peer in &mut peers {
                peer.write_all(b"hello, ").unwrap();
            }
            for mut peer in peers {
                peer.write_all(b"world").unwrap();
            }
            for reader in readers {
                assert_eq!(reader.await.unwrap().unwrap(), "hello, world");
            }
        });
        assert_eq!(sources(&runtime), 0);
    });
}

#[test]
fn a_read_polled_through_the_trait_and_one_through_ready_see_the_same_readiness() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        let (wakes, waker) = WakeCount::new();
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(stream.poll_read_ready(&mut cx).is_pending());
        assert!(
            Pin::new(&mut stream)
                .poll_read(&mut cx, &mut [0; 8])
                .is_pending()
        );
        peer.write_all(b"!").unwrap();
        until(|| wakes.wakes() == 2).await;
        assert!(stream.poll_read_ready(&mut cx).is_ready());
        let read = Pin::new(&mut stream).poll_read(&mut cx, &mut [0; 8]);
        assert!(matches!(read, Poll::Ready(Ok(1))));
        assert!(stream.poll_read_ready(&mut cx).is_pending());
    });
}

#[test]
fn after_a_short_read_the_first_wait_registers_without_trying_again() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        peer.write_all(b"one").unwrap();
        until(|| has_bytes(&stream, 3)).await;
        let mut buffer = [0; 8];
        let first = poll_here(&mut stream.read(&mut buffer)).await;
        assert!(matches!(first, Poll::Ready(Ok(3))));
        peer.write_all(b"more").unwrap();
        until(|| has_bytes(&stream, 4)).await;
        assert!(poll_here(&mut stream.read(&mut buffer)).await.is_pending());
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 4);
        peer.write_all(b"!").unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 1);
        drop(peer);
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
    });
}

/// Whether that many bytes have come; the stream takes no note.
fn has_bytes(stream: &TcpStream, count: usize) -> bool {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 8];
    matches!(SockRef::from(stream).peek(&mut buffer), Ok(length) if length == count)
}
