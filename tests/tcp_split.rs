//! The halves of a stream: what dropping, forgetting and reuniting them does to the connection.

mod common;

use std::error::Error as _;
use std::io::{ErrorKind, Read as _, Write as _};

use common::sockets::{drain, narrow_pair, poll_with};
use common::{WakeCount, pair, pair_with_std, run};
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::TcpStream;

#[test]
fn dropping_the_write_half_ends_the_stream_for_the_peer_only() {
    run(async {
        let (client, mut server) = pair().await;
        let (mut reading, mut writing) = client.into_split();
        writing.write_all(b"last words").await.unwrap();
        drop(writing);
        let mut text = String::new();
        server.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "last words");
        server.write_all(b"answer").await.unwrap();
        assert_eq!(reading.read(&mut [0; 64]).await.unwrap(), 6);
    });
}

#[test]
fn dropping_the_read_half_leaves_writing_alone() {
    run(async {
        let (client, mut server) = pair().await;
        let (reading, mut writing) = client.into_split();
        drop(reading);
        writing.write_all(b"hello").await.unwrap();
        assert_eq!(server.read(&mut [0; 64]).await.unwrap(), 5);
        drop(writing);
        assert_eq!(server.read(&mut [0; 64]).await.unwrap(), 0);
    });
}

#[test]
fn dropping_both_halves_closes_the_connection() {
    run(async {
        let (client, mut server) = pair().await;
        let (reading, writing) = client.into_split();
        drop(writing);
        drop(reading);
        assert_eq!(server.read(&mut [0; 64]).await.unwrap(), 0);
        server.write_all(b"nobody reads this").await.unwrap();
        // The first write is answered with a reset, so the second one fails.
        let error = server.write_all(b"nor this").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn forgetting_the_write_half_does_not_shut_down_writing() {
    run(async {
        let (peer, stream) = pair_with_std().await;
        peer.set_nonblocking(true).unwrap();
        let (reading, writing) = stream.into_split();
        writing.forget();
        let read = || (&peer).read(&mut [0; 8]);
        assert_eq!(read().unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(reading);
        assert_eq!(read().unwrap(), 0);
    });
}

#[test]
fn reunited_halves_go_on_as_one_stream_in_both_directions() {
    run(async {
        let (client, mut server) = pair().await;
        let (reading, writing) = client.into_split();
        let client = reading.reunite(writing).unwrap();
        let (reading, writing) = client.into_split();
        let mut client = writing.reunite(reading).unwrap();
        client.write_all(b"hello").await.unwrap();
        assert_eq!(server.read(&mut [0; 64]).await.unwrap(), 5);
        server.write_all(b"hi").await.unwrap();
        assert_eq!(client.read(&mut [0; 64]).await.unwrap(), 2);
        client.close().await.unwrap();
        assert_eq!(server.read(&mut [0; 64]).await.unwrap(), 0);
    });
}

#[test]
fn halves_of_different_streams_are_returned_and_still_work() {
    run(async {
        let ((first, mut first_peer), (second, _second_peer)) = (pair().await, pair().await);
        let (first_reading, first_writing) = first.into_split();
        let (second_reading, second_writing) = second.into_split();
        let error = first_reading.reunite(second_writing).unwrap_err();
        assert_eq!(error.to_string(), "the halves are not of one stream");
        assert!(error.source().is_none());
        let first = error.0.reunite(first_writing).unwrap();
        second_reading.reunite(error.1).unwrap();
        first.try_write(b"!").unwrap();
        assert_eq!(first_peer.read(&mut [0; 8]).await.unwrap(), 1);
    });
}

#[test]
fn a_write_half_dropped_during_a_write_ends_the_stream_after_what_was_sent() {
    run(async {
        let (client, mut server) = narrow_pair().await;
        let (_reading, mut writing) = client.into_split();
        let (wakes, waker) = WakeCount::new();
        let mut write = Box::pin(async move { writing.write_all(&[7; 1 << 20]).await });
        assert!(poll_with(&mut write, &waker).is_pending());
        drop(write);
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        assert!(!received.is_empty() && received.len() < 1 << 20);
        assert!(received.iter().all(|byte| *byte == 7));
        drop((server, waker));
        assert!(wakes.wakes() <= 1);
    });
}

#[test]
fn a_reader_and_a_writer_in_two_tasks_wait_at_the_same_time() {
    run(async {
        let (client, server) = narrow_pair().await;
        let (mut reading, mut writing) = client.into_split();
        let writer = runtime::spawn(async move {
            writing.write_all(&vec![7; 1 << 20]).await.unwrap();
        });
        let reader = runtime::spawn(async move {
            let mut received = Vec::new();
            reading.read_to_end(&mut received).await.unwrap();
            received.len()
        });
        let mut server = server;
        assert_eq!(drain(&mut server, 1 << 20).await, 1 << 20);
        server.write_all(&vec![7; 1 << 20]).await.unwrap();
        drop(server);
        writer.await.unwrap();
        assert_eq!(reader.await.unwrap(), 1 << 20);
    });
}

#[test]
fn borrowed_halves_lead_to_the_stream_and_shut_nothing_down() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        let address = stream.local_addr().unwrap();
        let (mut reading, mut writing) = stream.split();
        assert_eq!(reading.as_ref().local_addr().unwrap(), address);
        assert_eq!(writing.as_ref().local_addr().unwrap(), address);
        let mut buffer = [0; 4];
        let echo = async {
            peer.write_all(b"ping").unwrap();
            writing.write_all(b"pong").await.unwrap();
        };
        let (read, ()) = futures::join!(reading.read_exact(&mut buffer), echo);
        read.unwrap();
        stream.write_all(b"!").await.unwrap();
        let mut received = [0; 5];
        peer.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"pong!");
    });
}

#[test]
fn closing_a_borrowed_write_half_ends_the_stream() {
    run(async {
        let (mut client, mut server) = pair().await;
        client.split().1.close().await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

#[test]
fn closing_after_the_peer_has_reset_the_connection_is_no_error() {
    run(async {
        let (client, server) = pair().await;
        let (mut reading, mut writing) = client.into_split();
        server.set_zero_linger().unwrap();
        drop(server);
        let error = reading.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        writing.close().await.unwrap();
        writing.close().await.unwrap();
    });
}

#[test]
fn halves_share_the_one_stream() {
    run(async {
        let (client, _server) = pair().await;
        let (reading, writing) = client.into_split();
        let leads_to: (*const TcpStream, *const TcpStream) = (reading.as_ref(), writing.as_ref());
        assert_eq!(leads_to.0, leads_to.1);
        let _: (&dyn Send, &dyn Sync) = (&reading, &writing);
    });
}
