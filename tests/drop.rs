//! Dropping: futures and outputs die in order, on the runtime's thread, with the runtime current.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};

use common::{LIMIT, Trace, Traced, listen, on_drop, poll_with, run, turn_of_all, within};
use runtime::net::TcpStream;
use runtime::task::{JoinHandle, yield_now};
use runtime::time::{Duration, sleep};
use runtime::{Runtime, spawn};

#[test]
fn locals_then_captures_are_dropped_before_the_handle_tells() {
    run(async {
        let trace = Trace::default();
        let capture = Traced(trace.clone(), "capture");
        let task = spawn({
            let trace = trace.clone();
            async move {
                let _capture = &capture;
                let _first = Traced(trace.clone(), "first local");
                let _second = Traced(trace.clone(), "second local");
                yield_now().await;
                Traced(trace, "output")
            }
        });
        let output = task.await.unwrap();
        trace.push("joined");
        drop(output);
        assert_eq!(
            trace.take(),
            [
                "drop second local",
                "drop first local",
                "drop capture",
                "joined",
                "drop output"
            ]
        );
    });
}

#[test]
fn a_finished_future_is_dropped_in_its_own_turn() {
    run(async {
        let trace = Trace::default();
        let guard = Traced(trace.clone(), "future");
        spawn(async move { drop(guard) });
        spawn({
            let trace = trace.clone();
            async move { trace.push("next task") }
        });
        yield_now().await;
        assert_eq!(trace.take(), ["drop future", "next task"]);
    });
}

#[test]
fn the_output_of_a_detached_task_is_dropped_as_soon_as_it_is_there() {
    run(async {
        let trace = Trace::default();
        let output = Traced(trace.clone(), "output");
        drop(spawn(async move { output }));
        spawn({
            let trace = trace.clone();
            async move { trace.push("next task") }
        });
        yield_now().await;
        assert_eq!(trace.take(), ["drop output", "next task"]);
    });
}

#[test]
fn a_detached_task_goes_on() {
    run(async {
        let trace = Trace::default();
        drop(spawn({
            let trace = trace.clone();
            async move {
                yield_now().await;
                trace.push("went on");
            }
        }));
        yield_now().await;
        yield_now().await;
        assert_eq!(trace.take(), ["went on"]);
    });
}

/// An output whose destructor spawns a task that adds `number` to `ran`.
fn spawns_when_dropped(ran: &Rc<RefCell<Vec<u32>>>, number: u32) -> impl Sized + use<> {
    let ran = Rc::clone(ran);
    on_drop(move || drop(spawn(async move { ran.borrow_mut().push(number) })))
}

#[test]
fn a_handle_dropped_without_a_runtime_drops_its_output_inside_of_it() {
    within(LIMIT, || {
        let ran = Rc::default();
        let runtime = Runtime::new().unwrap();
        let output = spawns_when_dropped(&ran, 1);
        let handle = runtime.spawn(async { output });
        runtime.block_on(yield_now());
        drop(handle);
        assert_eq!(*ran.borrow(), []);
        runtime.block_on(yield_now());
        assert_eq!(*ran.borrow(), [1]);
    });
}

#[test]
fn a_handle_dropped_in_another_runtime_drops_its_output_inside_of_its_own() {
    within(LIMIT, || {
        let ran = Rc::default();
        let runtime = Runtime::new().unwrap();
        let output = spawns_when_dropped(&ran, 1);
        let handle = runtime.spawn(async { output });
        runtime.block_on(yield_now());
        run(async {
            drop(handle);
            yield_now().await;
            // The other runtime has not taken the task, and is current again.
            assert_eq!(*ran.borrow(), []);
            assert_eq!(spawn(async { 2 }).await.unwrap(), 2);
        });
        runtime.block_on(yield_now());
        assert_eq!(*ran.borrow(), [1]);
    });
}

#[test]
fn the_payload_of_a_panic_is_dropped_inside_of_the_runtime_too() {
    struct Payload(std::sync::mpsc::Sender<bool>);
    impl Drop for Payload {
        fn drop(&mut self) {
            let task = spawn(pending::<()>());
            self.0.send(task.is_finished()).unwrap();
        }
    }
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (send, receive) = std::sync::mpsc::channel();
        let handle: JoinHandle<()> =
            runtime.spawn(async { std::panic::resume_unwind(Box::new(Payload(send))) });
        runtime.block_on(yield_now());
        drop(handle);
        assert_eq!(receive.recv(), Ok(false));
    });
}

#[test]
fn an_output_dropped_after_its_runtime_is_dropped_as_it_is() {
    within(LIMIT, || {
        let trace = Trace::default();
        let output = Traced(trace.clone(), "output");
        let runtime = Runtime::new().unwrap();
        let handle = runtime.spawn(async { output });
        runtime.block_on(yield_now());
        drop(runtime);
        assert_eq!(trace.take(), [""; 0]);
        drop(handle);
        assert_eq!(trace.take(), ["drop output"]);
    });
}

#[test]
fn an_output_may_own_the_runtime_that_made_it() {
    within(LIMIT, || {
        let trace = Trace::default();
        let runtime = Rc::new(Runtime::new().unwrap());
        let guard = Traced(trace.clone(), "pending task");
        let pending = runtime.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        let handle = runtime.spawn({
            let runtime = Rc::clone(&runtime);
            async move { runtime }
        });
        runtime.block_on(yield_now());
        drop(runtime);
        assert_eq!(trace.take(), [""; 0]);
        drop(handle);
        assert_eq!(trace.take(), ["drop pending task"]);
        assert!(pending.is_finished());
    });
}

/// A destructor that does everything that needs a runtime.
fn uses_everything(trace: &Trace, connection: TcpStream) -> impl Sized + use<> {
    let trace = trace.clone();
    on_drop(move || {
        let task = spawn(async {});
        let mut timer = sleep(Duration::from_secs(3600));
        assert!(poll_with(&mut timer, Waker::noop()).is_pending());
        timer.reset(runtime::time::Instant::now());
        let mut cx = Context::from_waker(Waker::noop());
        let read = connection.poll_read_ready(&mut cx);
        trace.push(format!(
            "cancelled: {}, waits: {}",
            task.is_finished(),
            read.is_pending()
        ));
    })
}

#[test]
fn a_destructor_may_use_the_runtime_whatever_ends_its_future() {
    within(LIMIT, || {
        let trace = Trace::default();
        let runtime = Runtime::new().unwrap();
        let clients = runtime.block_on(async {
            let (listener, address) = listen().await;
            let mut clients = Vec::new();
            let mut servers = Vec::new();
            for _ in 0..4 {
                clients.push(TcpStream::connect(address).await.unwrap());
                servers.push(listener.accept().await.unwrap().0);
            }
            let mut guards = servers
                .into_iter()
                .map(|server| uses_everything(&trace, server));
            let mut next = || guards.next().unwrap();

            let (returns, panics, aborted) = (next(), next(), next());
            spawn(async { drop(returns) }).await.unwrap();
            let panics = spawn(async {
                let _guard = panics;
                panic!("this one is meant");
            });
            panics.await.unwrap_err();
            let aborted = spawn(async {
                let _guard = aborted;
                pending::<()>().await;
            });
            yield_now().await;
            aborted.abort();
            aborted.await.unwrap_err();

            let shut_down = next();
            spawn(async {
                let _guard = shut_down;
                pending::<()>().await;
            });
            clients
        });
        assert_eq!(trace.take(), ["cancelled: false, waits: true"; 3]);
        drop(runtime);
        let end = trace.take();
        assert_eq!(end.len(), 1);
        assert!(end[0].starts_with("cancelled: true"), "{end:?}");
        drop(clients);
    });
}

#[test]
fn the_main_future_is_dropped_inside_of_the_runtime() {
    within(LIMIT, || {
        let ran = Rc::default();
        let runtime = Runtime::new().unwrap();
        let mut guard = Some(spawns_when_dropped(&ran, 1));
        runtime.block_on(poll_fn(move |_| {
            let _ = &mut guard;
            Poll::Ready(())
        }));
        runtime.block_on(yield_now());
        assert_eq!(*ran.borrow(), [1]);
    });
}

/// Notes on which threads it was dropped.
struct Home(ThreadId);

impl Drop for Home {
    fn drop(&mut self) {
        assert_eq!(
            thread::current().id(),
            self.0,
            "dropped on a foreign thread"
        );
    }
}

#[test]
fn futures_and_outputs_die_at_home_however_many_threads_hold_and_use_their_wakers() {
    run(async {
        let (send, receive) = std::sync::mpsc::channel::<Waker>();
        let mut tasks = Vec::new();
        for number in 0..100 {
            let send = send.clone();
            let home = Home(thread::current().id());
            let mut home = Some(home);
            tasks.push(spawn(poll_fn(move |cx| {
                for _ in 0..8 {
                    send.send(cx.waker().clone()).unwrap();
                }
                match number % 2 {
                    0 => Poll::Ready(home.take()),
                    _ => Poll::Pending,
                }
            })));
        }
        turn_of_all().await;
        drop(send);
        let wakers = Vec::from_iter(receive.try_iter());
        let threads = Vec::from_iter(wakers.chunks(wakers.len().div_ceil(8)).map(|wakers| {
            let wakers = wakers.to_vec();
            thread::spawn(move || wakers.into_iter().for_each(Waker::wake))
        }));
        for task in &tasks {
            task.abort();
        }
        drop(wakers);
        for thread in threads {
            thread.join().unwrap();
        }
        for (number, task) in (0..).zip(tasks) {
            assert_eq!(task.await.is_ok(), number % 2 == 0);
        }
    });
}

#[test]
fn a_wake_drops_nothing_while_its_caller_holds_a_borrow() {
    run(async {
        // The destructor borrows what the waker's caller holds: a wake or an abort that polled or
        // dropped at once would panic.
        let shared = Rc::new(RefCell::new(None::<Waker>));
        let is_done = Rc::new(Cell::new(false));
        let task = spawn({
            let (shared, is_done) = (Rc::clone(&shared), Rc::clone(&is_done));
            let mut guard = Some(on_drop({
                let shared = Rc::clone(&shared);
                move || drop(shared.borrow_mut().take())
            }));
            poll_fn(move |cx| {
                let _ = &mut guard;
                shared.borrow_mut().get_or_insert(cx.waker().clone());
                match is_done.get() {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
        });
        yield_now().await;
        {
            let shared = shared.borrow();
            is_done.set(true);
            shared.as_ref().unwrap().wake_by_ref();
            task.abort();
        }
        assert!(shared.borrow().is_some());
        yield_now().await;
        assert!(task.is_finished());
        assert!(shared.borrow().is_none());
    });
}
