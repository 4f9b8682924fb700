//! Wakers in registers, and those that are not the runtime's: they run code when they are woken.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Wake, Waker};

use super::machine::{Caller, Machine, catch, copy, index, machine};
use super::model::Who;
use super::op::{Op, Place};

/// The bit of a register's number that asks for a foreign waker.
const FOREIGN: u8 = 0x80;
/// The bit that asks for one that runs nothing.
const PLAIN: u8 = 0x40;

const MOST_FOREIGN: usize = 48;

thread_local! {
    /// How many are alive.
    static ALIVE: Cell<usize> = const { Cell::new(0) };
}

/// A foreign waker.
#[derive(Debug)]
pub(super) struct Foreign {
    number: usize,
    /// What it runs when it is woken.
    script: Option<Place>,
}

impl Foreign {
    pub(super) fn waker(number: usize, script: Option<Place>) -> Waker {
        ALIVE.set(ALIVE.get() + 1);
        Arc::new(Self { number, script }).into()
    }

    /// Everything was dropped.
    pub(super) fn check_end() {
        assert_eq!(ALIVE.get(), 0, "clones of wakers were not dropped");
    }
}

impl Wake for Foreign {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let machine = machine();
        machine.check_order(self.number);
        machine.model(|model| model.on_foreign_wake(self.number));
        if let Some(place) = self.script {
            let _delivery = Delivery::begin();
            machine.run_script(place, |_| ());
        }
    }
}

/// While it is there, the runtime may be delivering events.
struct Delivery;

impl Delivery {
    fn begin() -> Self {
        machine().model(|model| model.deliveries += 1);
        Self
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        machine().model(|model| model.deliveries -= 1);
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get() - 1);
    }
}

impl Machine {
    /// The caller's own waker, or, where there is none or another is asked for, a new foreign one that runs what
    /// stands at `place`.
    pub(super) fn waker(&self, caller: Caller<'_>, kind: u8, place: Place) -> (Who, Waker) {
        if let Some(waker) = caller.waker.filter(|_| kind & FOREIGN == 0) {
            return (caller.who, waker.clone());
        }
        let number = self.model(|model| {
            model.foreign.push(0);
            model.foreign.len() - 1
        });
        let is_plain = number >= MOST_FOREIGN || kind & PLAIN != 0;
        let script = (!is_plain).then_some(place);
        (Who::Foreign(number), Foreign::waker(number, script))
    }

    pub(super) fn perform_on_waker(&self, op: Op, place: Place, caller: Caller<'_>) {
        match op {
            Op::KeepWaker {
                waker,
                place: ahead,
            } => {
                let made = self.waker(caller, waker, place + usize::from(ahead));
                self.put_waker(waker, made);
            }
            Op::CopyWaker { from, to } => {
                if let Some(copy) = copy(&self.wakers[index(from)]) {
                    self.put_waker(to, copy);
                }
            }
            Op::Wake { waker } => {
                if let Some((who, waker)) = self.wakers[index(waker)].take() {
                    self.model(|model| model.on_wake(who));
                    catch(|| waker.wake());
                }
            }
            Op::WakeByRef { waker } => {
                if let Some((who, waker)) = copy(&self.wakers[index(waker)]) {
                    self.model(|model| model.on_wake(who));
                    catch(|| waker.wake_by_ref());
                }
            }
            Op::DropWaker { waker } => drop(self.wakers[index(waker)].take()),
            _ => {}
        }
    }

    fn put_waker(&self, register: u8, waker: (Who, Waker)) {
        drop(self.wakers[index(register)].replace(Some(waker)));
    }
}
