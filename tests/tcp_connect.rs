//! Connecting: refusals, several addresses, time limits and cancellation.

mod common;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use common::sockets::{full_listener, poll_here, poll_with, sources, until};
use common::{LIMIT, WakeCount, listen, run, within};
use runtime::Runtime;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::{TcpSocket, TcpStream};

/// An address that refuses for as long as the socket lives: it is bound, but nobody listens.
fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[test]
fn a_refused_connection_is_an_error_and_leaves_nothing_registered() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (_socket, address) = refusing();
            for _ in 0..100 {
                let error = TcpStream::connect(address).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            }
        });
        assert_eq!(sources(&runtime), 0);
    });
}

#[test]
fn every_address_is_tried_in_order_until_one_answers() {
    run(async {
        let ((_first, first), (_second, second)) = (refusing(), refusing());
        let (listener, address) = listen().await;
        let (_late, late) = listen().await;
        let addresses = [first, second, address, late];
        let client = TcpStream::connect(&addresses[..]).await.unwrap();
        assert_eq!(client.peer_addr().unwrap(), address);
        listener.accept().await.unwrap();
    });
}

#[test]
fn the_error_of_the_last_address_is_reported() {
    run(async {
        let (_socket, refusing) = refusing();
        let invalid: SocketAddr = "255.255.255.255:1".parse().unwrap();
        let error = TcpStream::connect(&[invalid, refusing][..]).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let error = TcpStream::connect(&[refusing, invalid][..]).await;
        assert_ne!(error.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn connecting_to_no_address_is_invalid_input() {
    run(async {
        let error = TcpStream::connect(&[][..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_connection_to_a_full_backlog_times_out_and_succeeds_once_there_is_room() {
    run(async {
        let (listener, address, clients) = full_listener().await;
        let limit = Duration::from_millis(10);
        let error = TcpStream::connect_timeout(address, limit)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("10ms"), "{error}");
        for _ in &clients {
            listener.accept().await.unwrap();
        }
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all(b"!").await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 1);
    });
}

#[test]
fn a_time_limit_that_is_not_reached_changes_nothing() {
    run(async {
        let (listener, address) = listen().await;
        let client = TcpStream::connect_timeout(address, Duration::MAX)
            .await
            .unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(client.local_addr().unwrap(), peer);
        let (_socket, refusing) = refusing();
        let error = TcpStream::connect_timeout(refusing, Duration::MAX).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_cancelled_connect_gives_its_registration_and_waker_back() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (wakes, waker) = WakeCount::new();
        runtime.block_on(async {
            let (_listener, address, _clients) = full_listener().await;
            let before = sources(&runtime);
            for _ in 0..10 {
                let mut connect = Box::pin(TcpStream::connect(address));
                assert!(poll_with(&mut connect, &waker).is_pending());
                assert_eq!(sources(&runtime), before + 1);
                drop(connect);
                assert_eq!(sources(&runtime), before);
                assert_eq!(std::sync::Arc::strong_count(&wakes), 2);
            }
        });
        assert_eq!(wakes.wakes(), 0);
    });
}

#[test]
fn an_aborted_task_stops_connecting() {
    run(async {
        let (_listener, address, _clients) = full_listener().await;
        let task = runtime::spawn(TcpStream::connect(address));
        runtime::task::yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn a_spurious_poll_of_a_connect_under_way_does_not_end_it() {
    run(async {
        let (listener, address, clients) = full_listener().await;
        let mut connect = pin!(TcpStream::connect(address));
        for _ in 0..100 {
            assert!(poll_here(&mut connect).await.is_pending());
        }
        for _ in &clients {
            listener.accept().await.unwrap();
        }
        // The kernel repeats its request after a second.
        let client = connect.await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(client.local_addr().unwrap(), peer);
    });
}

#[test]
fn the_pending_error_is_taken_once() {
    run(async {
        let (listener, address) = listen().await;
        let client = TcpStream::connect(address).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        assert!(client.take_error().unwrap().is_none());
        server.set_zero_linger().unwrap();
        drop(server);
        client.readable().await.unwrap();
        let error = client.take_error().unwrap().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(client.take_error().unwrap().is_none());
    });
}

#[test]
fn a_connection_that_was_made_is_writable_at_once_and_both_ways_work() {
    run(async {
        let (listener, address) = listen().await;
        let (wakes, waker) = WakeCount::new();
        let mut accept = pin!(listener.accept());
        assert!(poll_with(&mut accept, &waker).is_pending());
        let mut client = TcpStream::connect(address).await.unwrap();
        client.writable().await.unwrap();
        until(|| wakes.wakes() > 0).await;
        let (mut server, _) = accept.await.unwrap();
        client.write_all(b"ping").await.unwrap();
        let mut buffer = [0; 4];
        server.read_exact(&mut buffer).await.unwrap();
        server.write_all(b"pong").await.unwrap();
        client.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"pong");
    });
}
