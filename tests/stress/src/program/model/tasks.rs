//! Tasks: their turns, their ends, and what their handles say.

use runtime::task::Id;

use super::{Due, HomeNo, MOST_POLLS, Model, TaskNo, Watcher, Who};
use crate::program::actor::Waits;

/// A task.
#[derive(Debug, Default)]
pub(in crate::program) struct Task {
    pub(in crate::program) home: HomeNo,
    pub(in crate::program) id: Option<Id>,
    pub(super) due: Due,
    pub(super) is_running: bool,
    /// It was woken during its poll.
    pub(super) is_rewoken: bool,
    pub(in crate::program) is_aborted: bool,
    /// The drop of its future has begun.
    pub(in crate::program) is_over: bool,
    /// Something that the model does not follow may wake it.
    pub(super) is_wakeable: bool,
    /// It was aborted during the poll that is over, so that it has no further turn.
    ends_now: bool,
    has_returned: bool,
    poll_panic: Option<u32>,
    drop_panic: Option<u32>,
    pub(super) polls: u64,
    /// Once its future is dropped.
    pub(in crate::program) outcome: Option<Outcome>,
    joiner: Option<Watcher>,
    pub(super) waits: Waits,
    outputs_dropped: u32,
}

/// What a handle says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::program) enum Outcome {
    Output(TaskNo),
    Cancelled,
    /// With the number of the panic.
    Panicked(u32),
}

impl Model {
    /// A task is about to be spawned into a runtime.
    pub(in crate::program) fn spawn(&mut self, home: HomeNo) -> TaskNo {
        let number = self.tasks.len();
        self.tasks.push(Task {
            home,
            ..Task::default()
        });
        if self.homes[home].is_open() {
            self.make_due(number, Due::InTurn);
        }
        number
    }

    pub(in crate::program) fn begin_poll(&mut self, number: TaskNo) {
        self.polls += 1;
        self.activity += 1;
        assert!(self.polls < MOST_POLLS, "the runtime spins");
        let task = &self.tasks[number];
        assert!(!task.is_over, "task {number} was polled after its end");
        assert!(!task.is_aborted, "task {number} was polled after its abort");
        let is_at_home = self.current == Some(task.home) && self.homes[task.home].is_open();
        assert!(
            is_at_home,
            "task {number} was polled outside of its runtime"
        );
        self.take_turn(number);
        let task = &mut self.tasks[number];
        task.is_running = true;
        task.polls += 1;
    }

    /// A poll returned `Pending`.
    pub(in crate::program) fn end_poll(&mut self, number: TaskNo, waits: Waits) {
        let task = &mut self.tasks[number];
        task.is_running = false;
        task.is_wakeable |= waits.is_for_kernel();
        task.waits = waits;
        if std::mem::take(&mut task.is_rewoken) {
            task.ends_now = task.is_aborted;
            if !task.is_aborted {
                self.make_due(number, Due::InTurn);
            }
        }
    }

    pub(in crate::program) fn on_return(&mut self, number: TaskNo) {
        self.tasks[number].has_returned = true;
    }

    pub(in crate::program) fn on_poll_panic(&mut self, number: TaskNo, panic: u32) {
        self.tasks[number].is_running = false;
        self.tasks[number].poll_panic = Some(panic);
    }

    /// From now on the task may be polled without a wake that the model knows of.
    pub(in crate::program) fn let_be_woken(&mut self, who: Who) {
        if let Who::Task(number) = who {
            self.tasks[number].is_wakeable = true;
        }
    }

    pub(in crate::program) fn abort(&mut self, number: TaskNo) {
        let task = &mut self.tasks[number];
        if task.outcome.is_none() && !task.is_aborted {
            task.is_aborted = !task.is_over;
            self.wake(number, Due::InTurn);
        }
    }

    /// The drop of a future begins.
    pub(in crate::program) fn begin_end(&mut self, number: TaskNo) {
        self.activity += 1;
        let task = &self.tasks[number];
        assert!(!task.is_over, "task {number} was dropped twice");
        let is_closing = !self.homes[task.home].is_open();
        let is_done = task.has_returned || task.poll_panic.is_some() || task.ends_now;
        assert!(
            is_done || is_closing || task.is_aborted,
            "the future of task {number} was dropped for no reason"
        );
        if !is_done && !is_closing {
            self.take_turn(number);
        }
        self.tasks[number].is_over = true;
    }

    pub(in crate::program) fn on_drop_panic(&mut self, number: TaskNo, panic: u32) {
        self.tasks[number].drop_panic = Some(panic);
    }

    /// A future is dropped: from now on its handle tells the outcome.
    pub(in crate::program) fn end(&mut self, number: TaskNo) {
        let task = &mut self.tasks[number];
        assert_eq!(task.outcome, None, "task {number} ended twice");
        let panic = task.poll_panic.or(task.drop_panic);
        task.outcome = Some(match panic {
            Some(panic) => Outcome::Panicked(panic),
            None if task.has_returned => Outcome::Output(number),
            None => Outcome::Cancelled,
        });
        if let Some(joiner) = task.joiner.take() {
            self.notify(joiner);
        }
    }

    /// A handle was polled by somebody who will now be woken.
    pub(in crate::program) fn on_join(&mut self, number: TaskNo, joiner: Watcher) {
        self.tasks[number].joiner = Some(joiner);
    }

    /// A handle was dropped, or has given its result.
    pub(in crate::program) fn detach(&mut self, number: TaskNo) {
        self.tasks[number].joiner = None;
    }

    /// Whether the destructor of an output runs its script: not where nobody ever could have taken it.
    pub(in crate::program) fn on_output_drop(&mut self, number: TaskNo) -> bool {
        let task = &mut self.tasks[number];
        task.outputs_dropped += 1;
        assert!(task.has_returned && task.outputs_dropped == 1);
        task.drop_panic.is_none()
    }

    /// Everything was dropped.
    pub(in crate::program) fn check_end(&self) {
        for (number, task) in self.tasks.iter().enumerate() {
            assert!(task.outcome.is_some(), "task {number} never ended");
            assert_eq!(
                task.outputs_dropped,
                u32::from(task.has_returned),
                "the output of task {number} is not dropped once"
            );
        }
    }
}
