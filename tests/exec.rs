//! Programs that a process with runtimes executes: they inherit no descriptor.

mod common;

use std::os::fd::AsFd as _;
use std::pin::pin;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use common::process::alone;
use common::sockets::{full_listener, poll_here, rounds};
use common::{listen, pair, pair_with_std};
use futures::channel::oneshot;
use runtime::net::{TcpSocket, TcpStream};
use runtime::time::{Duration, sleep};

/// The descriptors that a program finds which this process executes, the directory it reads among them.
fn inherited() -> Vec<String> {
    let output = Command::new("ls").arg("/proc/self/fd").output().unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    Vec::from_iter(names.lines().map(str::to_owned))
}

#[test]
fn a_program_that_is_executed_inherits_nothing_of_a_runtime() {
    alone(|| {
        let before = inherited();
        let (parked, park) = mpsc::channel();
        let (release, released) = oneshot::channel::<()>();
        let other = thread::spawn(move || {
            runtime::block_on(async {
                let _others = (pair().await, listen().await);
                parked.send(()).unwrap();
                released.await.unwrap();
            });
        });
        park.recv().unwrap();
        runtime::block_on(async {
            let (listener, address) = listen().await;
            assert!(poll_here(&mut pin!(listener.accept())).await.is_pending());
            let (_full, full, _clients) = full_listener().await;
            let mut connecting = pin!(TcpStream::connect(full));
            assert!(poll_here(&mut connecting).await.is_pending());
            let mut sleeping = sleep(Duration::from_secs(3600));
            assert!(poll_here(&mut sleeping).await.is_pending());
            let client = TcpStream::connect(address).await.unwrap();
            let _halves = client.into_split();
            let (accepted, _) = listener.accept().await.unwrap();
            let _clone = accepted.as_fd().try_clone_to_owned().unwrap();
            let (peer, foreign) = pair_with_std().await;
            let _foreign = TcpStream::from_std(foreign.into_std().unwrap()).unwrap();
            let _unused = (peer, TcpSocket::new_v4().unwrap());
            rounds(3).await;
            assert_eq!(inherited(), before);
        });
        release.send(()).unwrap();
        other.join().unwrap();
    });
}
