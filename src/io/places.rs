//! Where a descriptor is registered: with which reactors, under which keys.
//!
//! Called by `registered`; calls `reactor`, the current one and, through `reactor::home`, those of other
//! threads.
//!
//! Each direction belongs to one reactor, its owner, named by a word that the owner's thread reads with a
//! plain load. A reactor that waits for a direction which it does not own takes it over, so a socket that
//! is sent to another thread moves there, and its halves may live on two threads. Where several reactors
//! wait for one direction at the same time (they accept on one listener), they would take it from each
//! other without end; so after [`MAX_TAKEOVERS`] of them the next reactor becomes a guest, which has an
//! entry of its own beside the owner's: epoll reports an edge to every set.
//!
//! # Invariants
//!
//! 1. Each word and each guest is one claim on an entry. Claims are made on the entry's thread and released
//!    once: at once on that thread, by letter from elsewhere. The entry is freed with the last one, by its
//!    own reactor.
//! 2. Words change, guests come, and the descriptor joins or leaves epoll sets, only under the lock; so no
//!    deletion hits a registration that came after it.
//! 3. Words are read without the lock: what a reactor finds in its own name it may use until it reads the
//!    letter that says otherwise. That letter makes it forget what its epoll set watched of the descriptor
//!    and wakes whoever waits, so what still belongs to it is registered anew.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::reactor::Reactor;
use crate::reactor::home::{Home, Letter};
use crate::reactor::source::{Direction, Directions, Source, Trigger};

/// How often shared waits may take a direction from a living reactor before they become guests.
const MAX_TAKEOVERS: u32 = 8;

/// Stands for "registered nowhere". Reactors are numbered from 1, so no reactor finds itself in it.
const NOWHERE: u64 = 0;
/// Stands for the same, after a short read: the next one need not try before it registers.
const DRAINED: u64 = 1;

/// The reactors and keys of one descriptor.
#[derive(Default)]
pub(super) struct Places {
    /// The owners' numbers and keys, for reading and for writing.
    words: [AtomicU64; 2],
    trigger: Trigger,
    /// There are guests.
    is_shared: AtomicBool,
    sharing: Mutex<Shared>,
}

/// Most descriptors never need more than the lock.
#[derive(Default)]
struct Shared(Option<Box<Sharing>>);

/// What is needed once several reactors have waited for one descriptor.
#[derive(Default)]
struct Sharing {
    /// How often a shared wait took a direction from a living reactor.
    takeovers: u32,
    /// The numbers and keys of reactors that watch without owning.
    guests: Vec<u64>,
}

/// Where a direction is registered, as one reactor sees it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Here(u32),
    /// With none, and the last read found less than it had room for.
    Drained,
    /// With another reactor, or with none.
    Elsewhere,
}

impl Places {
    pub(super) fn new(trigger: Trigger) -> Self {
        Self {
            trigger,
            ..Self::default()
        }
    }

    /// Where `direction` is registered, as `reactor` sees it.
    #[inline]
    pub(super) fn find(&self, reactor: &Reactor, direction: Direction) -> Place {
        let word = self.word(direction).load(Ordering::Acquire);
        if reactor_of(word) == reactor.number() {
            return Place::Here(key_of(word));
        }
        if word == DRAINED {
            return Place::Drained;
        }
        if self.is_shared.load(Ordering::Acquire) {
            return self.find_guest(reactor);
        }
        Place::Elsewhere
    }

    /// Takes note of a short transfer where nothing is registered. (After a short write it is not worth
    /// much: the kernel sends on meanwhile.)
    pub(super) fn on_short(&self, direction: Direction) {
        if direction == Direction::Read {
            let word = self.word(direction);
            let _ = word.compare_exchange(NOWHERE, DRAINED, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    #[cold]
    fn find_guest(&self, reactor: &Reactor) -> Place {
        match self.lock().guest(reactor) {
            Some(key) => Place::Here(key),
            None => Place::Elsewhere,
        }
    }

    /// Sees to it that `reactor` watches the direction; returns its key.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`, and that the runtime is being dropped; then nothing has changed.
    pub(super) fn settle(
        &self,
        reactor: &Reactor,
        fd: BorrowedFd<'_>,
        direction: Direction,
        is_shared: bool,
    ) -> io::Result<u32> {
        let place = self.find(reactor, direction);
        if let Place::Here(key) = place
            && reactor.with_source(key, |source| source.reports(direction)) == Some(true)
        {
            return Ok(key);
        }
        let mut sharing = self.lock();
        let word = self.word(direction).load(Ordering::Acquire);
        if word == DRAINED {
            // If registering fails, the operation is to be tried.
            self.word(direction).store(NOWHERE, Ordering::Relaxed);
        }
        if let Place::Here(key) = place
            && (word == word_of(reactor, key) || sharing.guest(reactor) == Some(key))
        {
            reactor.watch(key, fd, direction.into(), self.trigger)?;
            return Ok(key);
        }
        let Some(home) = home_of(word) else {
            return self.own(reactor, fd, direction);
        };
        if is_shared && sharing.takeovers() == MAX_TAKEOVERS {
            return self.visit(reactor, fd, direction, sharing.get_or_insert_default());
        }
        let key = self.own(reactor, fd, direction)?;
        if is_shared {
            sharing.get_or_insert_default().takeovers += 1;
        }
        home.unwatch(fd);
        drop(sharing);
        home.leave(Letter::Release(key_of(word)));
        Ok(key)
    }

    /// Makes `reactor` the direction's owner; the caller holds the lock.
    fn own(&self, reactor: &Reactor, fd: BorrowedFd<'_>, direction: Direction) -> io::Result<u32> {
        let word = self.word(direction);
        // Who waits for writing first makes a connection, or has a peer that reads slowly: reading
        // comes next.
        let directions = match (word.load(Ordering::Acquire), direction) {
            (NOWHERE, Direction::Write) => Directions::BOTH,
            _ => direction.into(),
        };
        let key = self.claim(reactor, direction)?;
        if let Err(error) = reactor.watch(key, fd, directions, self.trigger) {
            reactor.release(key);
            return Err(error);
        }
        word.store(word_of(reactor, key), Ordering::Release);
        Ok(key)
    }

    /// Gives `reactor` an entry beside the owner's; the caller holds the lock.
    fn visit(
        &self,
        reactor: &Reactor,
        fd: BorrowedFd<'_>,
        direction: Direction,
        sharing: &mut Sharing,
    ) -> io::Result<u32> {
        let key = self.claim(reactor, direction)?;
        if let Err(error) = reactor.watch(key, fd, direction.into(), self.trigger) {
            reactor.release(key);
            return Err(error);
        }
        sharing.guests.retain(|&guest| home_of(guest).is_some());
        sharing.guests.push(word_of(reactor, key));
        self.is_shared.store(true, Ordering::Release);
        Ok(key)
    }

    /// Claims the entry that `reactor` has for the other direction, or else a new one.
    fn claim(&self, reactor: &Reactor, direction: Direction) -> io::Result<u32> {
        let other = self.word(direction.other()).load(Ordering::Acquire);
        if reactor_of(other) == reactor.number() {
            let key = key_of(other);
            if reactor.with_source(key, Source::claim).is_some() {
                return Ok(key);
            }
        }
        reactor.insert_source()
    }

    /// Gives all entries back. A descriptor that lives on leaves the epoll sets by `unwatch`.
    pub(super) fn leave(&mut self, current: Option<&Reactor>, unwatch: Option<BorrowedFd<'_>>) {
        let owned = self
            .words
            .each_mut()
            .map(|word| std::mem::take(word.get_mut()));
        let sharing = self
            .sharing
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let guests = sharing.0.take().map(|sharing| sharing.guests);
        for word in owned.into_iter().chain(guests.into_iter().flatten()) {
            release(current, word, unwatch);
        }
    }

    fn word(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Read => &self.words[0],
            Direction::Write => &self.words[1],
        }
    }

    /// Locks; no code of others runs under the lock, so a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.sharing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn get_or_insert_default(&mut self) -> &mut Sharing {
        self.0.get_or_insert_default()
    }

    fn takeovers(&self) -> u32 {
        self.0.as_ref().map_or(0, |sharing| sharing.takeovers)
    }

    fn guests(&self) -> &[u64] {
        self.0.as_ref().map_or(&[], |sharing| &sharing.guests)
    }

    /// The key of `reactor`'s entry, if it is a guest.
    fn guest(&self, reactor: &Reactor) -> Option<u32> {
        let mut guests = self.guests().iter();
        let word = guests.find(|&&word| reactor_of(word) == reactor.number())?;
        Some(key_of(*word))
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Places").field(&self.words).finish()
    }
}

/// The home of the reactor that a word names, if that is alive.
fn home_of(word: u64) -> Option<Arc<Home>> {
    is_registered(word).then(|| Home::find(reactor_of(word)))?
}

/// Gives one entry back.
fn release(current: Option<&Reactor>, word: u64, unwatch: Option<BorrowedFd<'_>>) {
    if !is_registered(word) {
        return;
    }
    if let Some(reactor) = current
        && reactor.number() == reactor_of(word)
    {
        if let Some(fd) = unwatch {
            reactor.unwatch(fd);
        }
        reactor.release(key_of(word));
    } else if let Some(home) = Home::find(reactor_of(word)) {
        if let Some(fd) = unwatch {
            home.unwatch(fd);
        }
        home.leave(Letter::Release(key_of(word)));
    }
}

fn is_registered(word: u64) -> bool {
    word != NOWHERE && word != DRAINED
}

/// A reactor's number and one of its keys.
pub(super) fn word_of(reactor: &Reactor, key: u32) -> u64 {
    u64::from(reactor.number()) << 32 | u64::from(key)
}

#[inline]
pub(super) fn reactor_of(word: u64) -> u32 {
    u32::try_from(word >> 32).expect("32 bits are left")
}

#[inline]
pub(super) fn key_of(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).expect("32 bits are left")
}
