//! Foreign wakers: their clone, wake and drop may do anything, also panic, and harm nobody else.

#![expect(
    unsafe_code,
    reason = "only a waker made by hand can be told what its clone does"
)]

mod common;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::io::Write;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use common::panics::panic_of;
use common::{LIMIT, WakeCount, on_drop, pair_with_std, poll_with, run, turned, within};
use futures::FutureExt;
use futures::channel::oneshot;
use runtime::net::{TcpListener, TcpStream};
use runtime::task::{JoinHandle, JoinSet, yield_now};
use runtime::time::{Duration, Instant, Timer, sleep, sleep_until};
use runtime::{Runtime, spawn};

/// What a waker does when it is used; it must stay on its thread.
#[derive(Default)]
struct Hooks {
    on_clone: RefCell<Option<Box<dyn FnOnce()>>>,
    on_wake: RefCell<Option<Box<dyn FnOnce()>>>,
    on_drop: RefCell<Option<Box<dyn FnOnce()>>>,
    wakes: Cell<usize>,
}

impl Hooks {
    fn on_clone(self, hook: impl FnOnce() + 'static) -> Self {
        self.on_clone.replace(Some(Box::new(hook)));
        self
    }

    fn on_wake(self, hook: impl FnOnce() + 'static) -> Self {
        self.on_wake.replace(Some(Box::new(hook)));
        self
    }

    fn on_drop(self, hook: impl FnOnce() + 'static) -> Self {
        self.on_drop.replace(Some(Box::new(hook)));
        self
    }

    fn waker(self) -> (Rc<Self>, ManuallyDrop<Waker>) {
        let this = Rc::new(self);
        let raw = RawWaker::new(Rc::as_ptr(&this).cast(), &VTABLE);
        // SAFETY: the functions keep the contract on one thread, where the tests stay; this first waker
        // owns no count, so it is not dropped, and the tests keep `this` as long as they use it.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(raw) });
        (this, waker)
    }
}

/// Runs a hook, the first time.
fn fire(hook: &RefCell<Option<Box<dyn FnOnce()>>>) {
    let hook = hook.take();
    if let Some(hook) = hook {
        hook();
    }
}

fn take(data: *const ()) -> Rc<Hooks> {
    // SAFETY: a waker other than the first owns the count that its clone made.
    unsafe { Rc::from_raw(data.cast::<Hooks>()) }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        let this = ManuallyDrop::new(take(data));
        fire(&this.on_clone);
        let copy = Rc::clone(&this);
        RawWaker::new(Rc::into_raw(copy).cast(), &VTABLE)
    },
    |data| {
        let this = take(data);
        this.wakes.set(this.wakes.get() + 1);
        fire(&this.on_wake);
        fire(&this.on_drop);
    },
    |data| {
        let this = ManuallyDrop::new(take(data));
        this.wakes.set(this.wakes.get() + 1);
        fire(&this.on_wake);
    },
    |data| fire(&take(data).on_drop),
);

fn throw() {
    resume_unwind(Box::new("a waker panicked"));
}

/// Everything that a hook can do to the runtime that is current.
fn use_everything() {
    drop(spawn(async {}));
    let task = spawn(pending::<()>());
    task.abort();
    let mut timer = sleep(Duration::from_secs(3600));
    assert!(poll_with(&mut timer, Waker::noop()).is_pending());
    timer.reset(Instant::now());
    let mut other = sleep(Duration::from_secs(3600));
    assert!(poll_with(&mut other, Waker::noop()).is_pending());
    drop(timer);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(listener.poll_accept(&mut cx).is_pending());
}

fn wait_readable(stream: &TcpStream, waker: &Waker) {
    let polled = stream.poll_read_ready(&mut Context::from_waker(waker));
    assert!(polled.is_pending());
}

/// Ten connections, and their peers.
async fn ten_pairs() -> (Vec<std::net::TcpStream>, Vec<TcpStream>) {
    let (mut peers, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let (peer, stream) = pair_with_std().await;
        peers.push(peer);
        streams.push(stream);
    }
    (peers, streams)
}

#[test]
fn a_waker_that_panics_in_a_batch_of_events_keeps_no_other_from_being_woken() {
    run(async {
        let (mut peers, streams) = ten_pairs().await;
        let wakers = Vec::from_iter((0..10).map(|number| {
            let hooks = Hooks::default();
            match number % 3 {
                0 => hooks.on_wake(throw).waker(),
                1 => hooks.on_wake(throw).on_drop(throw).waker(),
                _ => hooks.on_drop(throw).waker(),
            }
        }));
        for (stream, (_, waker)) in streams.iter().zip(&wakers) {
            wait_readable(stream, waker);
        }
        for peer in &mut peers {
            peer.write_all(b"x").unwrap();
        }
        // All ten are ready in the kernel, so they come with one turn; this comes behind them.
        turned().await;
        turned().await;
        for (hooks, _) in &wakers {
            assert_eq!(hooks.wakes.get(), 1);
        }
        for stream in &streams {
            assert_eq!(stream.try_read(&mut [0; 2]).unwrap(), 1);
        }
    });
}

#[test]
fn a_waker_may_drop_the_sockets_of_its_batch_and_use_the_runtime() {
    run(async {
        let (mut peers, streams) = ten_pairs().await;
        let streams = Rc::new(RefCell::new(streams));
        let wakers = Vec::from_iter((0..10).map(|_| {
            let streams = Rc::clone(&streams);
            let hooks = Hooks::default().on_wake(move || {
                // The first to be woken drops the sockets of all.
                let streams = streams.take();
                drop(streams);
                use_everything();
            });
            hooks.on_drop(use_everything).waker()
        }));
        for (stream, (_, waker)) in streams.borrow().iter().zip(&wakers) {
            wait_readable(stream, waker);
        }
        for peer in &mut peers {
            peer.write_all(b"x").unwrap();
        }
        turned().await;
        turned().await;
        assert!(streams.borrow().is_empty());
        for (hooks, _) in &wakers {
            // Either it was woken or it was let go with its socket.
            assert_eq!(Rc::strong_count(hooks), 1);
            assert!(hooks.on_drop.borrow().is_none());
        }
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
    });
}

#[test]
fn wakers_of_timers_may_panic_and_use_the_other_timers_of_their_batch() {
    run(async {
        let deadline = Instant::now() + Duration::from_millis(1);
        let timers: Rc<RefCell<Vec<Timer>>> = Rc::default();
        let wakers = Vec::from_iter((0..10_usize).map(|number| {
            let timers = Rc::clone(&timers);
            let hooks = Hooks::default().on_wake(move || {
                use_everything();
                let dropped = timers.borrow_mut().pop();
                drop(dropped);
                for timer in timers.borrow_mut().iter_mut() {
                    timer.reset(Instant::now() + Duration::from_secs(3600));
                }
                if number.is_multiple_of(2) {
                    throw();
                }
            });
            hooks.on_drop(use_everything).waker()
        }));
        for (_, waker) in &wakers {
            let mut timer = sleep_until(deadline);
            assert!(poll_with(&mut timer, waker).is_pending());
            timers.borrow_mut().push(timer);
        }
        sleep_until(deadline + Duration::from_nanos(1)).await;
        for (hooks, _) in &wakers {
            assert_eq!(hooks.wakes.get(), 1);
            assert_eq!(Rc::strong_count(hooks), 1);
        }
    });
}

#[test]
fn wakers_of_join_handles_may_panic_and_use_the_runtime() {
    run(async {
        let handles: Rc<RefCell<Vec<JoinHandle<()>>>> = Rc::default();
        let wakers = Vec::from_iter((0..10_usize).map(|number| {
            let handles = Rc::clone(&handles);
            let hooks = Hooks::default().on_wake(move || {
                use_everything();
                for handle in handles.borrow_mut().iter_mut() {
                    handle.abort();
                }
                let dropped = handles.borrow_mut().pop();
                drop(dropped);
                if number.is_multiple_of(2) {
                    throw();
                }
            });
            hooks.on_drop(throw).waker()
        }));
        for (_, waker) in &wakers {
            let mut handle = spawn(yield_now());
            assert!(poll_with(&mut handle, waker).is_pending());
            handles.borrow_mut().push(handle);
        }
        for _ in 0..3 {
            yield_now().await;
        }
        for (hooks, _) in &wakers {
            // Woken, or let go with the handle that another waker dropped.
            assert_eq!(Rc::strong_count(hooks), 1);
        }
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
    });
}

#[test]
fn a_clone_may_use_the_runtime() {
    run(async {
        let (_peer, stream) = pair_with_std().await;
        let mut timer = sleep(Duration::from_secs(3600));
        let mut handle = spawn(pending::<()>());
        let mut set = JoinSet::new();
        set.spawn(pending::<()>());
        for number in 0..4 {
            let (hooks, waker) = Hooks::default().on_clone(use_everything).waker();
            let mut cx = Context::from_waker(&waker);
            let is_pending = match number {
                0 => stream.poll_read_ready(&mut cx).is_pending(),
                1 => poll_with(&mut timer, &waker).is_pending(),
                2 => poll_with(&mut handle, &waker).is_pending(),
                _ => set.poll_join_next(&mut cx).is_pending(),
            };
            assert!(is_pending);
            assert!(hooks.on_clone.borrow().is_none(), "the waker was cloned");
        }
    });
}

#[test]
fn a_clone_that_panics_leaves_everything_usable() {
    run(async {
        let (mut peer, stream) = pair_with_std().await;
        let mut timer = sleep(Duration::from_secs(3600));
        let (send, receive) = oneshot::channel::<()>();
        let mut handle = spawn(receive);
        let (end, ended) = oneshot::channel::<()>();
        let mut set = JoinSet::new();
        set.spawn(ended);
        let panicking = || Hooks::default().on_clone(|| panic!("in a clone")).waker();
        for number in 0..4 {
            let (_hooks, waker) = panicking();
            let mut cx = Context::from_waker(&waker);
            let panic = panic_of(|| match number {
                0 => drop(stream.poll_read_ready(&mut cx)),
                1 => drop(poll_with(&mut timer, &waker)),
                2 => drop(poll_with(&mut handle, &waker)),
                _ => drop(set.poll_join_next(&mut cx)),
            });
            assert_eq!(panic.message, "in a clone");
        }
        peer.write_all(b"x").unwrap();
        send.send(()).unwrap();
        end.send(()).unwrap();
        stream.readable().await.unwrap();
        timer.reset(Instant::now() + Duration::from_millis(1));
        timer.await;
        handle.await.unwrap().unwrap();
        set.join_next().await.unwrap().unwrap().unwrap();
    });
}

#[test]
fn a_replaced_waker_may_panic_when_it_is_dropped() {
    run(async {
        let (mut peer, stream) = pair_with_std().await;
        let mut timer = sleep(Duration::from_secs(3600));
        let (send, receive) = oneshot::channel::<()>();
        let mut handle = spawn(receive);
        let (end, ended) = oneshot::channel::<()>();
        let mut set = JoinSet::new();
        set.spawn(ended);

        let old = [(); 4].map(|()| Hooks::default().on_drop(throw).waker());
        wait_readable(&stream, &old[0].1);
        assert!(poll_with(&mut timer, &old[1].1).is_pending());
        assert!(poll_with(&mut handle, &old[2].1).is_pending());
        assert!(
            set.poll_join_next(&mut Context::from_waker(&old[3].1))
                .is_pending()
        );
        // The panic belongs to the old waker; it must not reach who polls with another one.
        let new = [(); 4].map(|()| WakeCount::new());
        let mut cx = new.each_ref().map(|(_, waker)| Context::from_waker(waker));
        let caught = [
            catch_unwind(AssertUnwindSafe(|| {
                stream.poll_read_ready(&mut cx[0]).is_pending()
            })),
            catch_unwind(AssertUnwindSafe(|| {
                timer.poll_unpin(&mut cx[1]).is_pending()
            })),
            catch_unwind(AssertUnwindSafe(|| {
                handle.poll_unpin(&mut cx[2]).is_pending()
            })),
            catch_unwind(AssertUnwindSafe(|| {
                set.poll_join_next(&mut cx[3]).is_pending()
            })),
        ];
        let pending = caught.map(|caught| caught.ok());

        peer.write_all(b"x").unwrap();
        timer.reset(Instant::now() + Duration::from_millis(1));
        send.send(()).unwrap();
        end.send(()).unwrap();
        sleep(Duration::from_millis(2)).await;
        let wakes = new.each_ref().map(|(count, _)| count.wakes());
        assert_eq!((pending, wakes), ([Some(true); 4], [1; 4]));
    });
}

#[test]
fn a_waker_may_panic_when_its_wait_is_given_up() {
    run(async {
        let (_peer, stream) = pair_with_std().await;
        let mut timer = sleep(Duration::from_secs(3600));
        let mut handle = spawn(pending::<()>());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut set = JoinSet::new();
        set.spawn(pending::<()>());
        let wakers = [(); 5].map(|()| Hooks::default().on_drop(throw).waker());
        wait_readable(&stream, &wakers[0].1);
        assert!(poll_with(&mut timer, &wakers[1].1).is_pending());
        assert!(poll_with(&mut handle, &wakers[2].1).is_pending());
        let mut accept = Box::pin(listener.accept());
        assert!(poll_with(&mut accept, &wakers[3].1).is_pending());
        let polled = set.poll_join_next(&mut Context::from_waker(&wakers[4].1));
        assert!(polled.is_pending());
        drop((stream, timer, handle, accept, set));
        for (hooks, _) in &wakers {
            assert_eq!((hooks.wakes.get(), Rc::strong_count(hooks)), (0, 1));
            assert!(hooks.on_drop.borrow().is_none());
        }
    });
}

#[test]
fn wakers_of_a_reactor_that_ends_may_panic_and_use_the_runtime() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let wakers = Vec::from_iter((0..10_usize).map(|number| {
            let hooks = Hooks::default().on_wake(move || {
                let task: JoinHandle<()> = spawn(pending());
                assert!(task.is_finished());
                if number.is_multiple_of(2) {
                    throw();
                }
            });
            hooks.on_drop(throw).waker()
        }));
        let _kept = runtime.block_on(async {
            let mut kept = Vec::new();
            for waker in wakers.chunks(2) {
                let (peer, stream) = pair_with_std().await;
                wait_readable(&stream, &waker[0].1);
                let mut timer = sleep(Duration::from_secs(3600));
                assert!(poll_with(&mut timer, &waker[1].1).is_pending());
                kept.push((peer, stream, timer));
            }
            kept
        });
        drop(runtime);
        for (hooks, _) in &wakers {
            assert_eq!((hooks.wakes.get(), Rc::strong_count(hooks)), (1, 1));
        }
    });
}

#[test]
fn a_timer_polled_while_its_runtime_ends_panics_once_if_the_drop_of_its_waker_panics_too() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let message = Rc::new(RefCell::new(String::new()));
        let seen = Rc::clone(&message);
        let hooks = Hooks::default().on_wake(move || {
            let (_hooks, waker) = Hooks::default().on_drop(throw).waker();
            let mut timer = sleep(Duration::from_secs(3600));
            let panic = panic_of(|| poll_with(&mut timer, &waker));
            seen.replace(panic.message);
        });
        let (_hooks, waker) = hooks.waker();
        let mut waiting = sleep(Duration::from_secs(3600));
        runtime.block_on(async { assert!(poll_with(&mut waiting, &waker).is_pending()) });
        drop(runtime);
        let message = message.take();
        assert!(message.contains("has been dropped"), "{message}");
    });
}

#[test]
fn wakers_of_tasks_that_end_with_their_runtime_may_drop_its_sockets_and_timers() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let streams = Rc::new(RefCell::new(Vec::new()));
        let timers = Rc::new(RefCell::new(Vec::new()));
        let handles = Rc::new(RefCell::new(Vec::new()));
        let wakers = Vec::from_iter((0..9_usize).map(|number| {
            let (streams, timers) = (Rc::clone(&streams), Rc::clone(&timers));
            let hooks = Hooks::default().on_wake(move || {
                let task: JoinHandle<()> = spawn(pending());
                assert!(task.is_finished());
                let streams: Vec<(_, TcpStream)> = streams.take();
                let timers: Vec<Timer> = timers.take();
                drop((streams, timers));
                if number.is_multiple_of(2) {
                    throw();
                }
            });
            hooks.on_drop(throw).waker()
        }));
        runtime.block_on(async {
            for waker in wakers.chunks(3) {
                let (peer, stream) = pair_with_std().await;
                wait_readable(&stream, &waker[0].1);
                streams.borrow_mut().push((peer, stream));
                let mut timer = sleep(Duration::from_secs(3600));
                assert!(poll_with(&mut timer, &waker[1].1).is_pending());
                timers.borrow_mut().push(timer);
                let mut handle = spawn(pending::<()>());
                assert!(poll_with(&mut handle, &waker[2].1).is_pending());
                handles.borrow_mut().push(handle);
            }
        });
        drop(runtime);
        for (hooks, _) in &wakers {
            // The wakers of sockets and timers were let go with those, by the first of a handle.
            assert_eq!(Rc::strong_count(hooks), 1);
        }
        assert!(wakers.chunks(3).all(|waker| waker[2].0.wakes.get() == 1));
    });
}

#[test]
fn a_clone_that_waits_for_the_same_socket_loses_no_wake() {
    run(async {
        let (mut peer, stream) = pair_with_std().await;
        let stream = Rc::new(stream);
        let other = Rc::clone(&stream);
        let (inner_count, inner) = WakeCount::new();
        let (hooks, waker) = Hooks::default()
            .on_clone(move || wait_readable(&other, &inner))
            .waker();
        wait_readable(&stream, &waker);
        peer.write_all(b"x").unwrap();
        stream.readable().await.unwrap();
        yield_now().await;
        assert_eq!((hooks.wakes.get(), inner_count.wakes()), (1, 1));
    });
}

#[test]
fn a_clone_that_ends_the_task_it_waits_for_loses_no_wake() {
    run(async {
        let home = Rc::new(RefCell::new(Some(Runtime::new().unwrap())));
        let mut handle = home.borrow().as_ref().unwrap().spawn(pending::<()>());
        let mut set = JoinSet::new();
        let inner = Rc::clone(&home);
        let (hooks, waker) = Hooks::default()
            .on_clone(move || {
                let home = inner.take();
                drop(home);
            })
            .waker();
        let polled = poll_with(&mut handle, &waker);
        assert!(home.borrow().is_none(), "the clone dropped the runtime");
        assert!(polled.is_ready() || hooks.wakes.get() > 0);
        drop(polled);
        drop(handle);

        set.spawn(async {});
        assert!(set.join_next().await.is_some());
    });
}

#[test]
fn a_clone_that_ends_the_runtime_of_the_socket_it_waits_for_loses_no_wake() {
    within(LIMIT, || {
        let home = Rc::new(RefCell::new(Some(Runtime::new().unwrap())));
        let inner = Rc::clone(&home);
        let (hooks, waker) = Hooks::default()
            .on_clone(move || {
                let home = inner.take();
                drop(home);
            })
            .waker();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let is_told = Rc::new(Cell::new(false));
        let told = Rc::clone(&is_told);
        // It is dropped inside of the runtime, but within no `block_on`.
        let output = on_drop(move || {
            let mut accept = Box::pin(listener.accept());
            let polled = poll_with(&mut accept, &waker);
            told.set(polled.is_ready() || hooks.wakes.get() > 0);
        });
        let handle = home.borrow().as_ref().unwrap().spawn(async { output });
        home.borrow().as_ref().unwrap().block_on(yield_now());
        drop(handle);
        assert!(home.borrow().is_none(), "the clone dropped the runtime");
        assert!(is_told.get());
    });
}

thread_local! {
    /// The set that a waker polls as soon as it is woken.
    static SET: RefCell<Option<JoinSet<u32>>> = const { RefCell::new(None) };
    static TAKEN: Cell<u32> = const { Cell::new(0) };
}

/// Polls the set as an executor does that polls within a wake; takes all that has finished.
fn drive() {
    let Some(mut set) = SET.take() else {
        return;
    };
    let (_hooks, waker) = Hooks::default().on_wake(drive).waker();
    let mut cx = Context::from_waker(&waker);
    while let Poll::Ready(Some(output)) = set.poll_join_next(&mut cx) {
        TAKEN.set(TAKEN.get() + output.unwrap());
    }
    SET.set(Some(set));
}

#[test]
fn a_waker_that_polls_the_set_at_once_is_woken_for_each_task() {
    run(async {
        let mut set = JoinSet::new();
        set.spawn(async { 1 });
        SET.set(Some(set));
        drive();
        for _ in 0..3 {
            yield_now().await;
        }
        assert_eq!(TAKEN.get(), 1, "the set's waker was not woken again");
        SET.take();
    });
}

#[test]
fn a_join_handle_polled_within_the_wake_of_its_waker_is_ready() {
    run(async {
        let slot: Rc<RefCell<Option<JoinHandle<u32>>>> = Rc::default();
        let result = Rc::new(Cell::new(0));
        let mut handle = spawn(async { 4 });
        let (_hooks, waker) = {
            let (slot, result) = (Rc::clone(&slot), Rc::clone(&result));
            let hooks = Hooks::default().on_wake(move || {
                let mut handle = slot.take().unwrap();
                let Poll::Ready(output) = poll_with(&mut handle, Waker::noop()) else {
                    panic!("woken too early");
                };
                result.set(output.unwrap());
            });
            hooks.waker()
        };
        assert!(poll_with(&mut handle, &waker).is_pending());
        slot.replace(Some(handle));
        yield_now().await;
        assert_eq!(result.get(), 4);
    });
}

#[test]
fn a_foreign_waker_that_wakes_a_task_and_the_main_future_is_enough_for_them() {
    run(async {
        // The task waits for a timer with a waker that wakes the main future, which wakes the task.
        let main = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let is_woken = Rc::new(Cell::new(false));
        let (_hooks, waker) = {
            let is_woken = Rc::clone(&is_woken);
            let hooks = Hooks::default().on_wake(move || {
                is_woken.set(true);
                main.wake();
            });
            hooks.waker()
        };
        let mut timer = sleep(Duration::from_secs(3600));
        assert!(poll_with(&mut timer, &waker).is_pending());
        timer.reset(Instant::now() + Duration::from_millis(1));
        poll_fn(|_| match is_woken.get() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        assert!(timer.is_elapsed());
    });
}
