//! Names and addresses: what is looked up, what is refused, and that the loop goes on meanwhile.

mod common;

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::pin::pin;
use std::rc::Rc;

use common::sockets::{poll_here, poll_with};
use common::{LIMIT, WakeCount, listen, run, within};
use runtime::net::{TcpListener, TcpStream, ToSocketAddrs, lookup_host};
use runtime::task::yield_now;

async fn addresses(host: impl ToSocketAddrs) -> Vec<SocketAddr> {
    lookup_host(host).await.unwrap().collect()
}

#[test]
fn localhost_is_the_loopback_in_every_spelling() {
    run(async {
        let spellings = [
            addresses("localhost:80").await,
            addresses(("localhost", 80)).await,
            addresses(String::from("localhost:80")).await,
            addresses((String::from("localhost"), 80)).await,
        ];
        for addresses in spellings {
            assert!(!addresses.is_empty());
            let is_right =
                |address: &SocketAddr| address.ip().is_loopback() && address.port() == 80;
            assert!(addresses.iter().all(is_right), "{addresses:?}");
        }
    });
}

#[test]
fn literal_addresses_stand_for_themselves_without_waiting() {
    run(async {
        let (v4, v6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let (four, six) = (SocketAddr::from((v4, 7)), SocketAddr::from((v6, 7)));
        assert_eq!(addresses(four).await, [four]);
        assert_eq!(addresses(SocketAddrV4::new(v4, 7)).await, [four]);
        assert_eq!(addresses(SocketAddrV6::new(v6, 7, 0, 0)).await, [six]);
        assert_eq!(addresses((IpAddr::V4(v4), 7)).await, [four]);
        assert_eq!(addresses((v4, 7)).await, [four]);
        assert_eq!(addresses((v6, 7)).await, [six]);
        assert_eq!(addresses("127.0.0.1:7").await, [four]);
        assert_eq!(addresses("[::1]:7").await, [six]);
        assert_eq!(addresses(("::1", 7)).await, [six]);
        assert_eq!(addresses(&[four, six][..]).await, [four, six]);
        assert_eq!(addresses(vec![six, four]).await, [six, four]);
        assert_eq!(addresses(&&four).await, [four]);
        let scoped: SocketAddr = "[fe80::1%3]:7".parse().unwrap();
        assert_eq!(addresses("[fe80::1%3]:7").await, [scoped]);
        assert!(
            poll_here(&mut pin!(lookup_host("127.0.0.1:7")))
                .await
                .is_ready()
        );
    });
}

#[test]
fn text_that_is_no_address_is_invalid_input_and_says_why() {
    run(async {
        let cases = [
            ("localhost", "host:port"),
            ("", "host:port"),
            ("localhost:", "port"),
            ("localhost:http", "port"),
            ("localhost:65536", "port"),
            ("localhost:-1", "port"),
        ];
        for (text, reason) in cases {
            let error = lookup_host(text).await.map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
            assert!(error.to_string().contains(reason), "{text}: {error}");
            assert!(TcpStream::connect(text).await.is_err());
            assert!(TcpListener::bind(text).await.is_err());
        }
    });
}

#[test]
fn a_name_with_a_nul_is_an_error() {
    run(async {
        assert!(lookup_host("local\0host:80").await.is_err());
    });
}

#[test]
fn no_addresses_at_all_are_invalid_input() {
    run(async {
        let error = lookup_host(Vec::new()).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn other_tasks_run_while_a_name_is_looked_up() {
    run(async {
        let ticks = Rc::new(Cell::new(0));
        runtime::spawn({
            let ticks = Rc::clone(&ticks);
            async move {
                loop {
                    ticks.set(ticks.get() + 1);
                    yield_now().await;
                }
            }
        });
        // One look-up may have its answer before it is first polled, but not each of many.
        let mut ticked = 0;
        for _ in 0..20 {
            let before = ticks.get();
            addresses("localhost:80").await;
            ticked += usize::from(ticks.get() > before);
        }
        assert!(ticked > 0, "no task ran during 20 look-ups");
    });
}

#[test]
fn many_names_are_looked_up_at_the_same_time() {
    run(async {
        let look_up = |port| runtime::spawn(async move { addresses(("localhost", port)).await });
        let tasks = Vec::from_iter((1..=20).map(look_up));
        for (task, port) in tasks.into_iter().zip(1..) {
            let addresses = task.await.unwrap();
            assert!(addresses.iter().all(|address| address.port() == port));
        }
    });
}

#[test]
fn a_look_up_that_is_dropped_harms_nobody_even_after_its_runtime() {
    within(LIMIT, || {
        for _ in 0..50 {
            runtime::block_on(async {
                let mut look_up = pin!(lookup_host("localhost:80"));
                drop(poll_here(&mut look_up).await);
            });
        }
        runtime::block_on(async { assert!(!addresses("localhost:80").await.is_empty()) });
    });
}

#[test]
fn the_latest_waker_is_told_of_the_answer() {
    run(async {
        for _ in 0..20 {
            let ((first, one), (second, two)) = (WakeCount::new(), WakeCount::new());
            let mut look_up = pin!(lookup_host("localhost:80"));
            if poll_with(&mut look_up, &one).is_ready() {
                continue;
            }
            if poll_with(&mut look_up, &two).is_pending() {
                common::sockets::until(|| second.wakes() == 1).await;
                assert_eq!(first.wakes(), 0);
                assert!(poll_with(&mut look_up, &two).is_ready());
            }
        }
    });
}

#[test]
fn a_name_can_be_bound_and_connected_to() {
    run(async {
        let (_unused, _) = listen().await;
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("localhost", port)).await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(client.local_addr().unwrap(), peer);
    });
}
