//! Sockets before they connect or listen: options, binding, and what inherits them.

mod common;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use common::{listen, run};
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::TcpSocket;
use socket2::{Domain, Socket, Type};

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn options_are_set_and_read() {
    let socket = TcpSocket::new_v4().unwrap();
    for on in [true, false] {
        socket.set_reuseaddr(on).unwrap();
        assert_eq!(socket.reuseaddr().unwrap(), on);
        socket.set_reuseport(on).unwrap();
        assert_eq!(socket.reuseport().unwrap(), on);
        socket.set_nodelay(on).unwrap();
        assert_eq!(socket.nodelay().unwrap(), on);
        socket.set_keepalive(on).unwrap();
        assert_eq!(socket.keepalive().unwrap(), on);
    }
    for linger in [Some(Duration::from_secs(3)), None] {
        socket.set_linger(linger).unwrap();
        assert_eq!(socket.linger().unwrap(), linger);
    }
    socket.set_send_buffer_size(10_000).unwrap();
    assert_eq!(socket.send_buffer_size().unwrap(), 20_000);
    socket.set_recv_buffer_size(10_000).unwrap();
    assert_eq!(socket.recv_buffer_size().unwrap(), 20_000);
    assert_eq!(socket.device().unwrap(), None);
    assert!(socket.take_error().unwrap().is_none());
}

#[test]
fn a_socket_binds_listens_and_takes_connections() {
    run(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(loopback()).unwrap();
        let address = socket.local_addr().unwrap();
        assert_ne!(address.port(), 0);
        assert!(format!("{socket:?}").contains(&address.to_string()));
        let listener = socket.listen(16).unwrap();
        assert_eq!(listener.local_addr().unwrap(), address);
        let client = TcpSocket::new_v4().unwrap();
        client.bind(loopback()).unwrap();
        let local = client.local_addr().unwrap();
        let mut client = client.connect(address).await.unwrap();
        let (mut server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, local);
        client.write_all(b"hello").await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 5);
    });
}

#[test]
fn options_pass_on_to_the_stream() {
    run(async {
        let (listener, address) = listen().await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_keepalive(true).unwrap();
        let client = socket.connect(address).await.unwrap();
        assert!(client.nodelay().unwrap() && client.keepalive().unwrap());
        listener.accept().await.unwrap();
    });
}

#[test]
fn binding_a_taken_address_fails_unless_the_port_is_shared() {
    run(async {
        let (_listener, taken) = listen().await;
        let socket = TcpSocket::new_v4().unwrap();
        let error = socket.bind(taken).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let shared = || {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseport(true).unwrap();
            socket
        };
        let first = shared();
        first.bind(loopback()).unwrap();
        let address = first.local_addr().unwrap();
        let first = first.listen(16).unwrap();
        let second = shared();
        second.bind(address).unwrap();
        let second = second.listen(16).unwrap();
        assert_eq!(first.local_addr().unwrap(), second.local_addr().unwrap());
    });
}

#[test]
fn a_socket_of_the_wrong_family_does_not_connect() {
    run(async {
        let socket = TcpSocket::new_v4().unwrap();
        let address = "[::1]:9".parse().unwrap();
        let error = socket.connect(address).await.unwrap_err();
        assert!(error.raw_os_error().is_some(), "{error}");
    });
}

#[test]
fn an_unconnected_blocking_socket_of_std_becomes_nonblocking() {
    run(async {
        let (listener, address) = listen().await;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert!(!socket.nonblocking().unwrap());
        let socket = TcpSocket::from_std_stream(OwnedFd::from(socket).into()).unwrap();
        let duplicate = Socket::from(socket.as_fd().try_clone_to_owned().unwrap());
        assert!(duplicate.nonblocking().unwrap());
        let client = socket.connect(address).await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(client.local_addr().unwrap(), peer);
    });
}

#[test]
fn an_unknown_device_is_refused() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind_device(Some(b"no-such-device")).unwrap_err();
    assert_eq!(socket.device().unwrap(), None);
}

#[test]
fn sockets_of_ipv6_connect_and_keep_their_family() {
    run(async {
        let socket = match TcpSocket::new_v6() {
            Ok(socket) => socket,
            Err(error) => return eprintln!("no IPv6 here: {error}"),
        };
        if let Err(error) = socket.bind("[::1]:0".parse().unwrap()) {
            return eprintln!("no IPv6 loopback here: {error}");
        }
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpSocket::new_v6().unwrap().connect(address).await.unwrap();
        assert_eq!(client.peer_addr().unwrap(), address);
    });
}
