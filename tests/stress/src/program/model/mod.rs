//! What has to happen: which task is polled when, how it ends, and who has to be woken.
//!
//! The machines tell it of everything they do, before they do it; it calls nobody. Of the runtime it knows what is
//! promised: two queues that take turns, each first come first served, one for what events, timers and wakes from
//! outside make due, one for the rest; wakes from outside are taken when the loop goes round. Stray wakes (of a task that is gone, from outside) may poll another task once: they are counted.

mod homes;
mod tasks;

use runtime::time::Instant;

pub(super) use self::homes::Home;
pub(super) use self::tasks::{Outcome, Task};
use super::actor::Waits;

/// The number of a task among all of a program.
pub(super) type TaskNo = usize;

/// The number of a runtime among all of a program.
pub(super) type HomeNo = usize;

/// More polls than any program has reason for.
const MOST_POLLS: u64 = 100_000;

/// Whom a waker wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Nobody,
    Main,
    Task(TaskNo),
    Foreign(usize),
}

/// Somebody who waits, and how often they had been woken by then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watcher {
    pub(super) who: Who,
    pub(super) seen: u64,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) tasks: Vec<Task>,
    pub(super) homes: Vec<Home>,
    /// How often each foreign waker was woken.
    pub(super) foreign: Vec<u64>,
    /// The runtime that is current.
    pub(super) current: Option<HomeNo>,
    /// Wakes that may have hit another task than they were meant for.
    strays: u64,
    /// How many scripts run that the runtime began by a wake, perhaps while it delivers events.
    pub(super) deliveries: u32,
    /// What was done so far, to tell when nothing happens any more.
    pub(super) activity: u64,
    /// Waiters outside of tasks that have to be woken before their runtime rests.
    owed: Vec<Watcher>,
    polls: u64,
}

impl Model {
    /// How often somebody was polled or woken.
    fn progress(&self, who: Who) -> u64 {
        match who {
            Who::Task(task) => self.tasks[task].polls,
            Who::Foreign(number) => self.foreign[number],
            Who::Nobody | Who::Main => 0,
        }
    }

    pub(super) fn watch(&self, who: Who) -> Watcher {
        let seen = self.progress(who);
        Watcher { who, seen }
    }

    /// Whether a waiter was woken since it began to wait, or need not be any more.
    pub(super) fn is_served(&self, watcher: Watcher) -> bool {
        match watcher.who {
            Who::Nobody | Who::Main => true,
            Who::Task(task) if self.tasks[task].is_over => true,
            who => self.progress(who) > watcher.seen,
        }
    }

    pub(super) fn on_foreign_wake(&mut self, number: usize) {
        self.foreign[number] += 1;
        self.activity += 1;
    }

    /// Makes whoever waits due, in whatever turn, or notes that they are owed a wake.
    fn notify(&mut self, watcher: Watcher) {
        match watcher.who {
            Who::Task(task) => self.wake(task, Due::AnyTurn),
            Who::Foreign(_) => self.owed.push(watcher),
            Who::Nobody | Who::Main => {}
        }
    }

    /// Somebody woke a task by a waker.
    pub(super) fn on_wake(&mut self, who: Who) {
        if let Who::Task(task) = who {
            self.wake(task, Due::InTurn);
        }
    }

    fn wake(&mut self, task: TaskNo, due: Due) {
        let Task {
            home,
            is_over,
            is_running,
            ..
        } = self.tasks[task];
        let is_local = self.current == Some(home);
        let due = if self.deliveries > 0 {
            Due::AnyTurn
        } else {
            due
        };
        let is_open = self.homes[home].is_open();
        if is_over || !is_open {
            self.strays += u64::from(!is_local);
        } else if is_local && is_running {
            self.tasks[task].is_rewoken = true;
        } else if is_local {
            self.make_due(task, due);
        } else if self.homes[home].is_entered {
            // It is taken in a later round, also if the task has had its turn by then.
            self.strays += u64::from(self.tasks[task].due != Due::No);
            self.make_due(task, Due::AnyTurn);
        } else {
            self.homes[home].marked.push(task);
        }
    }

    fn make_due(&mut self, task: TaskNo, due: Due) {
        let Task {
            home, is_wakeable, ..
        } = self.tasks[task];
        if self.tasks[task].due == Due::No {
            // It may be due by an event already, and so in the other queue.
            let is_known = due == Due::InTurn && !is_wakeable;
            self.tasks[task].due = if is_known { due } else { Due::AnyTurn };
            if is_known {
                self.homes[home].tasks.push_back(vec![task]);
            }
        }
    }

    /// Checks that a task may be polled, or dropped, now, and takes it out of the queue.
    fn take_turn(&mut self, task: TaskNo) {
        let Task {
            home,
            due,
            is_wakeable,
            ..
        } = self.tasks[task];
        let taken = self.homes[home].take(task);
        let is_in_turn = match due {
            Due::AnyTurn => true,
            Due::InTurn => taken.is_in_turn,
            Due::No => false,
        };
        if !is_in_turn && !is_wakeable {
            assert!(
                self.strays > 0,
                "task {task} ran out of turn: it is {due:?}"
            );
            self.strays -= 1;
        }
        // A stray wake has made them due before.
        for other in taken.passed_over {
            self.tasks[other].due = Due::AnyTurn;
        }
        self.tasks[task].due = Due::No;
    }

    /// When the tasks of a runtime that sleep wake up.
    pub(super) fn deadlines(&self, home: HomeNo) -> Vec<Instant> {
        let tasks = self.tasks.iter();
        let tasks = tasks.filter(|task| task.home == home && !task.is_over);
        tasks.filter_map(|task| task.waits.deadline()).collect()
    }

    /// The runtime has come to rest: whatever had happened by `time` has been seen to.
    pub(super) fn check_rest(&self, home: HomeNo, time: Instant) {
        for (number, task) in self.tasks.iter().enumerate() {
            if task.home == home && !task.is_over {
                assert_eq!(task.due, Due::No, "task {number} was woken but never ran");
                task.waits.check(number, time);
                if let Waits::Task(other) = task.waits {
                    let is_over = self.tasks[other].outcome.is_some();
                    assert!(!is_over, "task {number} was not told of the end of {other}");
                }
            }
        }
        for &watcher in &self.owed {
            assert!(self.is_served(watcher), "{watcher:?} was not woken");
        }
    }
}

/// Whether a task is in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Due {
    #[default]
    No,
    /// In the turn that the model knows.
    InTurn,
    /// In a turn that the model does not know.
    AnyTurn,
}
