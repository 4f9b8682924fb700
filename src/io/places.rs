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
//! 1. An entry is freed by its own reactor only, once every claim on it is released: at once on its
//!    thread, by letter from elsewhere.
//! 2. A word that names a live reactor changes, guests come, and a descriptor leaves or joins an epoll set
//!    in consequence, only under the lock; so no deletion hits a registration that came after it.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::reactor::Reactor;
use crate::reactor::home::{Home, Letter};
use crate::reactor::source::{Claims, Direction, Directions};

/// How often shared waits may take a direction from a living reactor before they become guests.
const MAX_TAKEOVERS: u32 = 8;

/// Stands for "registered nowhere".
const NOWHERE: u64 = 0;

/// The reactors and keys of one descriptor.
#[derive(Default)]
pub(super) struct Places {
    /// The owners' numbers and keys, for reading and for writing.
    words: [AtomicU64; 2],
    /// There are guests.
    is_shared: AtomicBool,
    sharing: Mutex<Option<Box<Sharing>>>,
}

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
    Nowhere,
    Here(u32),
    Elsewhere,
}

impl Places {
    /// Where `direction` is registered, as `reactor` sees it.
    #[inline]
    pub(super) fn find(&self, reactor: &Reactor, direction: Direction) -> Place {
        let word = self.word(direction).load(Ordering::Acquire);
        if word != NOWHERE && reactor_of(word) == reactor.number() {
            return Place::Here(key_of(word));
        }
        if self.is_shared.load(Ordering::Acquire)
            && let Some(key) = self
                .lock()
                .as_ref()
                .and_then(|sharing| sharing.key(reactor))
        {
            return Place::Here(key);
        }
        if word == NOWHERE {
            Place::Nowhere
        } else {
            Place::Elsewhere
        }
    }

    /// Sees to it that `reactor` watches the direction; returns its key, or `None` if another thread
    /// was quicker to register it.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`, and that the runtime is being dropped; nothing is registered then.
    pub(super) fn settle(
        &self,
        reactor: &Reactor,
        fd: BorrowedFd<'_>,
        direction: Direction,
        is_shared: bool,
    ) -> io::Result<Option<u32>> {
        match self.find(reactor, direction) {
            Place::Here(key) => {
                reactor.watch(key, fd, direction.into())?;
                Ok(Some(key))
            }
            Place::Nowhere => self.own(reactor, fd, direction, NOWHERE),
            Place::Elsewhere => self.join(reactor, fd, direction, is_shared),
        }
    }

    /// Takes the direction over from its owner, or becomes a guest beside it.
    fn join(
        &self,
        reactor: &Reactor,
        fd: BorrowedFd<'_>,
        direction: Direction,
        is_shared: bool,
    ) -> io::Result<Option<u32>> {
        let mut sharing = self.lock();
        let word = self.word(direction).load(Ordering::Acquire);
        let home = Home::find(reactor_of(word));
        let Some(home) = home.filter(|_| word != NOWHERE) else {
            return self.own(reactor, fd, direction, word);
        };
        let sharing = sharing.get_or_insert_default();
        if is_shared && sharing.takeovers == MAX_TAKEOVERS {
            return self.visit(reactor, fd, direction, sharing);
        }
        sharing.takeovers += u32::from(is_shared);
        let is_last = self.word(direction.other()).load(Ordering::Acquire) != word
            && !sharing.guests.contains(&word);
        if is_last {
            home.unwatch(fd);
        }
        let key = self.own(reactor, fd, direction, word);
        home.leave(Letter::Release(key_of(word), direction.into()));
        key
    }

    /// Makes `reactor` the direction's owner, in place of what `before` says.
    fn own(
        &self,
        reactor: &Reactor,
        fd: BorrowedFd<'_>,
        direction: Direction,
        before: u64,
    ) -> io::Result<Option<u32>> {
        let key = self.claim(reactor, direction, direction.into())?;
        let word = word_of(reactor, key);
        if !self.replace(direction, before, word) {
            reactor.release(key, direction.into());
            return Ok(None);
        }
        // Who waits for writing first makes a connection, or has a peer that reads slowly: reading
        // comes next.
        let directions = match (before, direction) {
            (NOWHERE, Direction::Write) => Directions::BOTH,
            _ => direction.into(),
        };
        if let Err(error) = reactor.watch(key, fd, directions) {
            self.replace(direction, word, NOWHERE);
            reactor.release(key, direction.into());
            return Err(error);
        }
        Ok(Some(key))
    }

    /// Gives `reactor` an entry beside the owner's.
    fn visit(
        &self,
        reactor: &Reactor,
        fd: BorrowedFd<'_>,
        direction: Direction,
        sharing: &mut Sharing,
    ) -> io::Result<Option<u32>> {
        let key = self.claim(reactor, direction, Claims::GUEST)?;
        if let Err(error) = reactor.watch(key, fd, direction.into()) {
            reactor.release(key, Claims::GUEST);
            return Err(error);
        }
        let is_alive = |guest: &u64| Home::find(reactor_of(*guest)).is_some();
        sharing.guests.retain(is_alive);
        sharing.guests.push(word_of(reactor, key));
        self.is_shared.store(true, Ordering::Release);
        Ok(Some(key))
    }

    /// Claims the entry that `reactor` has for the other direction, or else a new one.
    fn claim(&self, reactor: &Reactor, direction: Direction, claim: Claims) -> io::Result<u32> {
        let other = self.word(direction.other()).load(Ordering::Acquire);
        if other != NOWHERE && reactor_of(other) == reactor.number() {
            let key = key_of(other);
            if reactor
                .with_source(key, |source| source.claim(claim))
                .is_some()
            {
                return Ok(key);
            }
        }
        reactor.insert_source(claim)
    }

    /// Gives all entries back. A descriptor that lives on leaves the epoll sets by `unwatch`.
    pub(super) fn leave(&mut self, current: Option<&Reactor>, unwatch: Option<BorrowedFd<'_>>) {
        let [read, write] = self
            .words
            .each_mut()
            .map(|word| std::mem::take(word.get_mut()));
        let sharing = self
            .sharing
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let guests = sharing.take().map(|sharing| sharing.guests);
        let claims = [(read, Claims::READ), (write, Claims::WRITE)];
        if read == write {
            release(current, read, Claims::READ.union(Claims::WRITE), unwatch);
        } else {
            for (word, claim) in claims {
                release(current, word, claim, unwatch);
            }
        }
        for word in guests.unwrap_or_default() {
            release(current, word, Claims::GUEST, unwatch);
        }
    }

    fn word(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Read => &self.words[0],
            Direction::Write => &self.words[1],
        }
    }

    fn replace(&self, direction: Direction, before: u64, after: u64) -> bool {
        self.word(direction)
            .compare_exchange(before, after, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Locks; no code of others runs under the lock, so a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, Option<Box<Sharing>>> {
        self.sharing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sharing {
    fn key(&self, reactor: &Reactor) -> Option<u32> {
        let mut guests = self.guests.iter();
        let word = guests.find(|&&word| reactor_of(word) == reactor.number())?;
        Some(key_of(*word))
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Places").field(&self.words).finish()
    }
}

/// Gives one entry back.
fn release(current: Option<&Reactor>, word: u64, claims: Claims, unwatch: Option<BorrowedFd<'_>>) {
    if word == NOWHERE {
        return;
    }
    if let Some(reactor) = current
        && reactor.number() == reactor_of(word)
    {
        if let Some(fd) = unwatch {
            reactor.unwatch(fd);
        }
        reactor.release(key_of(word), claims);
    } else if let Some(home) = Home::find(reactor_of(word)) {
        if let Some(fd) = unwatch {
            home.unwatch(fd);
        }
        home.leave(Letter::Release(key_of(word), claims));
    }
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
