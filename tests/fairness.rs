//! No task keeps another from running: first come, first served, and nobody without end.

mod common;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

use common::sockets::until;
use common::{LIMIT, Trace, listen, pair, run, run_in_task, turn_of_all, within};
use runtime::Builder;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::{TcpListener, TcpStream};
use runtime::task::{JoinHandle, consume_budget, yield_now};
use runtime::time::{Duration, sleep};

/// Spawns a connection that talks to itself without end and never has to wait.
async fn flood() -> JoinHandle<()> {
    let (mut client, mut server) = pair().await;
    runtime::spawn(async move {
        let mut buffer = [1; 4096];
        loop {
            client.write_all(&buffer).await.unwrap();
            server.read_exact(&mut buffer).await.unwrap();
        }
    })
}

/// Exchanges a byte over a connection that many times.
async fn ping_pong(rounds: u8) {
    let (mut client, mut server) = pair().await;
    let echo = runtime::spawn(async move {
        let mut byte = [0];
        while server.read_exact(&mut byte).await.is_ok() {
            server.write_all(&byte).await.unwrap();
        }
    });
    for round in 0..rounds {
        client.write_all(&[round]).await.unwrap();
        let mut byte = [0];
        client.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, [round]);
    }
    drop(client);
    echo.await.unwrap();
}

#[test]
fn tasks_run_in_the_order_in_which_they_became_due() {
    run(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..1000)
            .map(|number| {
                let order = Rc::clone(&order);
                runtime::spawn(async move {
                    order.borrow_mut().push(number);
                    yield_now().await;
                    order.borrow_mut().push(number);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let twice: Vec<_> = (0..1000).chain(0..1000).collect();
        assert_eq!(*order.borrow(), twice);
    });
}

#[test]
fn a_woken_task_goes_to_the_back_of_the_queue() {
    run(async {
        let trace = Trace::default();
        let (wake, woken) = async_channel::bounded::<()>(1);
        let waiter = {
            let trace = trace.clone();
            runtime::spawn(async move {
                woken.recv().await.unwrap();
                trace.push("woken");
            })
        };
        yield_now().await;
        for name in ["first", "second"] {
            let trace = trace.clone();
            runtime::spawn(async move { trace.push(name) });
        }
        wake.try_send(()).unwrap();
        waiter.await.unwrap();
        assert_eq!(trace.take(), ["first", "second", "woken"]);
    });
}

#[test]
fn a_pair_that_wakes_each_other_leaves_a_third_task_its_turns() {
    run(async {
        let (ping, pinged) = async_channel::unbounded::<()>();
        let (pong, ponged) = async_channel::unbounded::<()>();
        let rounds = Rc::new(Cell::new(0_u32));
        let left = {
            let rounds = Rc::clone(&rounds);
            runtime::spawn(async move {
                while ping.try_send(()).is_ok() && ponged.recv().await.is_ok() {
                    rounds.set(rounds.get() + 1);
                }
            })
        };
        let right = runtime::spawn(async move {
            while pinged.recv().await.is_ok() && pong.try_send(()).is_ok() {}
        });
        let third = runtime::spawn(async move {
            let mut before = rounds.get();
            for _ in 0..1000 {
                yield_now().await;
                let now = rounds.get();
                assert!(now <= before + 1, "{} rounds within a turn", now - before);
                before = now;
            }
            before
        });
        assert!(third.await.unwrap() > 100, "the pair has its turns too");
        left.abort();
        right.abort();
    });
}

#[test]
fn a_task_that_always_wakes_itself_leaves_the_others_their_turns() {
    run_in_task(async {
        let polls = Rc::new(Cell::new(0));
        let greedy = {
            let polls = Rc::clone(&polls);
            runtime::spawn(poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                cx.waker().wake_by_ref();
                cx.waker().wake_by_ref();
                Poll::<()>::Pending
            }))
        };
        for turn in 0..1000 {
            assert_eq!(polls.get(), turn, "one poll a turn");
            yield_now().await;
        }
        greedy.abort();
    });
}

#[test]
fn flooded_connections_leave_a_quiet_one_its_turns() {
    run(async {
        let mut floods = Vec::new();
        for _ in 0..8 {
            floods.push(flood().await);
        }
        ping_pong(20).await;
        for flood in &floods {
            assert!(!flood.is_finished());
            flood.abort();
        }
    });
}

#[test]
fn a_flooded_connection_leaves_a_timer_its_turn() {
    run(async {
        let flood = flood().await;
        sleep(Duration::from_millis(1)).await;
        flood.abort();
    });
}

#[test]
fn events_are_seen_one_at_a_time_and_still_by_all() {
    within(LIMIT, || {
        let runtime = Builder::new().max_events(1).build().unwrap();
        runtime.block_on(async {
            let busy = [flood().await];
            let pairs: Vec<_> = (0..4).map(|_| runtime::spawn(ping_pong(5))).collect();
            for pair in pairs {
                pair.await.unwrap();
            }
            sleep(Duration::from_millis(1)).await;
            busy.iter().for_each(JoinHandle::abort);
        });
    });
}

#[test]
fn a_full_backlog_is_accepted_in_portions() {
    within(LIMIT, || {
        let runtime = Builder::new().budget(8).build().unwrap();
        let test = async {
            let (listener, address) = listen().await;
            let connect = |_| std::net::TcpStream::connect(address).unwrap();
            let clients: Vec<_> = (0..50).map(connect).collect();
            let accepted = Rc::new(Cell::new(0));
            let server = {
                let accepted = Rc::clone(&accepted);
                runtime::spawn(async move {
                    for _ in 0..50 {
                        listener.accept().await.unwrap();
                        accepted.set(accepted.get() + 1);
                    }
                })
            };
            let mut before = 0;
            while !server.is_finished() {
                yield_now().await;
                let portion = accepted.get() - before;
                assert!(portion <= 8, "{portion} within one poll");
                before = accepted.get();
            }
            assert_eq!(accepted.get(), 50);
            drop(clients);
        };
        // In a task, whose yields are one turn of every task.
        runtime.block_on(runtime.spawn(test)).unwrap();
    });
}

/// Connects and accepts without end; neither ever has to wait.
async fn accept_without_end(listener: TcpListener, address: SocketAddr) {
    loop {
        let client = std::net::TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().await.unwrap();
        server.set_zero_linger().unwrap();
        drop(server);
        drop(client);
    }
}

#[test]
fn an_endless_accept_loop_leaves_a_timer_its_turn() {
    run(async {
        let (listener, address) = listen().await;
        let accepting = runtime::spawn(accept_without_end(listener, address));
        sleep(Duration::from_millis(5)).await;
        assert!(!accepting.is_finished());
        accepting.abort();
    });
}

#[test]
fn an_endless_loop_over_the_end_of_a_stream_leaves_a_timer_its_turn() {
    run(async {
        let (client, mut server) = pair().await;
        drop(client);
        let reading =
            runtime::spawn(async move { while let Ok(0) = server.read(&mut [0; 16]).await {} });
        sleep(Duration::from_millis(1)).await;
        assert!(!reading.is_finished());
        reading.abort();
    });
}

#[test]
fn an_endless_loop_over_an_error_leaves_a_timer_its_turn() {
    run(async {
        let (_client, mut server) = pair().await;
        server.shutdown(std::net::Shutdown::Write).unwrap();
        let writing = runtime::spawn(async move {
            // "Broken pipe", again and again.
            while server.write(b"!").await.is_err() {}
        });
        sleep(Duration::from_millis(1)).await;
        assert!(!writing.is_finished());
        writing.abort();
    });
}

#[test]
fn an_endless_loop_over_finished_tasks_leaves_a_timer_its_turn() {
    run(async {
        let spawning = runtime::spawn(async {
            let mut ready = Vec::new();
            loop {
                ready.extend((0..1000).map(|_| runtime::spawn(async {})));
                yield_now().await;
                for task in ready.drain(..) {
                    task.await.unwrap();
                }
            }
        });
        sleep(Duration::from_millis(1)).await;
        spawning.abort();
    });
}

#[test]
fn an_endless_loop_over_passed_deadlines_leaves_a_timer_its_turn() {
    run(async {
        let polling = runtime::spawn(async {
            loop {
                sleep(Duration::ZERO).await;
            }
        });
        sleep(Duration::from_millis(1)).await;
        polling.abort();
    });
}

#[test]
fn spinning_tasks_leave_a_timer_its_turn() {
    run(async {
        let spin = || async {
            loop {
                yield_now().await;
            }
        };
        let spinning: Vec<_> = (0..500).map(|_| runtime::spawn(spin())).collect();
        for _ in 0..3 {
            sleep(Duration::from_millis(1)).await;
        }
        spinning.iter().for_each(JoinHandle::abort);
    });
}

#[test]
fn ten_thousand_tasks_spawned_in_one_poll_all_run_in_order() {
    run(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let (finished, all) = async_channel::bounded::<()>(1);
        for number in 0..10_000 {
            let (order, finished) = (Rc::clone(&order), finished.clone());
            runtime::spawn(async move {
                order.borrow_mut().push(number);
                // Dropped with the last of them.
                drop(finished);
            });
        }
        drop(finished);
        assert!(all.recv().await.is_err());
        assert!(order.borrow().iter().copied().eq(0..10_000));
    });
}

#[test]
fn ten_thousand_tasks_woken_in_one_poll_all_run_in_order() {
    run(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let (wake, _) = tokio::sync::broadcast::channel::<()>(1);
        let tasks: Vec<_> = (0..10_000)
            .map(|number| {
                let (order, mut woken) = (Rc::clone(&order), wake.subscribe());
                runtime::spawn(async move {
                    woken.recv().await.unwrap();
                    order.borrow_mut().push(number);
                })
            })
            .collect();
        turn_of_all().await;
        wake.send(()).unwrap();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(order.borrow().iter().copied().eq(0..10_000));
    });
}

#[test]
fn tasks_spawned_by_tasks_without_end_leave_the_others_their_turns() {
    fn breed() {
        runtime::spawn(async { breed() });
    }
    run(async {
        breed();
        sleep(Duration::from_millis(1)).await;
        let (mut client, mut server) = pair().await;
        client.write_all(b"!").await.unwrap();
        server.read_exact(&mut [0]).await.unwrap();
    });
}

#[test]
fn a_connection_is_made_beside_flooded_ones() {
    run(async {
        let floods = [flood().await, flood().await];
        let (listener, address) = listen().await;
        let client = runtime::spawn(TcpStream::connect(address));
        listener.accept().await.unwrap();
        client.await.unwrap().unwrap();
        floods.iter().for_each(JoinHandle::abort);
    });
}

#[test]
fn tasks_that_use_up_their_budget_put_off_a_turn_of_the_reactor_by_four_polls() {
    run(async {
        let (mut client, mut server) = pair().await;
        let polls = Rc::new(Cell::new(0_u32));
        let reader = runtime::spawn({
            let polls = Rc::clone(&polls);
            async move {
                server.read_exact(&mut [0]).await.unwrap();
                polls.get()
            }
        });
        // The reader waits, and the writer is registered, so that one write is all that follows.
        yield_now().await;
        let hogs: Vec<_> = (0..8)
            .map(|_| {
                let polls = Rc::clone(&polls);
                runtime::spawn(async move {
                    loop {
                        for _ in 0..128 {
                            consume_budget().await;
                        }
                        polls.set(polls.get() + 1);
                        yield_now().await;
                    }
                })
            })
            .collect();
        until(|| polls.get() >= 80).await;
        let before = polls.get();
        client.write_all(b"!").await.unwrap();
        let after = reader.await.unwrap();
        assert!(after - before <= 4 + 8, "{} polls", after - before);
        for hog in hogs {
            hog.abort();
        }
    });
}
