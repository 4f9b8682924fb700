//! Every combination of how a task ends, what of it panics, when and by whom it is aborted, what becomes of its
//! handle and when its runtime ends, against a model: each future, output and payload dies once, and the
//! handle tells the truth.

mod common;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use common::{LIMIT, WakeCount, poll_with, within};
use runtime::Runtime;
use runtime::task::{AbortHandle, JoinError, JoinHandle, yield_now};

/// How the future ends, if nobody stops it; it is polled twice.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Returns(u32),
    Panics(u32),
    Never,
}

/// When the task is aborted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Abort {
    Not,
    BeforeFirstPoll,
    InPoll(u32),
    BetweenPolls,
    AfterSecondPoll,
    InFutureDrop,
    InOutputDrop,
    AfterRuntime,
}

/// What becomes of the join handle.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Handle {
    DroppedAtOnce,
    DroppedInPoll(u32),
    DroppedBetweenPolls,
    DroppedByFuture,
    DroppedByOutput,
    DroppedInRuntime,
    DroppedOutside,
    DroppedAfterRuntime,
    Polled,
    PolledFromTheStart,
}

/// What panics when it is dropped.
#[derive(Clone, Copy, Debug, Default)]
struct Drops {
    future: bool,
    output: bool,
    /// What the other panics carry.
    payload: bool,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    end: End,
    abort: Abort,
    /// Whether the join handle aborts, if it is still there; else an abort handle does.
    by_join_handle: bool,
    handle: Handle,
    /// After how many rounds the runtime ends; in each the task may be polled.
    lifetime: u32,
    panics: Drops,
}

/// What a case comes to.
#[derive(Debug, PartialEq)]
struct Outcome {
    polls: u32,
    future_drops: u32,
    output_drops: u32,
    payload_drops: u32,
    /// What the handle told, if it was asked.
    told: Option<&'static str>,
    /// How often the waker was woken that waited from the start.
    wakes: Option<usize>,
}

struct Shared {
    case: Case,
    polls: Cell<u32>,
    future_drops: Cell<u32>,
    output_drops: Cell<u32>,
    payload_drops: Arc<AtomicU32>,
    waker: RefCell<Option<Waker>>,
    abort: RefCell<Option<AbortHandle>>,
    handle: RefCell<Option<JoinHandle<Output>>>,
}

impl Shared {
    fn new(case: Case) -> Rc<Self> {
        Rc::new(Self {
            case,
            polls: Cell::default(),
            future_drops: Cell::default(),
            output_drops: Cell::default(),
            payload_drops: Arc::default(),
            waker: RefCell::default(),
            abort: RefCell::default(),
            handle: RefCell::default(),
        })
    }

    fn abort_if(&self, now: Abort) {
        if self.case.abort != now {
            return;
        }
        match &*self.handle.borrow() {
            Some(handle) if self.case.by_join_handle => handle.abort(),
            _ => self.abort.borrow().as_ref().unwrap().abort(),
        }
    }

    fn drop_handle_if(&self, now: Handle) {
        if self.case.handle == now {
            let handle = self.handle.take();
            drop(handle);
        }
    }

    fn throw(&self, message: &'static str) -> ! {
        resume_unwind(Box::new(Payload {
            message,
            drops: Arc::clone(&self.payload_drops),
            panics: self.case.panics.payload,
        }));
    }
}

/// What a panic carries.
struct Payload {
    message: &'static str,
    drops: Arc<AtomicU32>,
    panics: bool,
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
        if self.panics {
            resume_unwind(Box::new("payload drop"));
        }
    }
}

struct Output(Rc<Shared>);

impl Drop for Output {
    fn drop(&mut self) {
        let Self(shared) = self;
        shared.output_drops.set(shared.output_drops.get() + 1);
        shared.abort_if(Abort::InOutputDrop);
        shared.drop_handle_if(Handle::DroppedByOutput);
        if shared.case.panics.output {
            shared.throw("output drop");
        }
    }
}

struct Subject(Rc<Shared>);

impl Future for Subject {
    type Output = Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        let Self(shared) = &*self;
        let poll = shared.polls.get() + 1;
        shared.polls.set(poll);
        shared.waker.replace(Some(cx.waker().clone()));
        shared.abort_if(Abort::InPoll(poll));
        shared.drop_handle_if(Handle::DroppedInPoll(poll));
        match shared.case.end {
            End::Returns(at) if at == poll => Poll::Ready(Output(Rc::clone(shared))),
            End::Panics(at) if at == poll => shared.throw("poll"),
            _ => Poll::Pending,
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let Self(shared) = self;
        shared.future_drops.set(shared.future_drops.get() + 1);
        shared.abort_if(Abort::InFutureDrop);
        shared.drop_handle_if(Handle::DroppedByFuture);
        if shared.case.panics.future {
            shared.throw("future drop");
        }
    }
}

/// Drops a value whose destructor may panic with something whose destructor may panic.
fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    }
}

fn tell(result: Result<Output, JoinError>) -> &'static str {
    match result {
        Ok(output) => {
            drop_quietly(output);
            "output"
        }
        Err(error) if error.is_cancelled() => "cancelled",
        Err(error) => {
            let payload = error.into_panic().downcast::<Payload>().unwrap();
            let message = payload.message;
            drop_quietly(payload);
            message
        }
    }
}

/// A case on its way.
struct Trial {
    shared: Rc<Shared>,
    runtime: Option<Runtime>,
    rounds: u32,
}

impl Trial {
    fn new(case: Case) -> Self {
        let shared = Shared::new(case);
        let runtime = Runtime::new().unwrap();
        let task = runtime.spawn(Subject(Rc::clone(&shared)));
        shared.abort.replace(Some(task.abort_handle()));
        shared.handle.replace(Some(task));
        Self {
            shared,
            runtime: Some(runtime),
            rounds: 0,
        }
    }

    /// Wakes the task and lets it run, unless its runtime ends before.
    fn poll_task(&mut self) {
        if self.shared.case.lifetime == self.rounds {
            self.end_runtime();
        }
        self.rounds += 1;
        if let Some(waker) = self.shared.waker.take() {
            waker.wake();
        }
        if let Some(runtime) = &self.runtime {
            runtime.block_on(yield_now());
        }
    }

    fn drop_handle_in_runtime(&self) {
        let drop_handle = || self.shared.drop_handle_if(Handle::DroppedInRuntime);
        match &self.runtime {
            Some(runtime) => runtime.block_on(async { drop_handle() }),
            None => drop_handle(),
        }
    }

    fn end_runtime(&mut self) {
        self.runtime = None;
        let abort = self.shared.abort.borrow();
        assert!(abort.as_ref().unwrap().is_finished());
    }
}

/// What really happens.
fn observe(case: Case) -> Outcome {
    let mut trial = Trial::new(case);
    let shared = Rc::clone(&trial.shared);
    let (count, waker) = WakeCount::new();

    if case.handle == Handle::PolledFromTheStart {
        let mut handle = shared.handle.borrow_mut();
        assert!(poll_with(handle.as_mut().unwrap(), &waker).is_pending());
    }
    shared.drop_handle_if(Handle::DroppedAtOnce);
    shared.abort_if(Abort::BeforeFirstPoll);
    trial.poll_task();
    shared.drop_handle_if(Handle::DroppedBetweenPolls);
    shared.abort_if(Abort::BetweenPolls);
    trial.poll_task();
    trial.drop_handle_in_runtime();
    shared.drop_handle_if(Handle::DroppedOutside);
    shared.abort_if(Abort::AfterSecondPoll);
    trial.end_runtime();
    shared.abort_if(Abort::AfterRuntime);
    shared.drop_handle_if(Handle::DroppedAfterRuntime);

    let told = shared.handle.take().map(|mut handle| {
        let Poll::Ready(result) = poll_with(&mut handle, Waker::noop()) else {
            panic!("the runtime is gone and the handle does not know");
        };
        tell(result)
    });
    Outcome {
        polls: shared.polls.get(),
        future_drops: shared.future_drops.get(),
        output_drops: shared.output_drops.get(),
        payload_drops: shared.payload_drops.load(Ordering::Relaxed),
        told,
        wakes: (case.handle == Handle::PolledFromTheStart).then(|| count.wakes()),
    }
}

/// What should happen.
fn expect(case: Case) -> Outcome {
    let mut polls = 0;
    let mut is_aborted = case.abort == Abort::BeforeFirstPoll;
    let mut ended = None;
    for poll in 1..=case.lifetime {
        if is_aborted {
            break;
        }
        polls = poll;
        is_aborted |= case.abort == Abort::InPoll(poll);
        match case.end {
            End::Returns(at) if at == poll => ended = Some("output"),
            End::Panics(at) if at == poll => ended = Some("poll"),
            _ => {}
        }
        if ended.is_some() {
            break;
        }
        is_aborted |= poll == 1 && case.abort == Abort::BetweenPolls;
    }
    let has_output = ended == Some("output");
    let ended = ended.unwrap_or("cancelled");
    let told = if case.panics.future && ended != "poll" {
        "future drop"
    } else {
        ended
    };
    let is_asked = match case.handle {
        Handle::Polled | Handle::PolledFromTheStart => true,
        // The poll that should have dropped it did not come.
        Handle::DroppedInPoll(poll) => polls < poll,
        // An output that the handle keeps cannot drop it; one that the panic takes the place of can.
        Handle::DroppedByOutput => !(has_output && case.panics.future),
        _ => false,
    };
    let panics = [
        ended == "poll",
        case.panics.future,
        has_output && case.panics.output,
    ];
    Outcome {
        polls,
        future_drops: 1,
        output_drops: u32::from(has_output),
        payload_drops: panics.map(u32::from).into_iter().sum(),
        told: is_asked.then_some(told),
        wakes: (case.handle == Handle::PolledFromTheStart).then_some(1),
    }
}

const ENDS: [End; 5] = [
    End::Returns(1),
    End::Returns(2),
    End::Panics(1),
    End::Panics(2),
    End::Never,
];

const ABORTS: [Abort; 9] = [
    Abort::Not,
    Abort::BeforeFirstPoll,
    Abort::InPoll(1),
    Abort::InPoll(2),
    Abort::BetweenPolls,
    Abort::AfterSecondPoll,
    Abort::InFutureDrop,
    Abort::InOutputDrop,
    Abort::AfterRuntime,
];

const HANDLES: [Handle; 11] = [
    Handle::DroppedAtOnce,
    Handle::DroppedInPoll(1),
    Handle::DroppedInPoll(2),
    Handle::DroppedBetweenPolls,
    Handle::DroppedByFuture,
    Handle::DroppedByOutput,
    Handle::DroppedInRuntime,
    Handle::DroppedOutside,
    Handle::DroppedAfterRuntime,
    Handle::Polled,
    Handle::PolledFromTheStart,
];

/// All combinations of what may panic when it is dropped.
fn panics() -> impl Iterator<Item = Drops> {
    (0..8).map(|bits| Drops {
        future: bits & 1 != 0,
        output: bits & 2 != 0,
        payload: bits & 4 != 0,
    })
}

/// Who may abort: the join handle or another one.
fn by_join_handle(abort: Abort) -> &'static [bool] {
    match abort {
        Abort::Not => &[false],
        _ => &[false, true],
    }
}

/// Calls `call` with each combination.
fn each_case(mut call: impl FnMut(Case)) {
    for end in ENDS {
        for abort in ABORTS {
            for &by_join_handle in by_join_handle(abort) {
                for handle in HANDLES {
                    for lifetime in 0..=2 {
                        for panics in panics() {
                            call(Case {
                                end,
                                abort,
                                by_join_handle,
                                handle,
                                lifetime,
                                panics,
                            });
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn every_combination_ends_as_the_model_says() {
    within(LIMIT, || {
        let mut count = 0;
        each_case(|case| {
            assert_eq!(observe(case), expect(case), "{case:?}");
            count += 1;
        });
        let aborts = 1 + 2 * (ABORTS.len() - 1);
        let rest = ENDS.len() * HANDLES.len() * 3 * 8;
        assert_eq!(count, aborts * rest);
        assert_eq!(count, 22_440);
    });
}
