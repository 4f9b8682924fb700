//! A wake publishes what its thread wrote before, to the poll that it causes.
//!
//! Nothing else does here, so that ThreadSanitizer sees a race if a wake does not. One test: a runtime that had the
//! same number before could be the cause of a spurious poll.

#![expect(unsafe_code, reason = "what is written must be no atomic")]

mod common;

use std::cell::{Cell, UnsafeCell};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;

use common::{LIMIT, within};

/// A number that threads use in turns.
struct Number(UnsafeCell<u64>);

// SAFETY: accesses must not overlap: the thread writes before it wakes, the task reads when it was woken, and asks for
// the next wake after that.
unsafe impl Sync for Number {}

impl Number {
    fn write(&self, number: u64) {
        // SAFETY: nobody else uses it now: see above.
        unsafe { self.0.get().write(number) }
    }

    fn read(&self) -> u64 {
        // SAFETY: nobody else uses it now: see above.
        unsafe { self.0.get().read() }
    }
}

#[test]
fn a_poll_sees_what_was_written_before_the_wake_that_caused_it() {
    const ROUNDS: u64 = 1000;
    within(LIMIT, || {
        let number = Arc::new(Number(UnsafeCell::new(0)));
        let (ask, asked) = mpsc::channel::<Waker>();
        let theirs = Arc::clone(&number);
        let writing = thread::spawn(move || {
            for (round, waker) in (1..).zip(asked) {
                theirs.write(round);
                waker.wake();
            }
        });
        let polls = Cell::new(0);
        runtime::block_on(poll_fn(|cx| {
            assert_eq!(number.read(), polls.get());
            if polls.replace(polls.get() + 1) == ROUNDS {
                return Poll::Ready(());
            }
            ask.send(cx.waker().clone()).unwrap();
            Poll::Pending
        }));
        drop(ask);
        writing.join().unwrap();
    });
}
