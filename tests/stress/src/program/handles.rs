//! Tasks and their handles in registers.

use std::any::Any;
use std::task::{Context, Poll, Waker};

use runtime::task::JoinHandle;

use super::actor::Actor;
use super::machine::{self, Machine, Planned, copy, index, machine};
use super::model::{Outcome, TaskNo, Who};
use super::op::{Op, Place};
use super::output::Output;

const MOST_TASKS: usize = 48;

/// A handle, and whose it is.
#[derive(Debug)]
pub(super) struct Joining {
    task: TaskNo,
    handle: JoinHandle<Output>,
}

impl Drop for Joining {
    fn drop(&mut self) {
        machine().model(|model| model.detach(self.task));
    }
}

impl Joining {
    pub(super) fn task(&self) -> TaskNo {
        self.task
    }

    /// Polls the handle, and checks what it says.
    pub(super) fn poll(&mut self, who: Who, waker: &Waker) -> Poll<()> {
        let machine = machine();
        let watcher = machine.model(|model| model.watch(who));
        let mut cx = Context::from_waker(waker);
        let polled = machine::poll(&mut self.handle, &mut cx);
        let outcome = machine.model(|model| model.tasks[self.task].outcome);
        assert_eq!(self.handle.is_finished(), outcome.is_some());
        let Poll::Ready(result) = polled else {
            let may_run_short = machine.may_run_short();
            assert!(outcome.is_none() || may_run_short);
            machine.model(|model| {
                // Without budget nobody is registered, but woken at once; of a task the model cannot tell.
                if !may_run_short {
                    model.on_join(self.task, watcher);
                } else if !matches!(who, Who::Foreign(_)) {
                    model.detach(self.task);
                } else if !model.is_served(watcher) {
                    model.on_join(self.task, watcher);
                }
            });
            return Poll::Pending;
        };
        let (said, output) = match result {
            Ok(output) => (Outcome::Output(output.task), Some(output)),
            Err(error) if error.is_cancelled() => (Outcome::Cancelled, None),
            Err(error) => (Outcome::Panicked(number_of(error.into_panic())), None),
        };
        assert_eq!(Some(said), outcome, "what the handle says");
        machine.model(|model| model.detach(self.task));
        if let Some(output) = output {
            output.give_to_taker();
        }
        Poll::Ready(())
    }
}

/// Which of the program's panics this is.
fn number_of(payload: Box<dyn Any + Send>) -> u32 {
    payload
        .downcast::<Planned>()
        .expect("only the program panics")
        .0
}

impl Machine {
    pub(super) fn spawn(&self, handle: usize, place: Place, runtime: usize) {
        if self.model(|model| model.tasks.len()) == MOST_TASKS {
            return;
        }
        let (task, handle_of) = if let Some(home) = self.current() {
            let task = self.model(|model| model.spawn(home));
            (task, runtime::spawn(Actor::new(task, place)))
        } else if let Some((home, runtime)) = self.runtime(runtime) {
            let task = self.model(|model| model.spawn(home));
            (task, runtime.spawn(Actor::new(task, place)))
        } else {
            return;
        };
        self.model(|model| model.tasks[task].id = Some(handle_of.id()));
        let joining = Joining {
            task,
            handle: handle_of,
        };
        drop(self.handles[handle % self.handles.len()].replace(Some(joining)));
    }

    pub(super) fn perform_on_task(&self, op: Op) {
        match op {
            Op::Abort { handle } => {
                let handle = self.handles[index(handle)].borrow();
                if let Some(joining) = &*handle {
                    self.model(|model| model.abort(joining.task));
                    joining.handle.abort();
                }
            }
            Op::KeepAbort { handle, abort } => {
                let handle = self.handles[index(handle)].borrow();
                let made = handle
                    .as_ref()
                    .map(|it| (it.task, it.handle.abort_handle()));
                drop(handle);
                drop(self.aborts[index(abort)].replace(made));
            }
            Op::AbortVia { abort } => {
                if let Some((task, abort)) = copy(&self.aborts[index(abort)]) {
                    let is_over = self.model(|model| model.tasks[task].outcome.is_some());
                    assert_eq!(abort.is_finished(), is_over);
                    self.model(|model| model.abort(task));
                    abort.abort();
                }
            }
            Op::DropAbort { abort } => drop(self.aborts[index(abort)].take()),
            Op::DropHandle { handle } => drop(self.handles[index(handle)].take()),
            _ => {}
        }
    }

    /// Takes a handle for good.
    pub(super) fn take_handle(&self, handle: u8) -> Option<Joining> {
        self.handles[index(handle)].take()
    }

    pub(super) fn poll_handle(&self, handle: usize, who: Who, waker: &Waker) {
        let register = &self.handles[handle % self.handles.len()];
        let Some(mut joining) = register.take() else {
            return;
        };
        if self.may_run_short() {
            self.model(|model| model.let_be_woken(who));
        }
        if joining.poll(who, waker).is_pending() {
            // Somebody else may have put another one there meanwhile.
            drop(register.replace(Some(joining)));
        }
    }
}
