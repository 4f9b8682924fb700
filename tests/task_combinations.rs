//! Every combination of how a task ends, what of it panics, when it is aborted and what becomes of its
//! handle, against a model: each future dies once, each output once, and the handle tells the truth.

mod common;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
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
    AfterRuntime,
}

/// What becomes of the join handle.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Handle {
    DroppedAtOnce,
    DroppedInPoll(u32),
    DroppedBetweenPolls,
    DroppedByFuture,
    DroppedInRuntime,
    DroppedOutside,
    DroppedAfterRuntime,
    Polled,
    PolledFromTheStart,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    end: End,
    abort: Abort,
    handle: Handle,
    future_drop_panics: bool,
    output_drop_panics: bool,
}

/// What a case comes to.
#[derive(Debug, PartialEq)]
struct Outcome {
    polls: u32,
    future_drops: u32,
    output_drops: u32,
    /// What the handle told, if it was asked.
    told: Option<&'static str>,
    /// How often the waker was woken that waited from the start.
    wakes: Option<usize>,
}

#[derive(Default)]
struct Shared {
    polls: Cell<u32>,
    future_drops: Cell<u32>,
    output_drops: Cell<u32>,
    waker: RefCell<Option<Waker>>,
    abort: RefCell<Option<AbortHandle>>,
    handle: RefCell<Option<JoinHandle<Output>>>,
}

struct Output(Rc<Shared>, bool);

impl Drop for Output {
    fn drop(&mut self) {
        let Self(shared, panics) = self;
        shared.output_drops.set(shared.output_drops.get() + 1);
        if *panics {
            resume_unwind(Box::new("output drop"));
        }
    }
}

struct Subject(Rc<Shared>, Case);

impl Future for Subject {
    type Output = Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        let Self(shared, case) = &*self;
        let poll = shared.polls.get() + 1;
        shared.polls.set(poll);
        shared.waker.borrow_mut().replace(cx.waker().clone());
        if case.abort == Abort::InPoll(poll) {
            shared.abort.borrow().as_ref().unwrap().abort();
        }
        if case.handle == Handle::DroppedInPoll(poll) {
            let handle = shared.handle.take();
            drop(handle);
        }
        match case.end {
            End::Returns(at) if at == poll => {
                Poll::Ready(Output(Rc::clone(shared), case.output_drop_panics))
            }
            End::Panics(at) if at == poll => resume_unwind(Box::new("poll")),
            _ => Poll::Pending,
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let Self(shared, case) = self;
        shared.future_drops.set(shared.future_drops.get() + 1);
        if case.handle == Handle::DroppedByFuture {
            let handle = shared.handle.take();
            drop(handle);
        }
        if case.future_drop_panics {
            resume_unwind(Box::new("future drop"));
        }
    }
}

fn tell(result: Result<Output, JoinError>) -> &'static str {
    match result {
        Ok(output) => {
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(output)));
            drop(dropped);
            "output"
        }
        Err(error) if error.is_cancelled() => "cancelled",
        Err(error) => error.into_panic().downcast_ref::<&'static str>().unwrap(),
    }
}

/// What really happens.
fn observe(case: Case) -> Outcome {
    let shared = Rc::<Shared>::default();
    let runtime = Runtime::new().unwrap();
    let task = runtime.spawn(Subject(Rc::clone(&shared), case));
    let abort = task.abort_handle();
    *shared.abort.borrow_mut() = Some(abort.clone());
    *shared.handle.borrow_mut() = Some(task);
    let (count, waker) = WakeCount::new();
    let drop_handle_if = |when| {
        if case.handle == when {
            let handle = shared.handle.take();
            drop(handle);
        }
    };
    let abort_if = |when| {
        if case.abort == when {
            abort.abort();
        }
    };
    let poll_task = || {
        let waker = shared.waker.take();
        waker.unwrap_or(Waker::noop().clone()).wake();
        runtime.block_on(yield_now());
    };

    if case.handle == Handle::PolledFromTheStart {
        let mut handle = shared.handle.borrow_mut();
        assert!(poll_with(handle.as_mut().unwrap(), &waker).is_pending());
    }
    drop_handle_if(Handle::DroppedAtOnce);
    abort_if(Abort::BeforeFirstPoll);
    poll_task();
    drop_handle_if(Handle::DroppedBetweenPolls);
    abort_if(Abort::BetweenPolls);
    poll_task();
    runtime.block_on(poll_fn(|_| {
        drop_handle_if(Handle::DroppedInRuntime);
        Poll::Ready(())
    }));
    drop_handle_if(Handle::DroppedOutside);
    abort_if(Abort::AfterSecondPoll);
    drop(runtime);
    assert!(abort.is_finished());
    abort_if(Abort::AfterRuntime);
    drop_handle_if(Handle::DroppedAfterRuntime);

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
        told,
        wakes: (case.handle == Handle::PolledFromTheStart).then(|| count.wakes()),
    }
}

/// What should happen.
fn expect(case: Case) -> Outcome {
    let mut polls = 0;
    let mut is_aborted = case.abort == Abort::BeforeFirstPoll;
    let mut ended = None;
    for poll in 1..=2 {
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
    let told = if case.future_drop_panics && ended != "poll" {
        "future drop"
    } else {
        ended
    };
    let is_asked = match case.handle {
        Handle::Polled | Handle::PolledFromTheStart => true,
        // The poll that should have dropped it did not come.
        Handle::DroppedInPoll(poll) => polls < poll,
        _ => false,
    };
    Outcome {
        polls,
        future_drops: 1,
        output_drops: u32::from(has_output),
        told: is_asked.then_some(told),
        wakes: (case.handle == Handle::PolledFromTheStart).then_some(1),
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let ends = [
        End::Returns(1),
        End::Returns(2),
        End::Panics(1),
        End::Panics(2),
        End::Never,
    ];
    let aborts = [
        Abort::Not,
        Abort::BeforeFirstPoll,
        Abort::InPoll(1),
        Abort::InPoll(2),
        Abort::BetweenPolls,
        Abort::AfterSecondPoll,
        Abort::AfterRuntime,
    ];
    let handles = [
        Handle::DroppedAtOnce,
        Handle::DroppedInPoll(1),
        Handle::DroppedInPoll(2),
        Handle::DroppedBetweenPolls,
        Handle::DroppedByFuture,
        Handle::DroppedInRuntime,
        Handle::DroppedOutside,
        Handle::DroppedAfterRuntime,
        Handle::Polled,
        Handle::PolledFromTheStart,
    ];
    ends.into_iter().flat_map(move |end| {
        aborts.into_iter().flat_map(move |abort| {
            handles.into_iter().flat_map(move |handle| {
                [(false, false), (false, true), (true, false), (true, true)].map(
                    |(future_drop_panics, output_drop_panics)| Case {
                        end,
                        abort,
                        handle,
                        future_drop_panics,
                        output_drop_panics,
                    },
                )
            })
        })
    })
}

#[test]
fn every_combination_ends_as_the_model_says() {
    within(LIMIT, || {
        let mut count = 0;
        for case in cases() {
            assert_eq!(observe(case), expect(case), "{case:?}");
            count += 1;
        }
        assert_eq!(count, 5 * 7 * 10 * 4);
    });
}
