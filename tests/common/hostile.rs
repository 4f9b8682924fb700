//! Wakers that do what the test says when they are cloned, woken and dropped.

#![expect(
    unsafe_code,
    reason = "only a waker made by hand can be told what its clone does"
)]

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// How a waker is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Clone,
    Wake,
    Drop,
}

/// Something that is told each use of its waker, which must stay on its thread.
///
/// `Rc::strong_count` less the test's own counts tells how many clones of the waker live.
pub struct Hostile {
    act: Box<dyn Fn(Use)>,
    wakes: Cell<usize>,
}

impl Hostile {
    pub fn new(act: impl Fn(Use) + 'static) -> Rc<Self> {
        Rc::new(Self {
            act: Box::new(act),
            wakes: Cell::new(0),
        })
    }

    pub fn wakes(&self) -> usize {
        self.wakes.get()
    }

    /// A waker that owns no count.
    pub fn waker(self: &Rc<Self>) -> ManuallyDrop<Waker> {
        let raw = RawWaker::new(Rc::as_ptr(self).cast(), &VTABLE);
        // SAFETY: the functions keep the contract on one thread, where the tests stay; this first waker
        // owns no count, so it is not dropped, and the tests keep `self` as long as they use it.
        ManuallyDrop::new(unsafe { Waker::from_raw(raw) })
    }

    fn wake(&self) {
        self.wakes.set(self.wakes.get() + 1);
        (self.act)(Use::Wake);
    }
}

fn owned(data: *const ()) -> Rc<Hostile> {
    // SAFETY: a waker other than the first owns the count that its clone made.
    unsafe { Rc::from_raw(data.cast::<Hostile>()) }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        let this = ManuallyDrop::new(owned(data));
        (this.act)(Use::Clone);
        RawWaker::new(Rc::into_raw(Rc::clone(&this)).cast(), &VTABLE)
    },
    |data| {
        let this = owned(data);
        this.wake();
        (this.act)(Use::Drop);
    },
    |data| ManuallyDrop::new(owned(data)).wake(),
    |data| (owned(data).act)(Use::Drop),
);
