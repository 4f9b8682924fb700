//! Bugs that this runtime had, one test each.

mod common;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::Write;
use std::net;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use common::parked::{this_thread, wait_until_parked};
use common::sockets::{drain, fill, narrow_pair, rounds};
use common::{LIMIT, on_drop, pair, pair_with_std, run, turned_after, within};
use runtime::Runtime;
use runtime::io::{AsyncReadExt, AsyncWriteExt, Interest};
use runtime::net::TcpStream;
use runtime::time::{Duration, Instant, Timer, sleep};

#[test]
fn data_that_came_during_a_wait_for_writing_is_readable() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        stream.writable().await.unwrap();
        peer.write_all(b"hello").unwrap();
        rounds(3).await;
        stream.readable().await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 5);
    });
}

#[test]
fn an_end_that_came_during_a_wait_for_writing_is_seen() {
    run(async {
        let (peer, stream) = pair_with_std().await;
        stream.writable().await.unwrap();
        peer.shutdown(net::Shutdown::Write).unwrap();
        rounds(3).await;
        let ready = stream.ready(Interest::READABLE).await.unwrap();
        assert!(ready.is_readable());
    });
}

#[test]
fn an_operation_in_both_directions_runs_if_one_is_ready_and_spoils_neither() {
    run(async {
        let (client, server) = pair().await;
        let both = Interest::READABLE | Interest::WRITABLE;
        assert!(client.ready(both).await.unwrap().is_writable());
        assert_eq!(client.try_io(both, || Ok(7)).unwrap(), 7);
        client.writable().await.unwrap();
        server.try_write(b"!").unwrap();
        client.readable().await.unwrap();
        fill(&client);
        assert_eq!(client.try_io(both, || Ok(7)).unwrap(), 7);
    });
}

#[test]
fn readiness_names_only_the_directions_that_were_asked_for() {
    run(async {
        let (client, server) = pair().await;
        server.shutdown(net::Shutdown::Write).unwrap();
        assert!(
            client
                .ready(Interest::READABLE)
                .await
                .unwrap()
                .is_readable()
        );
        let ready = client.ready(Interest::WRITABLE).await.unwrap();
        assert!(ready.is_writable() && !ready.is_readable());
    });
}

/// A waker that wakes another one when it is dropped.
struct WakesAtItsEnd(Mutex<Option<Waker>>);

impl Wake for WakesAtItsEnd {
    fn wake(self: Arc<Self>) {}
}

impl Drop for WakesAtItsEnd {
    fn drop(&mut self) {
        if let Some(waker) = self.0.get_mut().unwrap().take() {
            waker.wake();
        }
    }
}

#[test]
fn a_task_made_due_by_the_drop_of_a_waker_that_another_thread_let_go_of_runs() {
    run(async {
        let here = this_thread();
        let (send, timers) = mpsc::channel::<Timer>();
        let other = thread::spawn(move || {
            let timer = timers.recv().unwrap();
            wait_until_parked(&here);
            drop(timer);
        });
        let mut is_first = true;
        let task = runtime::spawn(poll_fn(move |cx| {
            if !std::mem::take(&mut is_first) {
                return Poll::Ready(());
            }
            let waker = Arc::new(WakesAtItsEnd(Mutex::new(Some(cx.waker().clone())))).into();
            let mut timer = sleep(Duration::from_secs(3600));
            let polled = Pin::new(&mut timer).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            send.send(timer).unwrap();
            Poll::Pending
        }));
        task.await.unwrap();
        other.join().unwrap();
    });
}

#[test]
fn an_output_of_a_runtime_that_is_gone_is_dropped_in_no_other() {
    within(LIMIT, || {
        let first = Runtime::new().unwrap();
        let is_inside = Rc::new(Cell::new(None));
        let seen = Rc::clone(&is_inside);
        let output = on_drop(move || {
            let spawn = || runtime::spawn(async {});
            let spawned = std::panic::catch_unwind(spawn);
            seen.set(Some(spawned.is_ok()));
        });
        let handle = first.spawn(async { output });
        first.block_on(runtime::task::yield_now());
        assert!(handle.is_finished());
        drop(first);
        // It has the place in the process-wide table that the first one had.
        let second = Runtime::new().unwrap();
        drop(handle);
        assert_eq!(is_inside.get(), Some(false));
        drop(second);
    });
}

type Inline = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    static INLINE: RefCell<Option<Inline>> = const { RefCell::new(None) };
}

/// A waker that polls on the spot.
struct PollsAtOnce;

impl Wake for PollsAtOnce {
    fn wake(self: Arc<Self>) {
        poll_inline();
    }
}

fn poll_inline() {
    let Some(mut future) = INLINE.take() else {
        return;
    };
    let waker = Arc::new(PollsAtOnce).into();
    if future
        .as_mut()
        .poll(&mut Context::from_waker(&waker))
        .is_pending()
    {
        INLINE.set(Some(future));
    }
}

#[test]
fn a_timer_is_not_early_when_its_runtime_is_dropped() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let is_done = Rc::new(Cell::new(false));
        let done = Rc::clone(&is_done);
        INLINE.set(Some(Box::pin(async move {
            sleep(Duration::from_secs(3600)).await;
            done.set(true);
        })));
        runtime.block_on(async { poll_inline() });
        drop(runtime);
        assert!(!is_done.get());
        drop(INLINE.take());
    });
}

#[test]
fn a_first_wait_for_writing_while_another_thread_takes_reading_over_is_woken() {
    for _ in 0..300 {
        let (near, far) = run(narrow_pair());
        let (mut read, mut write) = near.into_split();
        // Registered here, for reading.
        run(async { assert!(read_pending(&mut read).await) });
        run(async move {
            let mut far = far;
            assert!(read_pending(&mut read).await);
            let mut length = fill(write.as_ref());
            let start = Arc::new(Barrier::new(2));
            let theirs = Arc::clone(&start);
            let other = thread::spawn(move || {
                run(async move {
                    theirs.wait();
                    assert_eq!(read.read(&mut [0; 8]).await.unwrap(), 1);
                });
            });
            start.wait();
            let write_one = loop {
                let mut write_one = Box::pin(write.write(b"x"));
                let first = poll_fn(|cx| Poll::Ready(write_one.as_mut().poll(cx))).await;
                if first.is_pending() {
                    break write_one;
                }
                // The kernel has gone on sending since, and made room.
                length += 1;
            };
            drain(&mut far, length).await;
            assert_eq!(write_one.await.unwrap(), 1);
            far.write_all(b"!").await.unwrap();
            other.join().unwrap();
        });
    }
}

/// Whether a read has to wait.
async fn read_pending(read: &mut (impl AsyncReadExt + Unpin)) -> bool {
    let mut byte = [0];
    let mut reading = read.read(&mut byte);
    poll_fn(|cx| Poll::Ready(Pin::new(&mut reading).poll(cx).is_pending())).await
}

#[test]
fn a_direction_taken_back_before_the_letter_of_its_loss_was_read_stays() {
    run(async {
        let (near, _far) = narrow_pair().await;
        let near = Arc::new(near);
        let (ask, asked) = mpsc::channel::<Interest>();
        let (tell, told) = mpsc::channel::<()>();
        let theirs = Arc::clone(&near);
        let other = thread::spawn(move || {
            run(async move {
                let mut waits = Vec::new();
                while let Ok(interest) = asked.recv() {
                    let stream = Arc::clone(&theirs);
                    let mut wait = Box::pin(async move { stream.ready(interest).await });
                    poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx).is_pending())).await;
                    waits.push(wait);
                    tell.send(()).unwrap();
                }
            });
        });
        let taken = |interest| {
            ask.send(interest).unwrap();
            told.recv().unwrap();
        };

        // Both directions are owned here, under one entry.
        fill(&near);
        let both = Interest::READABLE | Interest::WRITABLE;
        wait_once(&near, both).await;
        poll_fn(|cx| {
            taken(Interest::READABLE);
            let again = &mut Box::pin(near.readable());
            assert!(again.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        rounds(3).await;
        taken(Interest::WRITABLE);
        turned_after(Instant::now()).await;

        // The entry is not another's now.
        let (listener, address) = common::listen().await;
        let accept = runtime::spawn(async move { listener.accept().await.is_ok() });
        runtime::task::yield_now().await;
        drop(ask);
        other.join().unwrap();
        drop(near);
        let _client = net::TcpStream::connect(address).unwrap();
        assert!(accept.await.unwrap());
    });
}

#[test]
fn what_came_after_a_short_read_is_seen_where_a_wait_for_writing_watched_for_it() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        let mut buffer = [0; 8];
        stream.writable().await.unwrap();
        for text in ["one", "more"] {
            peer.write_all(text.as_bytes()).unwrap();
            // A turn takes the event while nobody waits for it.
            rounds(3).await;
            assert_eq!(stream.read(&mut buffer).await.unwrap(), text.len());
        }
    });
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        let mut buffer = [0; 8];
        stream.writable().await.unwrap();
        peer.write_all(b"one").unwrap();
        rounds(3).await;
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 3);
        drop(peer);
        rounds(3).await;
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
    });
}

/// Begins to wait, and gives up.
async fn wait_once(stream: &TcpStream, interest: Interest) {
    let mut wait = Box::pin(stream.ready(interest));
    let is_pending = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx).is_pending())).await;
    assert!(is_pending);
}
