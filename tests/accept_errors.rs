//! Connections that die before they are accepted: the listener goes on.

mod common;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::pin::pin;
use std::time::Duration;

use common::sockets::{poll_here, rounds};
use common::{listen, run};
use runtime::io::AsyncReadExt;
use runtime::net::TcpListener;
use socket2::SockRef;

/// Connects and resets the connection, which stays in the backlog; returns the client's address.
fn connect_and_reset(address: SocketAddr) -> SocketAddr {
    let client = StdStream::connect(address).unwrap();
    let local = client.local_addr().unwrap();
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    local
}

async fn expect_reset(listener: &TcpListener, client: SocketAddr) {
    let (mut server, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, client);
    let error = server.peer_addr().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    let error = server.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_connection_reset_in_the_backlog_is_accepted_and_its_first_read_says_so() {
    run(async {
        let (listener, address) = listen().await;
        let client = connect_and_reset(address);
        expect_reset(&listener, client).await;
    });
}

#[test]
fn a_connection_reset_in_the_backlog_of_a_waiting_listener_does_not_hide_the_next() {
    run(async {
        let (listener, address) = listen().await;
        let mut accept = pin!(listener.accept());
        assert!(poll_here(&mut accept).await.is_pending());
        let first = connect_and_reset(address);
        let second = StdStream::connect(address).unwrap();
        let third = connect_and_reset(address);
        assert_eq!(accept.await.unwrap().1, first);
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, second.local_addr().unwrap());
        expect_reset(&listener, third).await;
        let mut accept = pin!(listener.accept());
        assert!(poll_here(&mut accept).await.is_pending());
    });
}

#[test]
fn a_backlog_full_of_reset_connections_is_worked_off() {
    run(async {
        let (listener, address) = listen().await;
        let clients = Vec::from_iter((0..200).map(|_| connect_and_reset(address)));
        for client in clients {
            expect_reset(&listener, client).await;
        }
        rounds(3).await;
        let client = StdStream::connect(address).unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    });
}

#[test]
fn what_a_client_sent_before_it_closed_in_the_backlog_is_read() {
    use std::io::Write as _;
    run(async {
        let (listener, address) = listen().await;
        let mut client = StdStream::connect(address).unwrap();
        client.write_all(b"hello").unwrap();
        drop(client);
        let (mut server, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
    });
}
