//! The machine: registers that all running code shares, and the operations on them.
//!
//! # Invariants
//!
//! 1. No register is borrowed while an operation runs: things are taken out, used, and put back.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use runtime::task::AbortHandle;
use runtime::{Builder, Runtime};

use super::foreign::Foreign;
use super::handles::Joining;
use super::model::{HomeNo, Model, TaskNo, Who};
use super::op::{Op, Place, decode};
use super::settle;
use super::sockets::Pair;
use super::timers::Alarm;

/// How many registers there are of each kind.
const REGISTERS: usize = 8;
const PAIRS: usize = 2;
const RUNTIMES: usize = 2;
/// Events that one turn takes; there may be more.
const EVENTS: usize = 8;
/// The choices that a program's first byte makes.
const EVENT_INTERVALS: [u32; 3] = [1, 3, 16];
/// A budget that no poll uses up, and one that most do.
const AMPLE: u32 = 1 << 20;
const SCARCE: u32 = 3;
const IS_SCARCE: u8 = 0x40;
/// Operations that one program may run.
const FUEL: u32 = 3_000;
/// How deep destructors and wakers may run within each other.
const DEPTH: u32 = 6;

thread_local! {
    static MACHINE: RefCell<Option<Rc<Machine>>> = const { RefCell::new(None) };
}

/// The machine of the program that runs on this thread.
pub(super) fn machine() -> Rc<Machine> {
    MACHINE.with_borrow(|machine| machine.clone().expect("a program runs"))
}

type Registers<T, const COUNT: usize> = [RefCell<Option<T>>; COUNT];

pub(super) struct Machine {
    code: Vec<u8>,
    fuel: Cell<u32>,
    depth: Cell<u32>,
    next_panic: Cell<u32>,
    pub(super) event_interval: u32,
    budget: u32,
    model: RefCell<Model>,
    runtimes: Registers<(HomeNo, Rc<Runtime>), RUNTIMES>,
    pub(super) handles: Registers<Joining, REGISTERS>,
    pub(super) aborts: Registers<(TaskNo, AbortHandle), REGISTERS>,
    pub(super) wakers: Registers<(Who, Waker), REGISTERS>,
    pub(super) timers: Registers<Alarm, REGISTERS>,
    pub(super) pairs: Registers<Pair, PAIRS>,
}

/// What a panic that the program asked for carries.
pub(super) struct Planned(pub(super) u32);

/// Who runs an operation, and the waker that it has.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) who: Who,
    pub(super) waker: Option<&'a Waker>,
}

impl Caller<'_> {
    pub(super) const NOBODY: Self = Caller {
        who: Who::Nobody,
        waker: None,
    };
}

impl Machine {
    /// Runs a program from its first byte to the end of all it began.
    pub(super) fn run(code: &[u8]) {
        let (&header, code) = code.split_first().unwrap_or((&0, &[]));
        let machine = Rc::new(Self {
            code: code.to_vec(),
            fuel: Cell::new(FUEL),
            depth: Cell::new(0),
            next_panic: Cell::new(0),
            event_interval: EVENT_INTERVALS[usize::from(header) % EVENT_INTERVALS.len()],
            budget: if header & IS_SCARCE == 0 {
                AMPLE
            } else {
                SCARCE
            },
            model: RefCell::default(),
            runtimes: Default::default(),
            handles: Default::default(),
            aborts: Default::default(),
            wakers: Default::default(),
            timers: Default::default(),
            pairs: Default::default(),
        });
        MACHINE.set(Some(Rc::clone(&machine)));
        machine.switch(0);
        let mut place = 0;
        while let Some(op) = machine.next(&mut place) {
            match op {
                Op::Run { runtime } => machine.enter(runtime.into(), &mut place),
                Op::Switch { runtime } => machine.switch(runtime.into()),
                op => machine.perform(op, place, Caller::NOBODY),
            }
        }
        machine.end();
        drop(machine);
        MACHINE.take();
    }

    /// Leaves the program of this thread as it is, after a failure.
    pub(super) fn forget() {
        std::mem::forget(MACHINE.take());
    }

    /// Lets all come to rest, drops all, and checks that nothing is left.
    fn end(&self) {
        for runtime in 0..RUNTIMES {
            self.enter(runtime, &mut self.code.len());
        }
        self.fuel.set(0);
        self.clear();
        for runtime in 0..RUNTIMES {
            self.enter(runtime, &mut self.code.len());
            self.check_counters(runtime);
            self.close(runtime);
        }
        self.clear();
        self.model(|model| model.check_end());
        Foreign::check_end();
        assert!(Pair::are_all_dropped(), "sockets are left");
    }

    fn clear(&self) {
        (0..REGISTERS).for_each(|register| {
            self.handles[register].take();
            self.aborts[register].take();
            self.wakers[register].take();
            self.timers[register].take();
        });
        self.pairs.iter().for_each(|pair| drop(pair.take()));
    }

    /// Without tasks a runtime holds nothing; but its source for an end stays until the other runtime's task that
    /// keeps the end is dropped.
    fn check_counters(&self, runtime: usize) {
        let Some((home, runtime)) = self.runtime(runtime) else {
            return;
        };
        let tasks = self.model(|model| {
            let tasks = model.tasks.iter();
            tasks
                .filter(|task| task.home == home && !task.is_over)
                .count()
        });
        let text = format!("{runtime:?}");
        assert!(
            text.contains(&format!("tasks: {tasks},")),
            "{tasks}: {text}"
        );
        if tasks == 0 {
            assert!(text.contains("has_due: false,"), "{text}");
            assert!(
                !Pair::are_all_dropped() || text.contains("sources: 0,"),
                "{text}"
            );
            assert!(text.contains("timers: 0,"), "{text}");
        }
    }

    pub(super) fn runtime(&self, number: usize) -> Option<(HomeNo, Rc<Runtime>)> {
        copy(&self.runtimes[number % RUNTIMES])
    }

    /// Calls `call` with the model, which calls nobody.
    pub(super) fn model<R>(&self, call: impl FnOnce(&mut Model) -> R) -> R {
        call(&mut self.model.borrow_mut())
    }

    /// Runs `call` while a runtime is current.
    pub(super) fn within<R>(&self, home: HomeNo, call: impl FnOnce() -> R) -> R {
        struct Restore<'a>(&'a Machine, Option<HomeNo>);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.model(|model| model.current = self.1);
            }
        }
        let before = self.model(|model| model.current.replace(home));
        let _restore = Restore(self, before);
        call()
    }

    pub(super) fn current(&self) -> Option<HomeNo> {
        self.model(|model| model.current)
    }

    /// Whether an operation may have to yield because the budget is small.
    pub(super) fn may_run_short(&self) -> bool {
        self.budget == SCARCE
    }

    /// Takes the next operation at a place, while there is fuel.
    pub(super) fn next(&self, place: &mut Place) -> Option<Op> {
        let fuel = self.fuel.get().checked_sub(1)?;
        self.fuel.set(fuel);
        decode(&self.code, place)
    }

    /// Runs what stands at a place until it returns: a destructor, or a foreign waker.
    pub(super) fn run_script(&self, mut place: Place, on_panic: impl FnOnce(u32)) {
        if self.depth.get() == DEPTH {
            return;
        }
        self.depth.set(self.depth.get() + 1);
        let end = loop {
            match self.next(&mut place) {
                None | Some(Op::Return) => break None,
                Some(Op::Panic) => break Some(self.new_panic()),
                Some(op) => self.perform(op, place, Caller::NOBODY),
            }
        };
        self.depth.set(self.depth.get() - 1);
        if let Some(number) = end {
            on_panic(number);
            resume_unwind(Box::new(Planned(number)));
        }
    }

    /// Whether a destructor or a foreign waker runs.
    pub(super) fn is_nested(&self) -> bool {
        self.depth.get() > 0
    }

    pub(super) fn new_panic(&self) -> u32 {
        self.next_panic.set(self.next_panic.get() + 1);
        self.next_panic.get()
    }

    /// Runs a `block_on`, whose future goes on at `place`.
    fn enter(&self, runtime: usize, place: &mut Place) {
        let Some((home, runtime)) = self.runtime(runtime) else {
            return;
        };
        self.model(|model| model.enter_home(home));
        catch(|| self.within(home, || runtime.block_on(settle::main(self, home, place))));
        self.model(|model| model.leave_home(home));
    }

    /// Drops a runtime, or makes one where there is none.
    fn switch(&self, runtime: usize) {
        if self.close(runtime) {
            return;
        }
        let runtime = &self.runtimes[runtime % RUNTIMES];
        let made = Builder::new()
            .event_interval(self.event_interval)
            .max_events(EVENTS)
            .budget(self.budget)
            .build()
            .expect("a runtime can be made");
        let home = self.model(Model::open_home);
        runtime.replace(Some((home, Rc::new(made))));
    }

    /// Drops a runtime, if it is there and does not run.
    fn close(&self, runtime: usize) -> bool {
        let register = &self.runtimes[runtime % RUNTIMES];
        let Some((home, runtime)) = register.take() else {
            return false;
        };
        if self.model(|model| model.homes[home].is_entered()) {
            register.replace(Some((home, runtime)));
            return true;
        }
        self.model(|model| model.close_home(home));
        let runtime = Rc::into_inner(runtime).expect("it does not run");
        self.within(home, || drop(runtime));
        self.model(|model| model.end_home(home));
        self.end_timers(home);
        true
    }

    /// Does what anybody may do; the rest is left to those who may.
    pub(super) fn perform(&self, op: Op, place: Place, caller: Caller<'_>) {
        match op {
            Op::Spawn {
                handle,
                place: ahead,
                runtime,
            } => {
                self.spawn(handle.into(), place + usize::from(ahead), runtime.into());
            }
            Op::Abort { .. }
            | Op::KeepAbort { .. }
            | Op::AbortVia { .. }
            | Op::DropAbort { .. }
            | Op::DropHandle { .. } => self.perform_on_task(op),
            Op::PollHandle {
                handle,
                place: ahead,
            } => {
                let (who, waker) = self.waker(caller, handle, place + usize::from(ahead));
                self.poll_handle(handle.into(), who, &waker);
            }
            Op::NewTimer { .. }
            | Op::PollTimer { .. }
            | Op::ResetTimer { .. }
            | Op::DropTimer { .. } => self.perform_on_timer(op, place, caller),
            Op::NewPair { .. }
            | Op::TryWrite { .. }
            | Op::TryRead { .. }
            | Op::Shutdown { .. }
            | Op::DropEnd { .. } => self.perform_on_pair(op),
            Op::Switch { runtime } => drop(self.close(runtime.into())),
            op => self.perform_on_waker(op, place, caller),
        }
    }
}

/// The register that a byte names.
pub(super) fn index(register: u8) -> usize {
    usize::from(register) % REGISTERS
}

/// What is in a register.
pub(super) fn copy<T: Clone>(register: &RefCell<Option<T>>) -> Option<T> {
    register.borrow().clone()
}

/// Runs foreign code; a panic that the program asked for ends here.
pub(super) fn catch<R>(call: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Some(value),
        Err(payload) if payload.is::<Planned>() => None,
        Err(payload) => resume_unwind(payload),
    }
}

/// Polls with a waker that may panic, which it does when it is told at once that the budget is used up.
pub(super) fn poll<F: Future + Unpin>(future: &mut F, cx: &mut Context<'_>) -> Poll<F::Output> {
    catch(|| Pin::new(future).poll(cx)).unwrap_or(Poll::Pending)
}
