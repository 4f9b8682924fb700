//! Runtimes: their queues, and the wakes that reach them from outside.

use std::collections::VecDeque;

use super::{Due, HomeNo, Model, TaskNo};

/// A runtime.
#[derive(Debug, Default)]
pub(in crate::program) struct Home {
    life: Life,
    /// The due tasks whose turn is known. Those of one batch may run in any order: they were woken from outside,
    /// and the runtime takes such wakes in the order of its slots.
    pub(super) queue: VecDeque<Vec<TaskNo>>,
    /// Woken from outside since the loop last went round.
    pub(super) marked: Vec<TaskNo>,
    /// Its `block_on` runs.
    pub(super) is_entered: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Life {
    #[default]
    Open,
    /// It is being dropped.
    Closing,
    Gone,
}

impl Home {
    pub(in crate::program) fn is_open(&self) -> bool {
        self.life == Life::Open
    }

    pub(in crate::program) fn is_entered(&self) -> bool {
        self.is_entered
    }

    /// Takes a task out of the queue; whether it was its turn.
    pub(super) fn take(&mut self, task: TaskNo) -> bool {
        let Some(place) = self.queue.iter().position(|batch| batch.contains(&task)) else {
            return false;
        };
        let batch = &mut self.queue[place];
        batch.retain(|&other| other != task);
        if batch.is_empty() {
            self.queue.remove(place);
        }
        place == 0
    }
}

impl Model {
    pub(in crate::program) fn open_home(&mut self) -> HomeNo {
        self.homes.push(Home::default());
        self.homes.len() - 1
    }

    /// A `block_on` begins, and takes the wakes from outside.
    pub(in crate::program) fn enter_home(&mut self, home: HomeNo) {
        self.homes[home].is_entered = true;
        let mut batch = std::mem::take(&mut self.homes[home].marked);
        batch.retain(|&task| {
            let task = &mut self.tasks[task];
            let is_made_due = !task.is_over && task.due == Due::No;
            if is_made_due {
                task.due = Due::InTurn;
            }
            is_made_due
        });
        if !batch.is_empty() {
            self.homes[home].queue.push_back(batch);
        }
    }

    pub(in crate::program) fn leave_home(&mut self, home: HomeNo) {
        self.homes[home].is_entered = false;
    }

    pub(in crate::program) fn close_home(&mut self, home: HomeNo) {
        let home = &mut self.homes[home];
        home.life = Life::Closing;
        // The marks may be found by the runtime that has its number next.
        self.strays += home.marked.len() as u64;
    }

    /// The runtime was dropped.
    pub(in crate::program) fn end_home(&mut self, home: HomeNo) {
        self.homes[home].life = Life::Gone;
        for (number, task) in self.tasks.iter().enumerate() {
            assert!(
                task.home != home || task.outcome.is_some(),
                "task {number} outlived its runtime"
            );
        }
    }
}
