//! What other threads may do to a reactor: find it by its number and leave letters for it.
//!
//! A socket or timer that lives on after it has left its reactor's thread is written off by letter.
//! Called by `reactor` and, through it, by `io` and `time` on any thread; calls `sys::epoll`.
//!
//! # Invariants
//!
//! 1. Letters are read in the order in which they were left, and hold numbers only.
//! 2. No waker but the bell is touched here, and that one, which is ours, under no lock.

use std::io;
use std::os::fd::BorrowedFd;
use std::task::Waker;

use super::source::{Direction, Ticket};
use super::timers;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, Mutex, Serial, is_mutant, shared};
use crate::sys::epoll::Epoll;

shared! {
    static HOMES: Mutex<Vec<Arc<Home>>> = Mutex::new(Vec::new());
}

/// Something that another thread asks of a reactor.
#[derive(Debug)]
pub(crate) enum Letter {
    /// One less needs a source, and the descriptor was taken out of the epoll set: free the entry if
    /// nobody needs it, and wake who waits, to try again.
    Release(u32),
    /// A wait has ended.
    CancelWait(u32, Direction, Ticket),
    /// The timer is gone, or has moved: free its entry.
    ReleaseTimer(timers::Key),
    /// The timer has another deadline: free its entry and wake who waits, to poll it again.
    WakeTimer(timers::Key),
}

/// The part of a reactor that all threads see.
#[derive(Debug)]
pub(crate) struct Home {
    /// Never used again by another reactor of this process.
    number: u32,
    pub(super) epoll: Epoll,
    has_letters: AtomicBool,
    /// `None` once the reactor is gone.
    letters: Mutex<Option<Vec<Letter>>>,
    /// Makes the reactor's thread take a turn.
    bell: Waker,
}

impl Home {
    /// Opens the home of a new reactor.
    ///
    /// # Errors
    ///
    /// When no numbers are left.
    pub(super) fn open(epoll: Epoll, bell: Waker) -> io::Result<Arc<Self>> {
        static NUMBERS: Serial = Serial::new();
        let home = Arc::new(Self {
            number: NUMBERS.next()?,
            epoll,
            has_letters: AtomicBool::new(false),
            letters: Mutex::new(Some(Vec::new())),
            bell,
        });
        HOMES.lock().push(Arc::clone(&home));
        Ok(home)
    }

    /// The home of that number, unless its reactor is gone.
    pub(crate) fn find(number: u32) -> Option<Arc<Self>> {
        let homes = HOMES.lock();
        homes.iter().find(|home| home.number == number).cloned()
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Leaves a letter, and sees to it that it is read soon; false if nobody will read it.
    pub(crate) fn leave(&self, letter: Letter) -> bool {
        let is_early = is_mutant("the bell rings before the letter is there");
        if is_early {
            self.announce();
        }
        match &mut *self.letters.lock() {
            Some(letters) => letters.push(letter),
            None => return false,
        }
        if !is_early {
            self.announce();
        }
        true
    }

    /// Says that there are letters.
    fn announce(&self) {
        if !self.has_letters.swap(true, Ordering::AcqRel) {
            self.bell.wake_by_ref();
        }
    }

    /// Stops watching a descriptor that goes on living elsewhere.
    pub(crate) fn unwatch(&self, fd: BorrowedFd<'_>) {
        // It may not be watched at all: then there is nothing to stop.
        let _ = self.epoll.delete(fd);
    }

    /// Whether letters were left since they were last read.
    #[inline]
    pub(super) fn has_letters(&self) -> bool {
        self.has_letters.load(Ordering::Relaxed)
    }

    /// Takes the letters out.
    pub(super) fn read(&self) -> Vec<Letter> {
        if is_mutant("letters count as read after they were taken") {
            let read = self.letters.lock().as_mut().map(std::mem::take);
            self.has_letters.swap(false, Ordering::AcqRel);
            return read.unwrap_or_default();
        }
        self.has_letters.swap(false, Ordering::AcqRel);
        let mut letters = self.letters.lock();
        letters.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes no more letters, and forgets those that were not read.
    pub(super) fn close(&self) {
        HOMES.lock().retain(|home| home.number != self.number);
        *self.letters.lock() = None;
    }
}
