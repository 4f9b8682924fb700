//! Runs the steps of a life, and checks that each fault comes out where it should and nowhere else.

use std::cell::Cell;
use std::io;

use super::script::{self, Fault};

/// What a fault must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nobody notices.
    Mended,
    /// Whoever asked for the operation that made the call gets its error.
    Reported,
}

/// An act ended early, because one of its steps got the error that was injected.
#[derive(Debug)]
pub(crate) struct Ended;

/// What one life has shown so far.
pub(crate) struct Journal {
    outcome: Outcome,
    /// How many faults came while a step ran.
    met: Cell<u32>,
}

impl Journal {
    /// Starts a life in which faults come to `outcome`.
    pub(crate) fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            met: Cell::new(0),
        }
    }

    /// Something that a user does and that may fail.
    pub(crate) fn step(&self, name: &'static str) -> Step<'_> {
        Step {
            journal: self,
            name,
            mends: |_| false,
        }
    }

    /// Checks that every fault had somebody to be told to, if it had to be told.
    pub(crate) fn close(&self) {
        let injected = script::tally().injected;
        assert!(
            self.outcome == Outcome::Mended || self.met.get() == injected,
            "{injected} faults came, and {} of them in a step",
            self.met.get()
        );
    }
}

/// A step that is about to run.
pub(crate) struct Step<'a> {
    journal: &'a Journal,
    name: &'static str,
    mends: fn(Fault) -> bool,
}

impl Step<'_> {
    /// Says which faults this step makes good by itself if they come once, whatever they come to elsewhere.
    pub(crate) fn mending(mut self, mends: fn(Fault) -> bool) -> Self {
        self.mends = mends;
        self
    }

    /// Runs the step, and checks what it came to.
    pub(crate) fn call<T>(self, work: impl FnOnce() -> io::Result<T>) -> Result<T, Ended> {
        let before = script::tally().injected;
        let result = work();
        self.judge(before, result)
    }

    /// Waits for the step, and checks what it came to.
    pub(crate) async fn run<T>(
        self,
        work: impl Future<Output = io::Result<T>>,
    ) -> Result<T, Ended> {
        let before = script::tally().injected;
        let result = work.await;
        self.judge(before, result)
    }

    fn judge<T>(self, before: u32, result: io::Result<T>) -> Result<T, Ended> {
        let tally = script::tally();
        let met = tally.injected - before;
        self.journal.met.set(self.journal.met.get() + met);
        let fault = tally.last.filter(|_| met > 0);
        let is_mended = self.journal.outcome == Outcome::Mended;
        match (result, fault) {
            (Ok(value), None) => Ok(value),
            (Ok(value), Some(fault)) if is_mended || (self.mends)(fault) => Ok(value),
            (Ok(_), Some(fault)) => panic!("`{}` hid {fault} from its caller", self.name),
            (Err(error), Some(fault)) if !is_mended && tells(&error, fault.errno) => {
                assert!(
                    met > 1 || !(self.mends)(fault),
                    "`{}` should have made {fault} good",
                    self.name
                );
                Err(Ended)
            }
            (Err(error), fault) => {
                let fault = fault.map_or("no fault".into(), |fault| fault.to_string());
                panic!("`{}` failed with {error:?} after {fault}", self.name)
            }
        }
    }
}

/// Whether an error is that of the system, or quotes it.
fn tells(error: &io::Error, errno: i32) -> bool {
    let quoted = io::Error::from_raw_os_error(errno).to_string();
    error.raw_os_error() == Some(errno) || error.to_string().ends_with(&quoted)
}
