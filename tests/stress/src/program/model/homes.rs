//! Runtimes: their queues, and the wakes that reach them from outside.

use std::collections::VecDeque;

use super::{Due, HomeNo, Model, TaskNo};

/// A runtime.
#[derive(Debug, Default)]
pub(in crate::program) struct Home {
    life: Life,
    /// Due tasks that are known to be in the queue for wakes from outside. Those of one batch may run in any
    /// order: the runtime takes such wakes in the order of its slots.
    pub(super) events: VecDeque<Vec<TaskNo>>,
    /// Due tasks that are known to be in the queue for the rest.
    pub(super) tasks: VecDeque<Vec<TaskNo>>,
    /// The queue that the next task must not come from, as the other one has had to wait.
    barred: Option<Class>,
    /// Woken from outside since the loop last went round.
    pub(super) marked: Vec<TaskNo>,
    /// Its `block_on` runs.
    pub(super) is_entered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Events,
    Tasks,
}

/// How a task was taken out of its queue.
pub(super) struct Taken {
    pub(super) is_in_turn: bool,
    /// Those that came before it in its queue, which are not in any queue that is known from now on.
    pub(super) passed_over: Vec<TaskNo>,
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

    /// Takes a task out of its queue.
    pub(super) fn take(&mut self, task: TaskNo) -> Taken {
        let barred = self.barred.take();
        let place_in = |queue: &VecDeque<Vec<_>>| queue.iter().position(|it| it.contains(&task));
        let (class, place) = match (place_in(&self.events), place_in(&self.tasks)) {
            (Some(place), _) => (Class::Events, place),
            (None, Some(place)) => (Class::Tasks, place),
            (None, None) => {
                return Taken {
                    is_in_turn: false,
                    passed_over: Vec::new(),
                };
            }
        };
        let (queue, other) = match class {
            Class::Events => (&mut self.events, &self.tasks),
            Class::Tasks => (&mut self.tasks, &self.events),
        };
        let passed_over = queue.drain(..place).flatten().collect();
        queue[0].retain(|&other| other != task);
        if queue[0].is_empty() {
            queue.pop_front();
        }
        let waits = !other.is_empty();
        self.barred = waits.then_some(class);
        Taken {
            is_in_turn: place == 0 && !(waits && barred == Some(class)),
            passed_over,
        }
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
            self.homes[home].events.push_back(batch);
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
