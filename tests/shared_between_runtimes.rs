//! One socket for which several runtimes wait: each is told, none is kept busy, and nothing is left behind.

mod common;

use std::future::poll_fn;
use std::hint;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::Poll;
use std::thread;

use common::parked::{this_thread, wait_until_parked};
use common::sockets::sources;
use common::{LIMIT, anywhere, within};
use futures::channel::oneshot;
use runtime::Runtime;
use runtime::net::TcpListener;

fn listener() -> (Arc<TcpListener>, SocketAddr) {
    let listener = StdListener::bind(anywhere()).unwrap();
    let address = listener.local_addr().unwrap();
    (Arc::new(TcpListener::from_std(listener).unwrap()), address)
}

/// Begins to wait for a connection, and gives up.
fn wait_once(runtime: &Runtime, listener: &TcpListener) {
    runtime.block_on(poll_fn(|cx| {
        assert!(listener.poll_accept(cx).is_pending());
        Poll::Ready(())
    }));
}

#[test]
fn runtimes_that_race_for_a_listener_leave_no_entry() {
    const ROUNDS: usize = 1000;
    within(LIMIT, || {
        let together = Barrier::new(2);
        let (met, left) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let current = Mutex::new(None);
        let race = |brings: bool| {
            let runtime = Runtime::new().unwrap();
            for round in 1..=ROUNDS {
                if brings {
                    *current.lock().unwrap() = Some(listener().0);
                }
                together.wait();
                let listener: Arc<TcpListener> = current.lock().unwrap().clone().unwrap();
                // Closer together than a barrier's sleepers wake up.
                met.fetch_add(1, Ordering::SeqCst);
                while met.load(Ordering::SeqCst) < 2 * round {
                    hint::spin_loop();
                }
                wait_once(&runtime, &listener);
                drop(listener);
                together.wait();
                drop(current.lock().unwrap().take());
                together.wait();
                // Letters are read.
                runtime.block_on(async {});
                runtime.block_on(async {});
                left.fetch_add(sources(&runtime), Ordering::Relaxed);
            }
        };
        thread::scope(|scope| {
            let racers = [scope.spawn(|| race(true)), scope.spawn(|| race(false))];
            for racer in racers {
                racer.join().unwrap();
            }
        });
        assert_eq!(left.into_inner(), 0);
    });
}

#[test]
fn a_runtime_that_waited_for_a_listener_once_sleeps_while_another_accepts() {
    const CONNECTIONS: u64 = 100;
    within(LIMIT, || {
        let (listener, address) = listener();
        let turns = Barrier::new(2);
        let (tell, told) = mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        let waits = AtomicUsize::new(0);
        // In turn, until neither takes it from the other any more.
        let settle = |runtime: &Runtime, is_first: bool| {
            for round in 0..40 {
                turns.wait();
                if (round % 2 == 0) == is_first {
                    waits.fetch_add(1, Ordering::Relaxed);
                    wait_once(runtime, &listener);
                }
            }
            turns.wait();
        };
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                let runtime = Runtime::new().unwrap();
                settle(&runtime, true);
                tell.send(this_thread()).unwrap();
                runtime.block_on(ended).unwrap();
            });
            let runtime = Runtime::new().unwrap();
            settle(&runtime, false);
            assert_eq!(waits.load(Ordering::Relaxed), 40);
            let idle = told.recv().unwrap();
            let before = wait_until_parked(&idle).sleeps;
            for _ in 0..CONNECTIONS {
                let _client = StdStream::connect(address).unwrap();
                runtime.block_on(async { drop(listener.accept().await.unwrap()) });
                wait_until_parked(&idle);
            }
            let slept = wait_until_parked(&idle).sleeps - before;
            assert!(slept < CONNECTIONS / 10, "it was woken {slept} times");
            end.send(()).unwrap();
            other.join().unwrap();
        });
    });
}
