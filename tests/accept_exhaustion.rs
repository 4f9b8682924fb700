//! Accepting when descriptors have run out: it rests, says so once, and serves who waited.

mod common;

use std::fs::File;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, mpsc};
use std::task::Context;
use std::thread;
use std::time::Duration;

use common::process::{Resource, limit};
use common::sockets::{poll_here, poll_with};
use common::{LIMIT, WakeCount, listen, within};
use runtime::io::AsyncReadExt;
use runtime::net::TcpListener;
use runtime::time::{Timer, sleep};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The limit is the whole process's, so the tests run one after the other.
static ALONE: Mutex<()> = Mutex::new(());

/// How many descriptors this process may have.
const DESCRIPTORS: u64 = 128;

/// Counts warnings and keeps the last one's text.
#[derive(Clone, Default)]
struct Warnings(Arc<(AtomicUsize, Mutex<String>)>);

impl Warnings {
    fn count(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    fn last(&self) -> String {
        self.0.1.lock().unwrap().clone()
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text<'a>(&'a mut String);
        impl Visit for Text<'_> {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{field}={value:?} "));
            }
        }
        self.0.0.fetch_add(1, Ordering::SeqCst);
        let mut text = self.0.1.lock().unwrap();
        text.clear();
        event.record(&mut Text(&mut text));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Runs a test alone, with few descriptors, on a runtime, and with warnings counted.
fn alone(test: impl AsyncFnOnce(Warnings)) {
    static LOWERED: Once = Once::new();
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    LOWERED.call_once(|| _ = limit(Resource::Descriptors, DESCRIPTORS));
    let warnings = Warnings::default();
    within(LIMIT, || {
        tracing::subscriber::with_default(warnings.clone(), || {
            runtime::block_on(test(warnings.clone()));
        });
    });
}

/// Opens files until no more can be.
fn exhaust() -> Vec<File> {
    let open = |_| File::open("/dev/null").ok();
    Vec::from_iter((0..2 * DESCRIPTORS).map_while(open))
}

/// Clients that wait in the listener's backlog.
fn clients(address: SocketAddr, count: usize) -> Vec<StdStream> {
    let connect = |_| StdStream::connect(address).unwrap();
    Vec::from_iter((0..count).map(connect))
}

/// Accepts one connection; each poll after the first must come at the end of a rest.
async fn accept_resting(listener: &TcpListener, mut on_poll: impl FnMut(usize)) {
    let mut accept = pin!(listener.accept());
    let mut polls = 0;
    let mut rest: Option<Timer> = None;
    std::future::poll_fn(|cx| {
        if let Some(rest) = rest.take() {
            assert!(rest.is_elapsed(), "tried again before a rest was over");
        }
        // A rest of 50 ms ends after 10 ms have passed since before it began.
        rest = Some(sleep(Duration::from_millis(10)));
        on_poll(polls);
        polls += 1;
        accept.as_mut().poll(cx).map(|result| drop(result.unwrap()))
    })
    .await;
}

#[test]
fn clients_in_the_backlog_are_all_served_once_descriptors_are_free_again() {
    alone(async |warnings| {
        let (listener, address) = listen().await;
        let waiting = clients(address, 5);
        let mut fillers = exhaust();
        let mut accept = pin!(listener.accept());
        assert!(poll_here(&mut accept).await.is_pending());
        assert_eq!(warnings.count(), 1);
        fillers.truncate(fillers.len() - 5);
        // No new connection comes: only the end of the rest can wake the task.
        let mut peers = vec![accept.await.unwrap()];
        for _ in 1..5 {
            peers.push(listener.accept().await.unwrap());
        }
        for (client, (_, peer)) in waiting.iter().zip(&peers) {
            assert_eq!(client.local_addr().unwrap(), *peer);
        }
        assert_eq!(warnings.count(), 1);
    });
}

#[test]
fn a_listener_that_was_waiting_already_serves_the_backlog_too() {
    alone(async |warnings| {
        let (listener, address) = listen().await;
        let mut accept = pin!(listener.accept());
        assert!(poll_here(&mut accept).await.is_pending());
        assert_eq!(warnings.count(), 0);
        let waiting = clients(address, 5);
        let fillers = exhaust();
        let fillers = Rc::new(std::cell::Cell::new(Some(fillers)));
        let task = runtime::spawn({
            let (fillers, warnings) = (Rc::clone(&fillers), warnings.clone());
            async move {
                common::sockets::until(|| warnings.count() == 1).await;
                drop(fillers.take());
            }
        });
        accept.await.unwrap();
        for _ in 1..waiting.len() {
            listener.accept().await.unwrap();
        }
        task.await.unwrap();
        assert_eq!(warnings.count(), 1);
    });
}

#[test]
fn the_warning_is_given_once_an_episode_and_says_what_happened() {
    alone(async |warnings| {
        let (listener, address) = listen().await;
        for episode in 1..=3 {
            let _waiting = clients(address, 1);
            let mut fillers = exhaust();
            accept_resting(&listener, |poll| {
                if poll > 0 {
                    assert_eq!(warnings.count(), episode);
                }
                if poll == 3 {
                    fillers.clear();
                }
            })
            .await;
            assert_eq!(warnings.count(), episode);
        }
        assert!(warnings.last().contains("accept ran out of descriptors"));
        assert!(
            warnings.last().contains("os error 24"),
            "{}",
            warnings.last()
        );
    });
}

#[test]
fn accept_rests_between_tries_and_does_not_spin() {
    alone(async |_| {
        let (listener, address) = listen().await;
        let _waiting = clients(address, 3);
        let mut fillers = exhaust();
        let mut tries = 0;
        accept_resting(&listener, |poll| {
            tries = poll;
            if poll == 5 {
                fillers.clear();
            }
        })
        .await;
        assert!(tries >= 5);
    });
}

#[test]
fn new_connections_during_a_rest_do_not_cut_it_short() {
    alone(async |_| {
        let (listener, address) = listen().await;
        // Sockets for clients that connect while there is no descriptor to be had.
        let sockets = Vec::from_iter((0..10).map(|_| runtime::net::TcpSocket::new_v4().unwrap()));
        let _waiting = clients(address, 1);
        let mut fillers = exhaust();
        let connecting = runtime::spawn(async move {
            let mut connected = Vec::new();
            for socket in sockets {
                connected.push(socket.connect(address).await.unwrap());
            }
            connected
        });
        accept_resting(&listener, |poll| {
            if poll == 3 {
                fillers.clear();
            }
        })
        .await;
        let connected = connecting.await.unwrap();
        for _ in &connected {
            listener.accept().await.unwrap();
        }
    });
}

#[test]
fn other_tasks_go_on_while_accepting_rests() {
    alone(async |warnings| {
        let (mut near, far) = common::pair().await;
        let (listener, address) = listen().await;
        let _waiting = clients(address, 1);
        let _fillers = exhaust();
        let mut accept = pin!(listener.accept());
        assert!(poll_here(&mut accept).await.is_pending());
        for _ in 0..100 {
            far.try_write(b"!").unwrap();
            assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 1);
        }
        assert_eq!(warnings.count(), 1);
    });
}

#[test]
fn several_tasks_that_accept_rest_together_and_all_are_served() {
    alone(async |warnings| {
        let (listener, address) = listen().await;
        let listener = Rc::new(listener);
        let waiting = clients(address, 5);
        let mut fillers = exhaust();
        let accept = |_| {
            let listener = Rc::clone(&listener);
            runtime::spawn(async move { listener.accept().await.unwrap() })
        };
        let tasks = Vec::from_iter((0..5).map(accept));
        common::sockets::until(|| warnings.count() == 1).await;
        fillers.clear();
        let mut peers = Vec::new();
        for task in tasks {
            peers.push(task.await.unwrap().1);
        }
        peers.sort_unstable();
        let mut expected =
            Vec::from_iter(waiting.iter().map(|client| client.local_addr().unwrap()));
        expected.sort_unstable();
        assert_eq!(peers, expected);
        assert_eq!(warnings.count(), 1);
    });
}

/// Lets an accept begin to rest, then accepts `count` connections.
async fn serve_after_a_rest(
    listener: &TcpListener,
    count: usize,
    on_rest: impl FnOnce(),
) -> Vec<SocketAddr> {
    let mut accept = pin!(listener.accept());
    assert!(poll_here(&mut accept).await.is_pending());
    on_rest();
    let mut streams = vec![accept.await.unwrap()];
    while streams.len() < count {
        streams.push(listener.accept().await.unwrap());
    }
    Vec::from_iter(streams.into_iter().map(|(_, peer)| peer))
}

#[test]
fn two_runtimes_that_accept_on_one_listener_both_rest_and_serve_the_backlog() {
    alone(async |_| {
        let (listener, address) = listen().await;
        let listener = Arc::new(listener);
        let waiting = clients(address, 10);
        let (ready, wait_until_ready) = mpsc::channel();
        let (go, wait_to_go) = mpsc::channel();
        let (rests, wait_for_rest) = mpsc::channel();
        let theirs = Arc::clone(&listener);
        let other = thread::spawn(move || {
            runtime::block_on(async move {
                ready.send(()).unwrap();
                wait_to_go.recv().unwrap();
                let serves =
                    async move { serve_after_a_rest(&theirs, 5, || rests.send(()).unwrap()).await };
                // A task is woken by nothing but its own waker.
                runtime::spawn(serves).await.unwrap()
            })
        });
        wait_until_ready.recv().unwrap();
        let fillers = exhaust();
        go.send(()).unwrap();
        wait_for_rest.recv().unwrap();
        // This takes the listener from the other runtime, which goes on resting.
        let mut peers = serve_after_a_rest(&listener, 5, || drop(fillers)).await;
        peers.extend(other.join().unwrap());
        peers.sort_unstable();
        let mut expected =
            Vec::from_iter(waiting.iter().map(|client| client.local_addr().unwrap()));
        expected.sort_unstable();
        assert_eq!(peers, expected);
    });
}

#[test]
fn a_listener_dropped_while_it_rests_is_not_missed() {
    alone(async |_| {
        let (wakes, waker) = WakeCount::new();
        let (listener, address) = listen().await;
        let _waiting = clients(address, 1);
        let fillers = exhaust();
        let mut accept = Box::pin(listener.accept());
        assert!(poll_with(&mut accept, &waker).is_pending());
        drop(accept);
        drop((listener, fillers));
        let (other, address) = listen().await;
        let mut accept = pin!(other.accept());
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::as_mut(&mut accept).poll(&mut cx).is_pending());
        // The rest of the listener that is gone ends after 50 ms and finds nobody.
        sleep(Duration::from_millis(60)).await;
        assert_eq!(wakes.wakes(), 0);
        let _client = StdStream::connect(address).unwrap();
        accept.await.unwrap();
    });
}
