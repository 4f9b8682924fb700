//! What a task returns: it must be dropped once, inside of its runtime unless somebody has taken it.

use std::cell::Cell;

use super::machine::machine;
use super::model::TaskNo;
use super::op::Place;

#[derive(Debug)]
pub(super) struct Output {
    pub(super) task: TaskNo,
    /// What its destructor runs.
    script: Option<Place>,
    is_taken: Cell<bool>,
}

impl Output {
    pub(super) fn new(task: TaskNo, script: Option<Place>) -> Self {
        Self {
            task,
            script,
            is_taken: Cell::new(false),
        }
    }

    /// Drops an output that a handle has given away.
    pub(super) fn give_to_taker(self) {
        self.is_taken.set(true);
        super::machine::catch(|| drop(self));
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let machine = machine();
        let runs = machine.model(|model| model.on_output_drop(self.task));
        let Some(script) = self.script.filter(|_| runs) else {
            return;
        };
        let home = machine.model(|model| {
            let home = model.tasks[self.task].home;
            (!self.is_taken.get() && model.homes[home].is_open()).then_some(home)
        });
        match home {
            Some(home) => machine.within(home, || machine.run_script(script, |_| ())),
            None => machine.run_script(script, |_| ()),
        }
    }
}
