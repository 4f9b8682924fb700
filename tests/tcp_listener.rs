//! Listeners: binding, accepting, polling and streaming connections.

mod common;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;

use common::sockets::{poll_here, poll_with, until};
use common::{WakeCount, listen, run};
use futures::StreamExt;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::{TcpListener, TcpStream};
use socket2::SockRef;

#[test]
fn accept_returns_the_address_of_the_client() {
    run(async {
        let (listener, address) = listen().await;
        let client = TcpStream::connect(address).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(server.peer_addr().unwrap(), peer);
        assert_eq!(server.local_addr().unwrap(), address);
    });
}

#[test]
fn accept_waits_for_a_connection_that_comes_later() {
    run(async {
        let (listener, address) = listen().await;
        let mut accept = pin!(listener.accept());
        assert!(poll_here(&mut accept).await.is_pending());
        let _client = std::net::TcpStream::connect(address).unwrap();
        accept.await.unwrap();
    });
}

#[test]
fn all_connections_of_one_event_are_accepted() {
    run(async {
        let (listener, address) = listen().await;
        let mut accept = pin!(listener.accept());
        assert!(poll_here(&mut accept).await.is_pending());
        let connect = |_| std::net::TcpStream::connect(address).unwrap();
        let clients = Vec::from_iter((0..50).map(connect));
        let mut peers = vec![accept.await.unwrap().1];
        for _ in 1..50 {
            peers.push(listener.accept().await.unwrap().1);
        }
        let clients = clients.iter().map(|client| client.local_addr().unwrap());
        assert_eq!(peers, Vec::from_iter(clients));
    });
}

#[test]
fn bind_takes_the_first_address_that_can_be_bound() {
    run(async {
        let (_taken, taken) = listen().await;
        let free: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let listener = TcpListener::bind(&[taken, free][..]).await.unwrap();
        assert_ne!(listener.local_addr().unwrap(), taken);
    });
}

#[test]
fn bind_reports_the_error_of_the_last_address() {
    run(async {
        let (_taken, taken) = listen().await;
        // 192.0.2.0/24 is reserved for documentation: no interface has it.
        let foreign: SocketAddr = ([192, 0, 2, 1], 0).into();
        let error = TcpListener::bind(&[foreign, taken][..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let error = TcpListener::bind(&[taken, foreign][..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    });
}

#[test]
fn bind_to_no_address_is_invalid_input() {
    run(async {
        let error = TcpListener::bind(&[][..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_port_can_be_bound_again_while_its_connections_linger() {
    run(async {
        let (listener, address) = listen().await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        // The server closes first, so its end of the connection lingers.
        drop((server, listener));
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        drop(client);
        TcpListener::bind(address).await.unwrap();
    });
}

#[test]
fn a_listener_of_ipv6_takes_connections() {
    run(async {
        let listener = match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await {
            Ok(listener) => listener,
            Err(error) => return eprintln!("no IPv6 here: {error}"),
        };
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut server, peer) = listener.accept().await.unwrap();
        assert!(peer.is_ipv6());
        client.write_all(b"six").await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 3);
    });
}

#[test]
fn options_of_a_listener_are_set_and_read() {
    run(async {
        let (listener, address) = listen().await;
        listener.set_ttl(99).unwrap();
        assert_eq!(listener.ttl().unwrap(), 99);
        assert_eq!(
            listener.set_ttl(0).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        assert!(listener.take_error().unwrap().is_none());
        let _client = TcpStream::connect(address).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        assert_eq!(server.ttl().unwrap(), 99);
        assert!(format!("{listener:?}").contains(&address.to_string()));
    });
}

#[test]
fn poll_accept_wakes_and_then_returns_the_connection() {
    run(async {
        let (listener, address) = listen().await;
        let (wakes, waker) = WakeCount::new();
        let mut cx = Context::from_waker(&waker);
        assert!(listener.poll_accept(&mut cx).is_pending());
        let _client = std::net::TcpStream::connect(address).unwrap();
        until(|| wakes.wakes() > 0).await;
        assert!(listener.poll_accept(&mut cx).is_ready());
        assert!(listener.poll_accept(&mut cx).is_pending());
    });
}

#[test]
fn incoming_yields_one_connection_after_the_other() {
    run(async {
        let (listener, address) = listen().await;
        let mut incoming = listener.incoming();
        for _ in 0..10 {
            let mut next = incoming.next();
            assert!(poll_here(&mut next).await.is_pending());
            let client = TcpStream::connect(address).await.unwrap();
            let server = next.await.unwrap().unwrap();
            assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
        }
    });
}

#[test]
fn a_polling_accept_that_is_dropped_and_made_anew_leaves_few_wakers_behind() {
    run(async {
        let (listener, address) = listen().await;
        let (wakes, waker) = WakeCount::new();
        for _ in 0..100_000 {
            let mut cx = Context::from_waker(&waker);
            assert!(listener.poll_accept(&mut cx).is_pending());
            // The same waker need not be kept twice.
            assert!(Arc::strong_count(&wakes) <= 3);
        }
        drop(waker);
        let _client = std::net::TcpStream::connect(address).unwrap();
        until(|| Arc::strong_count(&wakes) == 1).await;
    });
}

#[test]
fn a_listener_of_std_that_blocks_does_not_block_the_loop() {
    run(async {
        let blocking = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = blocking.local_addr().unwrap();
        let listener = TcpListener::try_from(blocking).unwrap();
        let mut accept = pin!(listener.accept());
        assert!(poll_here(&mut accept).await.is_pending());
        let _client = std::net::TcpStream::connect(address).unwrap();
        accept.await.unwrap();
    });
}

#[test]
fn a_registered_listener_works_on_in_std_and_comes_back() {
    run(async {
        let (listener, address) = listen().await;
        assert!(poll_here(&mut pin!(listener.accept())).await.is_pending());
        let blocking = listener.into_std().unwrap();
        assert_eq!(blocking.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        blocking.set_nonblocking(false).unwrap();
        let mut client = std::net::TcpStream::connect(address).unwrap();
        let (mut server, _) = blocking.accept().unwrap();
        client.write_all(b"!").unwrap();
        server.read_exact(&mut [0]).unwrap();
        let listener = TcpListener::from_std(blocking).unwrap();
        let mut accept = pin!(listener.accept());
        assert!(poll_here(&mut accept).await.is_pending());
        let _client = std::net::TcpStream::connect(address).unwrap();
        accept.await.unwrap();
    });
}

#[test]
fn shutting_the_listener_down_ends_a_waiting_accept_with_an_error() {
    run(async {
        let (listener, _) = listen().await;
        let (wakes, waker) = WakeCount::new();
        let mut accept = pin!(listener.accept());
        assert!(poll_with(&mut accept, &waker).is_pending());
        SockRef::from(&listener)
            .shutdown(std::net::Shutdown::Both)
            .unwrap();
        until(|| wakes.wakes() > 0).await;
        assert_eq!(accept.await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn connections_in_the_backlog_of_a_dropped_listener_are_reset() {
    run(async {
        let (listener, address) = listen().await;
        let mut client = TcpStream::connect(address).await.unwrap();
        drop(listener);
        let error = client.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}
