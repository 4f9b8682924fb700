//! Sequences of polls, wakes, clones and drops with wakers that panic or use the runtime themselves: whoever
//! waits is woken, no clone is left, and the runtime works afterwards.

mod common;
#[path = "waker_sequences/seats.rs"]
mod seats;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpListener as Acceptor;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use common::hostile::{Hostile, Use};
use common::{LIMIT, poll_with, turned, within};
use proptest::collection::vec;
use proptest::prelude::*;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::task::yield_now;
use runtime::{Runtime, spawn};
use seats::{GUEST, SEATS, Seat, Thing, pair, seats};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000, // unless `PROPTEST_CASES` says otherwise
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whoever_waits_is_woken_whatever_the_wakers_do(
        wakers in vec(hooks(), WAKERS),
        steps in vec(act(), 0..24),
    ) {
        within(LIMIT, || {
            let runtime = Runtime::new().unwrap();
            let world = runtime.block_on(play(wakers, steps));
            runtime.block_on(world.settle());
            world.clear();
            runtime.block_on(check_that_all_works());
            world.check();
        });
    }

    #[test]
    fn whoever_waits_is_woken_when_the_runtime_ends_whatever_the_wakers_do(
        wakers in vec(hooks(), WAKERS),
        steps in vec(act(), 0..24),
    ) {
        within(LIMIT, || {
            let runtime = Runtime::new().unwrap();
            let world = runtime.block_on(play(wakers, steps));
            drop(runtime);
            world.act(Act::EndGuest);
            assert_eq!(world.waiting(), []);
            world.clear();
            world.check();
            Runtime::new().unwrap().block_on(check_that_all_works());
        });
    }
}

/// How many wakers there are that may do anything, and how many tasks of ours.
const WAKERS: usize = 5;
const TASKS: usize = 2;
/// How often the wakers may act in one case, so that they come to an end.
const FUSE: u32 = 40;

/// What a step does, or a waker that is used.
#[derive(Clone, Copy, Debug)]
enum Act {
    Panic,
    Spawn,
    /// Polls what is in a seat with a waker.
    Poll(usize, usize),
    /// Makes that happen for which a seat waits.
    Ready(usize),
    /// Aborts a task, or puts a timer off until it is far away.
    Abort(usize),
    Drop(usize),
    EndGuest,
    WakeTask(usize),
    KeepWaker(usize),
    WakeKept,
    DropKept,
    /// Lets the loop go round, if a step does it.
    Turn,
}

/// What a waker does when it is cloned, woken and dropped.
type Hooks = [Option<Act>; 3];

/// What a panic carries.
type Payload = Box<dyn Any + Send>;

/// What the panics of those say who use a runtime that has ended.
const EXPECTED: [&str; 2] = [
    "there is no runtime on this thread",
    "the runtime has been dropped",
];

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => Just(Act::Panic),
        1 => Just(Act::Spawn),
        8 => (0..SEATS, 0..WAKERS).prop_map(|(seat, waker)| Act::Poll(seat, waker)),
        4 => (0..SEATS).prop_map(Act::Ready),
        1 => (0..SEATS).prop_map(Act::Abort),
        2 => (0..SEATS).prop_map(Act::Drop),
        1 => Just(Act::EndGuest),
        2 => (0..TASKS).prop_map(Act::WakeTask),
        1 => (0..TASKS).prop_map(Act::KeepWaker),
        1 => Just(Act::WakeKept),
        1 => Just(Act::DropKept),
        3 => Just(Act::Turn),
    ]
}

fn hooks() -> impl Strategy<Value = Hooks> {
    let hook = || proptest::option::of(act());
    [hook(), hook(), hook()]
}

/// Makes a waker that acts in its world when it is used.
fn hostile(hooks: Hooks, world: Weak<World>) -> Rc<Hostile> {
    Hostile::new(move |hook| {
        if let Some(world) = world.upgrade()
            && let Some(act) = hooks[hook as usize]
            && let Some(left) = world.fuse.get().checked_sub(1)
        {
            world.fuse.set(left);
            if matches!(act, Act::Panic) {
                resume_unwind(Box::new(hook));
            }
            // The runtime swallows what a waker panics with, so it is noted here.
            let acted = catch_unwind(AssertUnwindSafe(|| world.act(act)));
            acted.unwrap_or_else(|payload| world.note_panic(&payload));
        }
    })
}

/// A task of ours that does nothing but to be polled.
#[derive(Default)]
struct Task {
    polls: Cell<usize>,
    waker: RefCell<Option<Waker>>,
    /// How often it had been polled when it was woken.
    woken: Cell<Option<usize>>,
}

impl Task {
    /// Whether it was woken and not polled since.
    fn is_due(&self) -> bool {
        self.woken.get() == Some(self.polls.get())
    }
}

/// All that steps and wakers act on.
struct World {
    seats: Vec<Seat>,
    wakers: Vec<Rc<Hostile>>,
    tasks: Vec<Rc<Task>>,
    /// Wakers of ours that are kept, and whose they are.
    kept: RefCell<Vec<(usize, Waker)>>,
    guest: RefCell<Option<Runtime>>,
    fuse: Cell<u32>,
    /// What nobody should have seen.
    panics: RefCell<Vec<String>>,
}

impl World {
    /// Must be called in a runtime.
    fn new(wakers: Vec<Hooks>) -> Rc<Self> {
        let guest = Runtime::new().unwrap();
        let seats = seats(&guest);
        Rc::new_cyclic(|world| Self {
            seats,
            wakers: wakers
                .into_iter()
                .map(|hooks| hostile(hooks, Weak::clone(world)))
                .collect(),
            tasks: (0..TASKS).map(|_| spawn_task()).collect(),
            kept: RefCell::default(),
            guest: RefCell::new(Some(guest)),
            fuse: Cell::new(FUSE),
            panics: RefCell::default(),
        })
    }

    fn act(&self, act: Act) {
        match act {
            // Only a waker's panic is of interest.
            Act::Panic => {}
            Act::Spawn => drop(spawn(async {})),
            Act::Poll(seat, waker) => self.poll(seat, waker),
            Act::Ready(seat) => self.seats[seat].make_ready(),
            Act::Abort(seat) => self.seats[seat].abort(),
            Act::Drop(seat) => self.seats[seat].clear(),
            Act::EndGuest => {
                let guest = self.guest.take();
                drop(guest);
                self.seats[GUEST].stock.set(1);
            }
            Act::WakeTask(task) => {
                let waker = self.tasks[task].waker.borrow().clone();
                self.wake(task, waker);
            }
            Act::KeepWaker(task) => {
                let waker = self.tasks[task].waker.borrow().clone();
                self.kept
                    .borrow_mut()
                    .extend(waker.map(|waker| (task, waker)));
            }
            Act::WakeKept => {
                let kept = self.kept.borrow_mut().pop();
                if let Some((task, waker)) = kept {
                    self.wake(task, Some(waker));
                }
            }
            Act::DropKept => drop(self.kept.borrow_mut().pop()),
            Act::Turn => {}
        }
    }

    fn wake(&self, task: usize, waker: Option<Waker>) {
        if let Some(waker) = waker {
            let task = &self.tasks[task];
            task.woken.set(Some(task.polls.get()));
            waker.wake();
        }
    }

    fn poll(&self, seat: usize, number: usize) {
        let seat = &self.seats[seat];
        // What is being polled cannot be reached by a waker that this uses.
        let Some(mut thing) = seat.thing.take() else {
            return;
        };
        let waker = &self.wakers[number];
        let wait = (number, waker.wakes());
        let is_shared = matches!(thing, Thing::Readable(_));
        let polled = catch_unwind(AssertUnwindSafe(|| {
            thing.poll(&mut Context::from_waker(&waker.waker()))
        }));
        if !is_shared {
            seat.waits.take();
        }
        match polled {
            Ok(Poll::Pending) => seat.waits.borrow_mut().push(wait),
            Ok(Poll::Ready(false)) => return,
            Ok(Poll::Ready(true)) if is_shared => {}
            Ok(Poll::Ready(true)) => seat.stock.set(seat.stock.get().saturating_sub(1)),
            Err(payload) => {
                self.note_panic(&payload);
                if matches!(thing, Thing::Accept(_)) {
                    return;
                }
            }
        }
        seat.thing.replace(Some(thing));
    }

    /// Takes note of a panic, unless it is one that who polls should see.
    fn note_panic(&self, payload: &Payload) {
        let message = payload.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| payload.downcast_ref::<&str>().copied());
        let is_expected = match (payload.downcast_ref::<Use>(), message) {
            (Some(&hook), _) => hook == Use::Clone,
            (None, Some(message)) => EXPECTED.iter().any(|expected| message.contains(expected)),
            (None, None) => false,
        };
        if !is_expected {
            let what = message.map_or(format!("{payload:?}"), str::to_owned);
            self.panics.borrow_mut().push(what);
        }
    }

    /// The seats whose waits should have ended, and with them the wakers that were not woken.
    fn waiting(&self) -> Vec<(usize, usize)> {
        let seats = (0..).zip(&self.seats);
        let waiting = seats.flat_map(|(number, seat)| {
            let waits = seat.waits.borrow();
            let left = waits
                .iter()
                .filter(|&&(waker, before)| self.wakers[waker].wakes() == before);
            Vec::from_iter(left.map(|&(waker, _)| (number, waker)))
        });
        waiting.collect()
    }

    /// Those who wait although it has happened.
    fn due(&self) -> Vec<(usize, usize)> {
        let mut waiting = self.waiting();
        waiting.retain(|&(seat, _)| self.seats[seat].stock.get() > 0);
        waiting
    }

    /// Lets the loop go round until all are woken for whom something has happened.
    async fn settle_due(&self) {
        for _ in 0..1000 {
            go_round().await;
            if self.due().is_empty() {
                return;
            }
        }
        assert_eq!(self.due(), []);
    }

    /// Makes everything happen that is waited for; then all who wait are woken.
    async fn settle(&self) {
        self.settle_due().await;
        self.act(Act::EndGuest);
        self.settle_due().await;
        // Wakers may put timers off, or wait for more, for as long as the fuse lasts.
        for _ in 0..=FUSE {
            let waiting = self.waiting();
            if waiting.is_empty() {
                break;
            }
            for (seat, _) in waiting {
                self.seats[seat].make_ready();
            }
            self.settle_due().await;
        }
        assert_eq!(self.waiting(), []);
        // What ended the last wait may have woken a task of ours, which is then behind the main future.
        for _ in 0..=FUSE {
            if self.tasks.iter().all(|task| !task.is_due()) {
                return;
            }
            go_round().await;
        }
        panic!("a task was woken and not polled");
    }

    /// Lets go of everything.
    fn clear(&self) {
        self.seats.iter().for_each(Seat::clear);
        self.kept.take();
    }

    /// Finds clones of wakers that were not dropped, and panics that were swallowed.
    fn check(&self) {
        assert_eq!(*self.panics.borrow(), [""; 0]);
        for waker in &self.wakers {
            assert_eq!(Rc::strong_count(waker), 1);
        }
    }
}

fn spawn_task() -> Rc<Task> {
    let task = Rc::<Task>::default();
    let inner = Rc::clone(&task);
    drop(spawn(poll_fn(move |cx| {
        inner.polls.set(inner.polls.get() + 1);
        inner.waker.replace(Some(cx.waker().clone()));
        Poll::<()>::Pending
    })));
    task
}

/// Does the steps, one after the other.
async fn play(wakers: Vec<Hooks>, steps: Vec<Act>) -> Rc<World> {
    let world = World::new(wakers);
    for step in steps {
        match step {
            Act::Turn => go_round().await,
            _ => world.act(step),
        }
    }
    world
}

/// Lets the loop wait, and then all tasks run that are due.
async fn go_round() {
    turned().await;
    yield_now().await;
}

/// Lets a new task wait for a timer and for a socket.
async fn check_that_all_works() {
    let echo = spawn(async {
        turned().await;
        let (mut peer, mut stream) = pair(&Acceptor::bind("127.0.0.1:0").unwrap());
        let mut byte = [0];
        assert!(poll_with(&mut stream.read(&mut byte), Waker::noop()).is_pending());
        peer.write_all(b"?").unwrap();
        stream.read_exact(&mut byte).await.unwrap();
        stream.write_all(&byte).await.unwrap();
        peer.read_exact(&mut byte).unwrap();
        byte
    });
    assert_eq!(echo.await.unwrap(), *b"?");
}
