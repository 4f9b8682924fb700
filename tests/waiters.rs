//! Who waits for a socket: several tasks at once, each with its latest waker, and none after its drop.

mod common;

use std::future::poll_fn;
use std::io::Write as _;
use std::net::TcpStream as StdStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use common::sockets::{counted, fill, narrow_pair, poll_here, poll_with, rounds, until};
use common::{LIMIT, WakeCount, listen, pair_with_std, run, within};
use runtime::Runtime;
use runtime::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use runtime::net::TcpStream;

#[test]
fn a_burst_costs_each_of_many_waiting_tasks_few_polls() {
    run(async {
        const TASKS: usize = 200;
        let (listener, address) = listen().await;
        let (listener, polls) = (Rc::new(listener), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (listener, polls) = (Rc::clone(&listener), Arc::clone(&polls));
                runtime::spawn(counted(
                    polls,
                    async move { listener.accept().await.is_ok() },
                ))
            })
            .collect();
        for _ in 0..3 {
            runtime::task::yield_now().await;
        }
        let connect = |_| std::net::TcpStream::connect(address).unwrap();
        let clients = Vec::from_iter((0..TASKS).map(connect));
        for task in tasks {
            assert!(task.await.unwrap());
        }
        drop(clients);
        let polls = polls.load(Ordering::Relaxed);
        assert!(polls < 6 * TASKS, "{polls} polls of {TASKS} tasks");
    });
}

#[test]
fn several_tasks_accept_on_one_listener_and_each_connection_goes_to_one() {
    run(async {
        let (listener, address) = listen().await;
        let listener = Rc::new(listener);
        let accept = |_| {
            let listener = Rc::clone(&listener);
            runtime::spawn(async move { listener.accept().await.unwrap().1 })
        };
        let tasks = Vec::from_iter((0..20).map(accept));
        rounds(1).await;
        let connect = |_| StdStream::connect(address).unwrap();
        let clients = Vec::from_iter((0..20).map(connect));
        let mut peers = Vec::new();
        for task in tasks {
            peers.push(task.await.unwrap());
        }
        let local = |client: &StdStream| client.local_addr().unwrap();
        let mut expected = Vec::from_iter(clients.iter().map(local));
        expected.sort_unstable();
        peers.sort_unstable();
        assert_eq!(peers, expected);
    });
}

#[test]
fn several_tasks_read_one_stream_and_each_byte_goes_to_one() {
    run(async {
        let (mut peer, stream) = pair_with_std().await;
        let stream = Rc::new(stream);
        let read = |_| {
            let stream = Rc::clone(&stream);
            runtime::spawn(async move {
                let mut byte = [0];
                (&*stream).read_exact(&mut byte).await.unwrap();
                byte[0]
            })
        };
        // More tasks than may wait without a ticket at first.
        let tasks = Vec::from_iter((0..100).map(read));
        rounds(1).await;
        peer.write_all(&Vec::from_iter(0..100)).unwrap();
        let mut bytes = Vec::new();
        for task in tasks {
            bytes.push(task.await.unwrap());
        }
        bytes.sort_unstable();
        assert_eq!(bytes, Vec::from_iter(0..100));
    });
}

#[test]
fn several_tasks_write_one_stream_and_all_is_sent() {
    run(async {
        let (client, mut server) = narrow_pair().await;
        let client = Rc::new(client);
        let write = |_| {
            let client = Rc::clone(&client);
            runtime::spawn(async move { (&*client).write_all(&[7; 1 << 15]).await.unwrap() })
        };
        let tasks = Vec::from_iter((0..40).map(write));
        let mut received = vec![0; 40 << 15];
        server.read_exact(&mut received).await.unwrap();
        assert!(received.iter().all(|byte| *byte == 7));
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn all_who_wait_for_readiness_are_woken_by_one_event() {
    run(async {
        let (mut peer, stream) = pair_with_std().await;
        let stream = Rc::new(stream);
        let wait = |_| {
            let stream = Rc::clone(&stream);
            runtime::spawn(async move { stream.readable().await.unwrap() })
        };
        let tasks = Vec::from_iter((0..100).map(wait));
        rounds(1).await;
        peer.write_all(b"!").unwrap();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn an_accept_polled_with_another_waker_wakes_only_the_latter() {
    run(async {
        let (listener, address) = listen().await;
        let ((first, first_waker), (second, second_waker)) = (WakeCount::new(), WakeCount::new());
        let mut accept = pin!(listener.accept());
        assert!(poll_with(&mut accept, &first_waker).is_pending());
        assert_eq!(Arc::strong_count(&first), 3);
        assert!(poll_with(&mut accept, &second_waker).is_pending());
        assert_eq!(Arc::strong_count(&first), 2);
        let _client = StdStream::connect(address).unwrap();
        until(|| second.wakes() == 1).await;
        assert_eq!(first.wakes(), 0);
        assert!(poll_with(&mut accept, &second_waker).is_ready());
    });
}

#[test]
fn a_read_polled_with_another_waker_wakes_only_the_latter() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        let ((first, first_waker), (second, second_waker)) = (WakeCount::new(), WakeCount::new());
        let mut byte = [0];
        // The waiting is the stream's, so it survives the future.
        assert!(poll_with(&mut stream.read(&mut byte), &first_waker).is_pending());
        let mut read = stream.read(&mut byte);
        assert!(poll_with(&mut read, &second_waker).is_pending());
        assert_eq!(Arc::strong_count(&first), 2);
        peer.write_all(b"!").unwrap();
        until(|| second.wakes() == 1).await;
        assert_eq!(first.wakes(), 0);
        assert!(poll_with(&mut read, &second_waker).is_ready());
    });
}

#[test]
fn the_same_waker_is_kept_once_however_often_it_polls() {
    run(async {
        let (listener, _) = listen().await;
        let (count, waker) = WakeCount::new();
        let mut accept = pin!(listener.accept());
        for _ in 0..100 {
            assert!(poll_with(&mut accept, &waker).is_pending());
        }
        assert_eq!(Arc::strong_count(&count), 3);
        assert_eq!(count.wakes(), 0);
    });
}

#[test]
fn a_dropped_accept_leaves_no_waker_behind() {
    run(async {
        let (listener, address) = listen().await;
        let (count, waker) = WakeCount::new();
        for _ in 0..50 {
            let mut accept = Box::pin(listener.accept());
            assert!(poll_with(&mut accept, &waker).is_pending());
            drop(accept);
            assert_eq!(Arc::strong_count(&count), 2);
        }
        let _client = StdStream::connect(address).unwrap();
        listener.accept().await.unwrap();
        assert_eq!(count.wakes(), 0);
    });
}

#[test]
fn an_accept_dropped_between_two_runs_leaves_no_waker_behind() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (listener, _) = runtime.block_on(listen());
        let (count, waker) = WakeCount::new();
        for _ in 0..50 {
            let mut accept = Box::pin(listener.accept());
            runtime.block_on(async { assert!(poll_with(&mut accept, &waker).is_pending()) });
            drop(accept);
        }
        runtime.block_on(rounds(3));
        assert_eq!(Arc::strong_count(&count), 2);
    });
}

#[test]
fn dropped_waits_for_readiness_leave_no_waker_behind() {
    run(async {
        let (client, _server) = narrow_pair().await;
        fill(&client);
        let (count, waker) = WakeCount::new();
        let mut buffer = [0; 8];
        let mut waits = (
            Box::pin(client.readable()),
            Box::pin(client.peek(&mut buffer)),
        );
        assert!(poll_with(&mut waits.0, &waker).is_pending());
        assert!(poll_with(&mut waits.1, &waker).is_pending());
        drop(waits);
        assert_eq!(Arc::strong_count(&count), 2);
        let both = runtime::io::Interest::READABLE | runtime::io::Interest::WRITABLE;
        let mut ready = Box::pin(client.ready(both));
        let polled = poll_with(&mut ready, &waker);
        drop((polled, ready));
        assert_eq!(Arc::strong_count(&count), 2);
    });
}

#[test]
fn a_dropped_stream_lets_go_of_its_waker_without_waking_it() {
    run(async {
        let (_peer, mut stream) = pair_with_std().await;
        let (count, waker) = WakeCount::new();
        assert!(poll_with(&mut stream.read(&mut [0]), &waker).is_pending());
        drop(stream);
        assert_eq!(Arc::strong_count(&count), 2);
        assert_eq!(count.wakes(), 0);
    });
}

#[test]
fn an_accept_that_lost_the_connection_to_another_waits_on() {
    run(async {
        let (listener, address) = listen().await;
        let ((first, first_waker), (second, second_waker)) = (WakeCount::new(), WakeCount::new());
        let (mut one, mut two) = (pin!(listener.accept()), pin!(listener.accept()));
        assert!(poll_with(&mut one, &first_waker).is_pending());
        assert!(poll_with(&mut two, &second_waker).is_pending());
        let _client = StdStream::connect(address).unwrap();
        until(|| first.wakes() == 1 && second.wakes() == 1).await;
        assert!(poll_with(&mut two, &second_waker).is_ready());
        assert!(poll_with(&mut one, &first_waker).is_pending());
        let _client = StdStream::connect(address).unwrap();
        until(|| first.wakes() == 2).await;
        assert!(poll_with(&mut one, &first_waker).is_ready());
        assert_eq!(second.wakes(), 1);
    });
}

#[test]
fn a_woken_accept_that_is_dropped_leaves_the_connection_to_the_others() {
    run(async {
        let (listener, address) = listen().await;
        let listener = Rc::new(listener);
        let mut dropped = Box::pin(listener.accept());
        assert!(poll_here(&mut dropped).await.is_pending());
        let task = runtime::spawn({
            let listener = Rc::clone(&listener);
            async move { listener.accept().await.unwrap().1 }
        });
        rounds(1).await;
        let client = StdStream::connect(address).unwrap();
        drop(dropped);
        assert_eq!(task.await.unwrap(), client.local_addr().unwrap());
    });
}

#[test]
fn a_waker_that_panics_does_not_keep_the_others_of_its_batch_from_being_woken() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker panics, as the test wants");
        }
    }
    run(async {
        let (mut peer, stream) = pair_with_std().await;
        let panics = Arc::new(Panics).into();
        let mut waits = Vec::new();
        let mut counts = Vec::new();
        for number in 0..10 {
            let mut wait = Box::pin(stream.readable());
            let (count, waker) = WakeCount::new();
            let waker = if number == 5 { &panics } else { &waker };
            assert!(poll_with(&mut wait, waker).is_pending());
            waits.push(wait);
            counts.push(count);
        }
        peer.write_all(b"!").unwrap();
        until(|| counts[9].wakes() == 1).await;
        let wakes = Vec::from_iter(counts.iter().map(|count| count.wakes()));
        assert_eq!(wakes, [1, 1, 1, 1, 1, 0, 1, 1, 1, 1]);
    });
}

#[test]
fn tasks_that_wait_are_polled_once_for_each_event_and_not_in_between() {
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        let polls = Arc::new(AtomicUsize::new(0));
        let task = runtime::spawn(counted(Arc::clone(&polls), async move {
            let mut text = [0; 64];
            while let Ok(1..) = stream.read(&mut text).await {}
        }));
        rounds(100).await;
        assert_eq!(polls.load(Ordering::SeqCst), 1);
        for round in 2..50 {
            peer.write_all(b"!").unwrap();
            rounds(10).await;
            assert_eq!(polls.load(Ordering::SeqCst), round);
        }
        drop(peer);
        task.await.unwrap();
    });
}

#[test]
fn a_waker_that_drops_sockets_and_spawns_while_it_is_woken_harms_nobody() {
    use std::sync::Mutex;
    struct Meddles(Mutex<Option<TcpStream>>, AtomicUsize);
    impl std::task::Wake for Meddles {
        fn wake(self: Arc<Self>) {
            self.1.fetch_add(1, Ordering::SeqCst);
            drop(self.0.lock().unwrap().take());
            drop(runtime::spawn(async {}));
        }
    }
    run(async {
        let (mut peer, mut stream) = pair_with_std().await;
        let (_other_peer, mut other) = pair_with_std().await;
        assert!(poll_here(&mut other.read(&mut [0])).await.is_pending());
        let meddles = Arc::new(Meddles(Mutex::new(Some(other)), AtomicUsize::new(0)));
        let waker = Arc::clone(&meddles).into();
        let mut byte = [0];
        let mut read = stream.read(&mut byte);
        assert!(poll_with(&mut read, &waker).is_pending());
        peer.write_all(b"!").unwrap();
        until(|| meddles.1.load(Ordering::SeqCst) == 1).await;
        assert!(matches!(poll_with(&mut read, &waker), Poll::Ready(Ok(1))));
        rounds(3).await;
    });
}

#[test]
fn however_many_wait_without_a_name_they_come_to_rest_and_all_are_woken() {
    const MANY: usize = 5000;
    run(async {
        let (listener, address) = listen().await;
        let listener = Rc::new(listener);
        let polls = Arc::new(AtomicUsize::new(0));
        let waiting = Vec::from_iter((0..MANY).map(|_| {
            let (listener, polls) = (Rc::clone(&listener), Arc::clone(&polls));
            runtime::spawn(counted(polls, async move {
                poll_fn(|cx| listener.poll_accept(cx)).await.map(drop)
            }))
        }));
        rounds(10).await;
        let settled = polls.load(Ordering::SeqCst);
        rounds(10).await;
        assert_eq!(polls.load(Ordering::SeqCst), settled, "nothing has come");
        let _client = StdStream::connect(address).unwrap();
        until(|| polls.load(Ordering::SeqCst) >= settled + MANY).await;
        assert!(waiting.iter().any(|task| task.is_finished()));
    });
}

/// Reads by a shared reference, so without a name by which the wait could be ended.
fn poll_shared(stream: &TcpStream, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
    Pin::new(&mut &*stream).poll_read(cx, &mut [0])
}

/// Spawns so many tasks that poll `once`, which is pending, and end; awaits them in batches. Between two batches
/// of several the loop waits in the kernel.
async fn spawn_dead(tasks: usize, batch: usize, once: impl Fn(&mut Context<'_>) + Clone + 'static) {
    let wait = batch > 1;
    for _ in 0..tasks / batch {
        let batch = Vec::from_iter((0..batch).map(|_| {
            let once = once.clone();
            runtime::spawn(poll_fn(move |cx| {
                once(cx);
                Poll::Ready(())
            }))
        }));
        for task in batch {
            task.await.unwrap();
        }
        if wait {
            rounds(1).await;
        }
    }
}

#[test]
fn readers_that_polled_and_ended_wake_nobody_and_a_byte_wakes_who_still_waits() {
    for batch in [1, 1000] {
        run(async {
            let (mut peer, stream) = pair_with_std().await;
            let (stream, polls) = (Rc::new(stream), Arc::new(AtomicUsize::new(0)));
            let live = runtime::spawn(counted(Arc::clone(&polls), {
                let stream = Rc::clone(&stream);
                async move { poll_fn(|cx| poll_shared(&stream, cx)).await.unwrap() }
            }));
            rounds(1).await;
            spawn_dead(100_000, batch, {
                let stream = Rc::clone(&stream);
                move |cx| assert!(poll_shared(&stream, cx).is_pending())
            })
            .await;
            assert_eq!(polls.load(Ordering::SeqCst), 1, "no byte has come");
            // They may stand where the ended ones stood.
            let others = Arc::new(AtomicUsize::new(0));
            for _ in 0..2000 {
                let other = counted(Arc::clone(&others), std::future::pending::<()>());
                runtime::spawn(other);
            }
            rounds(100).await;
            peer.write_all(b"!").unwrap();
            assert_eq!(live.await.unwrap(), 1);
            rounds(10).await;
            assert_eq!(polls.load(Ordering::SeqCst), 2);
            assert_eq!(others.load(Ordering::SeqCst), 2000, "they wait for no byte");
        });
    }
}

#[test]
fn accepting_tasks_that_polled_and_ended_wake_nobody() {
    run(async {
        let (listener, address) = listen().await;
        let (listener, polls) = (Rc::new(listener), Arc::new(AtomicUsize::new(0)));
        let live = runtime::spawn(counted(Arc::clone(&polls), {
            let listener = Rc::clone(&listener);
            async move { poll_fn(|cx| listener.poll_accept(cx)).await.unwrap().1 }
        }));
        rounds(1).await;
        spawn_dead(10_000, 100, move |cx| {
            assert!(listener.poll_accept(cx).is_pending());
        })
        .await;
        assert_eq!(polls.load(Ordering::SeqCst), 1, "nobody has connected");
        let client = StdStream::connect(address).unwrap();
        assert_eq!(live.await.unwrap(), client.local_addr().unwrap());
        assert_eq!(polls.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn thousands_who_read_without_a_name_are_each_polled_once_for_each_byte() {
    const TASKS: usize = 8192;
    run(async {
        let (mut peer, stream) = pair_with_std().await;
        let (stream, bytes) = (Rc::new(stream), Arc::new(AtomicUsize::new(0)));
        let polls = Vec::from_iter((0..TASKS).map(|_| Arc::new(AtomicUsize::new(0))));
        for polls in &polls {
            let (stream, bytes) = (Rc::clone(&stream), Arc::clone(&bytes));
            runtime::spawn(counted(Arc::clone(polls), async move {
                while let Ok(1) = poll_fn(|cx| poll_shared(&stream, cx)).await {
                    bytes.fetch_add(1, Ordering::SeqCst);
                }
            }));
        }
        let least = || polls.iter().map(|polls| polls.load(Ordering::SeqCst)).min();
        let all = || polls.iter().map(|polls| polls.load(Ordering::SeqCst)).sum();
        let mut total: usize = 0;
        for byte in 0..20 {
            if byte > 0 {
                peer.write_all(b"!").unwrap();
            }
            until(|| least() > Some(byte)).await;
            rounds(3).await;
            assert_eq!(bytes.load(Ordering::SeqCst), byte);
            total += TASKS;
            let polled: usize = all();
            assert_eq!(polled, total, "polls of {TASKS} tasks after {byte} bytes");
        }
    });
}

#[test]
fn thousands_of_foreign_wakers_without_a_name_are_each_woken_once_by_a_byte() {
    const WAKERS: usize = 8192;
    run(async {
        let (mut peer, stream) = pair_with_std().await;
        let wakers = Vec::from_iter((0..WAKERS).map(|_| WakeCount::new()));
        for round in 1..=3 {
            // Whoever polls again is kept once.
            for (count, waker) in wakers.iter().chain(&wakers) {
                let mut cx = Context::from_waker(waker);
                assert!(poll_shared(&stream, &mut cx).is_pending());
                assert_eq!(Arc::strong_count(count), 3);
            }
            rounds(3).await;
            let is_quiet = |(count, _): &(Arc<WakeCount>, _)| count.wakes() == round - 1;
            assert!(wakers.iter().all(is_quiet), "no byte has come");
            peer.write_all(b"!").unwrap();
            until(|| wakers.iter().all(|(count, _)| count.wakes() >= round)).await;
            rounds(3).await;
            for (count, _) in &wakers {
                assert_eq!(count.wakes(), round);
                assert_eq!(Arc::strong_count(count), 2);
            }
            assert_eq!((&stream).read(&mut [0; 8]).await.unwrap(), 1);
        }
    });
}

#[test]
fn foreign_wakers_that_polled_once_wake_nobody_but_themselves() {
    run(async {
        let (mut peer, stream) = pair_with_std().await;
        let (live, waker) = WakeCount::new();
        let mut cx = Context::from_waker(&waker);
        assert!(poll_shared(&stream, &mut cx).is_pending());
        for _ in 0..30_000 {
            let (_, waker) = WakeCount::new();
            let mut cx = Context::from_waker(&waker);
            assert!(poll_shared(&stream, &mut cx).is_pending());
        }
        rounds(3).await;
        assert_eq!(live.wakes(), 0, "no byte has come");
        peer.write_all(b"!").unwrap();
        until(|| live.wakes() > 0).await;
        rounds(3).await;
        assert_eq!(live.wakes(), 1);
    });
}

#[test]
fn thousands_who_write_without_a_name_are_all_woken_when_there_is_room() {
    use runtime::io::AsyncWrite;
    const TASKS: usize = 2000;
    run(async {
        let (client, mut server) = narrow_pair().await;
        let filled = fill(&client);
        let (client, polls) = (Rc::new(client), Arc::new(AtomicUsize::new(0)));
        let tasks = Vec::from_iter((0..TASKS).map(|_| {
            let client = Rc::clone(&client);
            runtime::spawn(counted(Arc::clone(&polls), async move {
                poll_fn(|cx| Pin::new(&mut &*client).poll_write(cx, b".")).await
            }))
        }));
        rounds(10).await;
        // The kernel may have made room after a while, by an acknowledgement that was delayed: then some have written.
        let has_room = tasks.iter().any(runtime::task::JoinHandle::is_finished);
        assert!(polls.load(Ordering::SeqCst) == TASKS || has_room);
        let mut received = vec![0; filled + TASKS];
        server.read_exact(&mut received).await.unwrap();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), 1);
        }
    });
}
