//! The future of every task: it runs code, a stretch with each poll.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use runtime::time::{Instant, Timer, sleep_until};

use super::handles::Joining;
use super::machine::{Caller, Machine, Planned, machine};
use super::model::{TaskNo, Who};
use super::op::{Op, Place};
use super::output::Output;
use super::sockets::{End, Wire};
use super::timers;

/// Operations in one poll.
const STRETCH: usize = 16;

#[derive(Debug)]
pub(super) struct Actor {
    body: Body,
    /// Dropped last.
    _end: Ended,
}

/// What runs, and what its destructor ends.
#[derive(Debug)]
struct Body {
    task: TaskNo,
    place: Place,
    on_drop: Option<Place>,
    on_output: Option<Place>,
    wait: Wait,
    held: Vec<Joining>,
}

/// Tells the model that the future is gone.
#[derive(Debug)]
struct Ended(TaskNo);

/// What a task waits for before it goes on.
#[derive(Debug)]
enum Wait {
    Nothing,
    Sleep(Timer),
    Join(Joining),
    Read(Rc<End>, u8),
    Write(Rc<End>, u8),
}

/// What the model knows of it.
#[derive(Clone, Debug, Default)]
pub(super) enum Waits {
    #[default]
    Other,
    Task(TaskNo),
    Time(Instant),
    Reading(Rc<Wire>),
    Writing(Rc<Wire>),
}

impl Waits {
    /// Whether an event that the model does not see ends it.
    pub(super) fn is_for_kernel(&self) -> bool {
        !matches!(self, Self::Other | Self::Task(_))
    }

    /// Checks that nothing of before `time` would have ended it.
    pub(super) fn check(&self, task: TaskNo, time: Instant) {
        match self {
            Self::Other | Self::Task(_) => {}
            Self::Time(deadline) => assert!(*deadline > time, "task {task} overslept"),
            Self::Reading(wire) => assert!(!wire.is_readable(), "task {task} could read"),
            Self::Writing(wire) => assert!(!wire.is_writable(), "task {task} could write"),
        }
    }

    /// The time that it waits for, if that is not far.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Time(deadline) => Some(*deadline),
            _ => None,
        }
    }
}

impl Actor {
    pub(super) fn new(task: TaskNo, place: Place) -> Self {
        let body = Body {
            task,
            place,
            on_drop: None,
            on_output: None,
            wait: Wait::Nothing,
            held: Vec::new(),
        };
        Self {
            body,
            _end: Ended(task),
        }
    }
}

impl Future for Actor {
    type Output = Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        let machine = machine();
        let body = &mut self.body;
        let id = machine.model(|model| {
            model.begin_poll(body.task);
            model.tasks[body.task].id
        });
        assert_eq!(runtime::task::try_id(), id, "the number of the task");
        let polled = body.poll(&machine, cx.waker());
        let waits = body.wait.to_model();
        machine.model(|model| match polled {
            Poll::Ready(_) => model.on_return(body.task),
            Poll::Pending => model.end_poll(body.task, waits),
        });
        polled
    }
}

impl Body {
    fn poll(&mut self, machine: &Machine, waker: &Waker) -> Poll<Output> {
        let who = Who::Task(self.task);
        let caller = Caller {
            who,
            waker: Some(waker),
        };
        if machine.may_run_short() {
            machine.model(|model| model.let_be_woken(who));
        }
        for _ in 0..STRETCH {
            if self.wait.poll(who, waker).is_pending() {
                return Poll::Pending;
            }
            self.wait = Wait::Nothing;
            let Some(op) = machine.next(&mut self.place) else {
                return Poll::Ready(self.output());
            };
            match op {
                Op::Return => return Poll::Ready(self.output()),
                Op::Pend => return Poll::Pending,
                Op::Yield => break,
                Op::Panic => {
                    let number = machine.new_panic();
                    machine.model(|model| model.on_poll_panic(self.task, number));
                    resume_unwind(Box::new(Planned(number)));
                }
                op => self.perform(machine, op, caller),
            }
        }
        machine.model(|model| model.on_wake(who));
        waker.wake_by_ref();
        Poll::Pending
    }

    fn output(&self) -> Output {
        Output::new(self.task, self.on_output)
    }

    fn perform(&mut self, machine: &Machine, op: Op, caller: Caller<'_>) {
        let ahead = |place: u8| Some(self.place + usize::from(place));
        match op {
            Op::OnDrop { place } => self.on_drop = ahead(place),
            Op::OnOutput { place } => self.on_output = ahead(place),
            Op::Sleep { when } => self.wait = Wait::Sleep(sleep_until(timers::instant(when))),
            Op::Join { handle } => {
                if let Some(joining) = machine.take_handle(handle) {
                    self.wait = Wait::Join(joining);
                }
            }
            Op::Hold { handle } => self.held.extend(machine.take_handle(handle)),
            Op::Read { end, length } => {
                if let Some(end) = machine.end_of_pair(end) {
                    self.wait = Wait::Read(end, length);
                }
            }
            Op::Write { end, length } => {
                if let Some(end) = machine.end_of_pair(end) {
                    self.wait = Wait::Write(end, length);
                }
            }
            op => machine.perform(op, self.place, caller),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let machine = machine();
        machine.model(|model| model.begin_end(self.task));
        let home = machine.model(|model| model.tasks[self.task].home);
        let is_inside = machine.current() == Some(home);
        assert!(
            is_inside,
            "task {} was dropped outside of its runtime",
            self.task
        );
        if let Some(place) = self.on_drop {
            machine.run_script(place, |number| {
                machine.model(|model| model.on_drop_panic(self.task, number));
            });
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        machine().model(|model| model.end(self.0));
    }
}

impl Wait {
    fn poll(&mut self, who: Who, waker: &Waker) -> Poll<()> {
        let mut cx = Context::from_waker(waker);
        match self {
            Self::Nothing => Poll::Ready(()),
            Self::Sleep(timer) => timers::poll(timer, &mut cx),
            Self::Join(joining) => joining.poll(who, waker),
            Self::Read(end, length) => end.poll_read(&mut cx, *length),
            Self::Write(end, length) => end.poll_write(&mut cx, *length),
        }
    }

    fn to_model(&self) -> Waits {
        match self {
            Self::Nothing => Waits::Other,
            Self::Join(joining) => Waits::Task(joining.task()),
            Self::Sleep(timer) => Waits::Time(timer.deadline()),
            Self::Read(end, _) => Waits::Reading(end.incoming()),
            Self::Write(end, _) => Waits::Writing(end.outgoing()),
        }
    }
}
