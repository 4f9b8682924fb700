//! Faults from outside: the examples, as users build them, while `strace` makes their system calls fail.
//!
//! Needs `strace`, leave to trace, and the examples:
//! `cargo build --release --examples && cargo test --release --test inject -- --ignored`.
//! The n-th call that fails is counted for each thread by itself. What a fault comes to at each single place is
//! the matter of the test `faults`; here it is that all of a program stands it.

#[path = "../common/mod.rs"]
mod common;
mod traced;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;

use common::anywhere;
use traced::{End, LIMIT, Traced, interrupt};

/// Faults that no client of a server may notice.
const UNNOTICED: &[&str] = &[
    "/^epoll_p?wait$:error=EINTR:when=1+2",
    "epoll_ctl:error=EINTR:when=1+2",
    "accept4:error=EINTR:when=1+2",
    "accept4:error=EAGAIN:when=1+2",
    "accept4:error=EMFILE:when=1..3",
    "accept4:error=ENFILE:when=2..3",
    "accept4:error=ENOBUFS:when=2+3",
    "accept4:error=ENOMEM:when=2",
    "accept4:error=ECONNABORTED:when=1+2",
    "accept4:error=EPROTO:when=1+2",
    "recvfrom:error=EINTR:when=1+2",
    "sendto:error=EINTR:when=1+2",
    "/^epoll_p?wait$,epoll_ctl,accept4,recvfrom,sendto,write:error=EINTR:when=1+2",
];

/// Faults that the first client notices, whatever it does, and no other.
const COSTING_ONE: &[(&str, &str)] = &[
    ("recvfrom:error=ECONNRESET:when=1", "Connection reset"),
    ("recvfrom:error=ENOMEM:when=1", "Cannot allocate"),
    ("setsockopt:error=EPERM:when=2", "Operation not permitted"),
    // After those of the runtime itself and of the listener.
    ("epoll_ctl:error=ENOSPC:when=4", "No space"),
    ("epoll_ctl:error=ENOMEM:when=4", "Cannot allocate"),
];

/// The same, for a client that is to be answered.
const COSTING_ONE_ANSWER: &[(&str, &str)] = &[
    ("sendto:error=EPIPE:when=1", "Broken pipe"),
    ("sendto:error=ECONNRESET:when=1", "Connection reset"),
    ("sendto:error=ENOBUFS:when=1", "No buffer space"),
];

/// Faults with which a server cannot start.
const FATAL: &[(&str, &str)] = &[
    ("socket:error=EMFILE:when=1", "Too many open files"),
    ("bind:error=EADDRINUSE:when=1", "in use"),
    ("listen:error=EADDRINUSE:when=1", "in use"),
    ("accept4:error=EPERM:when=1", "not permitted"),
    ("epoll_ctl:error=ENOSPC:when=3", "No space"),
];

/// Faults with which there is no runtime: the attribute panics, as its documentation says.
const WITHOUT_RUNTIME: &[(&str, &str)] = &[
    ("epoll_create1:error=EMFILE:when=1", "Too many open files"),
    ("eventfd2:error=EMFILE:when=1", "Too many open files"),
    ("timerfd_create:error=ENFILE:when=1", "Too many open files"),
    ("epoll_ctl:error=ENOMEM:when=1", "Cannot allocate"),
    ("epoll_ctl:error=ENOSPC:when=2", "No space"),
];

/// An echo server with a fault, its address, and how many descriptors it has without clients.
fn server(fault: &str) -> (Traced, SocketAddr, usize) {
    let server = Traced::start("echo", &[&anywhere().to_string()], &[fault]);
    let Some(line) = server.line() else {
        panic!("it does not say where it listens: {:?}", server.end());
    };
    let address = line.rsplit(' ').next().expect("a line has a last word");
    let address = address.parse().expect("the last word is the address");
    let fds = server.open_fds();
    (server, address, fds)
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect_timeout(&address, LIMIT).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.set_write_timeout(Some(LIMIT)).unwrap();
    client
}

/// Has some lines sent back, one after the other, and then the end.
fn be_served(address: SocketAddr) {
    let mut client = connect(address);
    for line in [b"one\n", b"two\n", b"six\n"] {
        client.write_all(line).unwrap();
        let mut reply = [0; 4];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, line);
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

/// Sees the connection end without an answer to `request`.
fn be_turned_away(address: SocketAddr, request: &[u8]) {
    let mut client = connect(address);
    client.write_all(request).unwrap();
    match client.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
}

/// Ends a server that works and has given back all it opened.
fn end(server: Traced, address: SocketAddr, fds: usize) -> End {
    (0..3).for_each(|_| be_served(address));
    assert_eq!(server.open_fds(), fds, "descriptors are left open");
    let end = server.kill();
    assert!(!end.errors.contains("panicked"), "{}", end.errors);
    end
}

#[track_caller]
fn assert_injected(end: &End) {
    assert!(end.errors.contains("(INJECTED)"), "nothing failed: {end:?}");
}

#[test]
#[ignore = "needs strace and the examples"]
fn what_a_server_can_make_good_no_client_notices() {
    for fault in UNNOTICED {
        println!("{fault}");
        let (server, address, fds) = server(fault);
        assert_injected(&end(server, address, fds));
    }
}

#[test]
#[ignore = "needs strace and the examples"]
fn a_storm_of_signals_disturbs_nothing() {
    let (server, address, fds) = server("/^epoll_p?wait$,accept4,recvfrom,sendto:signal=SIGURG");
    let (storm, is_over) = mpsc::channel::<()>();
    let pid = server.pid();
    thread::scope(|scope| {
        scope.spawn(move || {
            while is_over.try_recv() == Err(TryRecvError::Empty) {
                interrupt(pid);
                thread::yield_now();
            }
        });
        (0..50).for_each(|_| be_served(address));
        drop(storm);
    });
    let end = end(server, address, fds);
    let is_interrupted = end.errors.contains("-1 EINTR (Interrupted system call)\n");
    assert!(is_interrupted, "no wait was interrupted");
}

#[test]
#[ignore = "needs strace and the examples"]
fn a_connection_that_fails_costs_only_itself() {
    let silent = COSTING_ONE.iter().map(|case| (case, &b""[..]));
    let asking = COSTING_ONE_ANSWER.iter().map(|case| (case, &b"?"[..]));
    for (&(fault, message), request) in silent.chain(asking) {
        println!("{fault}");
        let (server, address, fds) = server(fault);
        be_turned_away(address, request);
        let end = end(server, address, fds);
        assert_injected(&end);
        assert!(
            end.errors.contains(&format!(": {message}")),
            "{}",
            end.errors
        );
    }
}

#[test]
#[ignore = "needs strace and the examples"]
fn a_server_that_cannot_start_says_why() {
    let cases = FATAL.iter().map(|case| (case, 1));
    let without_runtime = WITHOUT_RUNTIME.iter().map(|case| (case, 101));
    for (&(fault, message), code) in cases.chain(without_runtime) {
        println!("{fault}");
        let end = Traced::start("echo", &[&anywhere().to_string()], &[fault]).end();
        assert_injected(&end);
        assert_eq!(end.status.code(), Some(code), "{}", end.errors);
        let untraced = end
            .errors
            .lines()
            .filter(|line| !line.contains("(INJECTED)"));
        let errors = String::from_iter(untraced);
        assert!(errors.contains(message), "{errors}");
        assert_eq!(errors.contains("failed to build the runtime"), code == 101);
    }
}

#[test]
#[ignore = "needs strace and the examples"]
fn timers_fire_while_the_alarm_cannot_be_set() {
    for fault in [
        "timerfd_settime:error=ENOMEM",
        "timerfd_settime:error=EINTR:when=1+2",
    ] {
        let end = Traced::start("timers", &[], &[fault]).end();
        assert_injected(&end);
        assert!(end.status.success(), "{end:?}");
        let output = end.output.join("\n");
        assert!(output.contains("the quick one answered 42"), "{output}");
        assert!(output.contains("the slow one:"), "{output}");
        assert!(output.contains("tick at"), "{output}");
    }
}

#[test]
#[ignore = "needs strace and the examples"]
fn wakes_of_other_threads_come_through_interruptions() {
    let end = Traced::start("from_another_thread", &[], &["write:error=EINTR:when=1+2"]).end();
    assert_injected(&end);
    assert!(end.status.success(), "{end:?}");
    let found = end
        .output
        .iter()
        .filter(|line| line.contains(" found "))
        .count();
    assert_eq!(found, 9, "{end:?}");
}

#[test]
#[ignore = "needs strace and the examples"]
fn a_client_stands_interruptions_and_tells_of_what_fails() {
    let (listener, address) = listener();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
    });
    let calls = "/^epoll_p?wait$,epoll_ctl,recvfrom,sendto,timerfd_settime";
    let fault = format!("{calls}:error=EINTR:when=1+2");
    let mut client = Traced::start("client", &[&address], &[&fault]);
    client.input("one\ntwo\n");
    let end = client.end();
    assert_injected(&end);
    assert!(end.status.success(), "{end:?}");
    assert_eq!(end.output, ["one", "two"]);
    serving.join().unwrap();
}

#[test]
#[ignore = "needs strace and the examples"]
fn a_client_that_cannot_connect_says_why() {
    for (fault, message) in [
        ("socket:error=EMFILE", "Too many open files"),
        ("connect:error=ECONNREFUSED", "Connection refused"),
        ("getsockopt:error=ENOBUFS", "No buffer space"),
    ] {
        let (_listener, address) = listener();
        let end = Traced::start("client", &[&address], &[fault]).end();
        assert_injected(&end);
        assert_eq!(end.status.code(), Some(1), "{end:?}");
        assert!(
            end.errors.contains(&format!("message: \"{message}")),
            "{end:?}"
        );
    }
}

/// A listener for one client, and its address.
fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind(anywhere()).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}
