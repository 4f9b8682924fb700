//! A descriptor and where it is registered: with which reactors, under which keys.
//!
//! Called by `registered`; calls `reactor`, the current one and, through `reactor::home`, those of other
//! threads.
//!
//! Each direction belongs to one reactor, its owner, named by a word that the owner's thread reads with a
//! plain load. A reactor that waits for a direction which it does not own takes it over, so a socket that
//! is sent to another thread moves there, and its halves may live on two threads. Where several reactors
//! wait for one direction at the same time (they accept on one listener), they would take it from each
//! other without end; so after [`MAX_TAKEOVERS`] of them the next reactor becomes a guest, which has an
//! entry of its own beside the owner's: epoll reports an edge to every set. Exclusive waits mostly come from a
//! socket that was sent on, so their takeovers are counted apart, and only since the last transfer; but
//! several threads may share a stream under a lock.
//!
//! # Invariants
//!
//! 1. Each word and each guest is one claim on an entry. Claims are made on the entry's thread and released
//!    once: at once on that thread, by letter from elsewhere. The entry is freed with the last one, by its
//!    own reactor.
//! 2. Words change, guests come, and the descriptor joins or leaves epoll sets, only under its lock; so no
//!    deletion hits a registration that came after it. (Locks are shared by descriptors, and kept apart from
//!    them: most are locked once in their life.)
//! 3. A reactor has one entry for a descriptor, which all its claims are on: its epoll set knows one token.
//! 4. Epoll may watch a direction that nobody owns yet: one whose other direction waited first. Its events
//!    are kept in that entry, so who comes to own it looks there before it waits.
//! 5. Words are read without the lock: what a reactor finds in its own name it may use until it reads the
//!    letter that says otherwise. That letter makes it forget what its epoll set watched of the descriptor
//!    and wakes whoever waits, so what still belongs to it is registered anew.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::reactor::Reactor;
use crate::reactor::source::{Direction, Directions, Source, Trigger};
use crate::remote::{self, Message, RuntimeId};
use crate::runtime::context;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, array, is_mutant, shared};

/// How often a direction may be taken from a living reactor before the next one becomes a guest. (One is enough
/// for those who look for errors.)
const MAX_TAKEOVERS: u8 = if cfg!(any(runtime_loom, fuzzing)) {
    1
} else {
    8
};

/// Stands for "registered nowhere". Reactors are numbered from 1, so no reactor finds itself in it.
const NOWHERE: u64 = 0;
/// Stands for the same, after a short read: the next one need not try before it registers.
const DRAINED: u64 = 1;

shared! {
    /// The locks, and under them what a few descriptors need, by their numbers.
    static SHARED: [Mutex<BTreeMap<RawFd, Sharing>>; LOCKS] = array![Mutex::new(BTreeMap::new()); LOCKS];
}
/// How many descriptors may be locked at once. (Models are small.)
const LOCKS: usize = if cfg!(runtime_loom) { 2 } else { 64 };

/// A descriptor, and its reactors and keys.
pub(super) struct Places {
    /// The owners' numbers and keys, for reading and for writing.
    words: [AtomicU64; 2],
    /// `None` only while [`Places::into_fd`] takes it out.
    fd: Option<OwnedFd>,
    trigger: Trigger,
    /// There is an entry in [`SHARED`].
    is_shared: AtomicBool,
    /// Someone else may have a duplicate.
    may_live_on: AtomicBool,
    /// How often exclusive waits took a direction from a living reactor since the last transfer.
    moves: AtomicU8,
}

/// Futures hold sockets, often several times over.
const _: () = assert!(size_of::<Places>() == 24 || cfg!(runtime_loom));

/// What is needed once several reactors have waited for one descriptor.
#[derive(Default)]
struct Sharing {
    /// How often shared waits took a direction from a living reactor.
    takeovers: u8,
    /// The numbers and keys of reactors that watch without owning.
    guests: Vec<u64>,
}

/// Where a direction is registered, as one reactor sees it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Here(u32),
    /// Not with this one as the owner, and the last read found less than it had room for.
    Drained,
    /// With another reactor, or with none.
    Elsewhere,
}

impl Places {
    /// Takes a descriptor that is registered nowhere.
    pub(super) fn new(fd: OwnedFd, trigger: Trigger) -> Self {
        Self {
            words: Default::default(),
            fd: Some(fd),
            trigger,
            is_shared: AtomicBool::new(false),
            may_live_on: AtomicBool::new(false),
            moves: AtomicU8::new(0),
        }
    }

    /// The descriptor, for calls that leave no duplicate.
    #[inline]
    pub(super) fn fd(&self) -> &OwnedFd {
        self.fd.as_ref().expect("only `into_fd` empties it")
    }

    /// Takes note that someone may have a duplicate, so that closing it is not enough.
    pub(super) fn note_duplicate(&self) {
        self.may_live_on.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_trigger(&mut self, trigger: Trigger) {
        self.trigger = trigger;
    }

    /// Takes the descriptor out; no runtime watches it any more.
    pub(super) fn into_fd(mut self) -> OwnedFd {
        self.note_duplicate();
        self.leave();
        self.fd.take().expect("only this empties it")
    }

    /// Where `direction` is registered, as `reactor` sees it.
    #[inline]
    pub(super) fn find(&self, reactor: &Reactor, direction: Direction) -> Place {
        let word = self.word(direction).load(Ordering::Acquire);
        if runtime_of(word) == Some(reactor.id()) {
            return Place::Here(key_of(word));
        }
        if word == DRAINED {
            return Place::Drained;
        }
        if self.is_shared.load(Ordering::Acquire) {
            return find_guest(reactor, self.fd());
        }
        Place::Elsewhere
    }

    /// Takes note of a transfer: the socket is used where it is. (To look first would cost more than the store.)
    #[inline]
    pub(super) fn on_transfer(&self) {
        self.moves.store(0, Ordering::Relaxed);
    }

    /// Takes note of a short transfer where nothing is registered. (After a short write it is not worth
    /// much: the kernel sends on meanwhile.)
    pub(super) fn on_short(&self, direction: Direction) {
        if direction == Direction::Read {
            let word = self.word(direction);
            let _ = word.compare_exchange(NOWHERE, DRAINED, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Sees to it that `reactor` watches the direction; returns its key.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`, and that the runtime is being dropped; then who watches has not changed.
    pub(super) fn settle(
        &self,
        reactor: &Reactor,
        direction: Direction,
        is_shared: bool,
    ) -> io::Result<u32> {
        let fd = self.fd();
        if let Place::Here(key) = self.find(reactor, direction)
            && reactor.with_source(key, |source| source.reports(direction)) == Some(true)
        {
            return Ok(key);
        }
        let seen = is_mutant("an owner is looked up before the lock is taken")
            .then(|| self.word(direction).load(Ordering::Acquire));
        let mut shared = lock(fd);
        if !self.is_shared.load(Ordering::Relaxed) {
            // An earlier owner of the number may have been forgotten, and never dropped.
            shared.remove(&fd.as_raw_fd());
        }
        let sharing = shared.get(&fd.as_raw_fd());
        let word = seen.unwrap_or_else(|| self.word(direction).load(Ordering::Acquire));
        if word == DRAINED {
            // If registering fails, the operation is to be tried.
            self.word(direction).store(NOWHERE, Ordering::Relaxed);
        }
        if let Some(key) = entry_of(reactor, word, sharing) {
            reactor.watch(key, self.fd().as_fd(), direction.into(), self.trigger)?;
            return Ok(key);
        }
        let Some(runtime) = alive(word) else {
            return self.own(reactor, direction);
        };
        let takeovers = match is_shared {
            true => sharing.map_or(0, |sharing| sharing.takeovers),
            false => self.moves.load(Ordering::Relaxed),
        };
        if takeovers == MAX_TAKEOVERS {
            return self.visit(reactor, direction, &mut shared);
        }
        let key = self.own(reactor, direction)?;
        if is_shared {
            self.share(&mut shared).takeovers = takeovers + 1;
        } else {
            self.moves.store(takeovers + 1, Ordering::Relaxed);
        }
        remote::unwatch(runtime, fd.as_fd());
        drop(shared);
        if !is_mutant("an owner is not told that it has lost a descriptor") {
            remote::send(runtime, Message::ReleaseSource(key_of(word)));
        }
        Ok(key)
    }

    /// Makes `reactor` the direction's owner; the caller holds the lock.
    fn own(&self, reactor: &Reactor, direction: Direction) -> io::Result<u32> {
        let word = self.word(direction);
        // Who waits for writing first makes a connection, or has a peer that reads slowly: reading
        // comes next.
        let directions = match (word.load(Ordering::Acquire), direction) {
            (NOWHERE, Direction::Write) => Directions::BOTH,
            _ => direction.into(),
        };
        let key = self.claim(reactor, direction)?;
        if let Err(error) = reactor.watch(key, self.fd().as_fd(), directions, self.trigger) {
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
        direction: Direction,
        shared: &mut BTreeMap<RawFd, Sharing>,
    ) -> io::Result<u32> {
        let key = self.claim(reactor, direction)?;
        let directions = match is_mutant("a guest does not watch") {
            true => Directions::default(),
            false => direction.into(),
        };
        if let Err(error) = reactor.watch(key, self.fd().as_fd(), directions, self.trigger) {
            reactor.release(key);
            return Err(error);
        }
        let guests = &mut self.share(shared).guests;
        guests.retain(|&guest| alive(guest).is_some());
        guests.push(word_of(reactor, key));
        Ok(key)
    }

    /// What is shared; the caller holds the lock.
    fn share<'a>(&self, shared: &'a mut BTreeMap<RawFd, Sharing>) -> &'a mut Sharing {
        self.is_shared.store(true, Ordering::Release);
        shared.entry(self.fd().as_raw_fd()).or_default()
    }

    /// Claims the entry that `reactor` has for the other direction, or else a new one.
    fn claim(&self, reactor: &Reactor, direction: Direction) -> io::Result<u32> {
        let other = self.word(direction.other()).load(Ordering::Acquire);
        if runtime_of(other) == Some(reactor.id()) {
            let key = key_of(other);
            if reactor.with_source(key, Source::claim).is_some() {
                return Ok(key);
            }
        }
        reactor.insert_source()
    }

    /// Gives all entries back; a descriptor that may live on leaves the epoll sets, too.
    fn leave(&self) {
        let Some(fd) = &self.fd else {
            return;
        };
        let unwatch = (self.may_live_on.load(Ordering::Relaxed) || self.trigger == Trigger::Level)
            .then_some(fd.as_fd());
        let owned = self
            .words
            .each_ref()
            .map(|word| word.load(Ordering::Relaxed));
        let sharing = match self.is_shared.load(Ordering::Relaxed) {
            true => lock(fd).remove(&fd.as_raw_fd()).unwrap_or_default(),
            false => Sharing::default(),
        };
        context::with(|current| {
            let current = current.map(|current| &current.reactor);
            for word in owned.into_iter().chain(sharing.guests) {
                release(current, word, unwatch);
            }
        });
    }

    fn word(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Read => &self.words[0],
            Direction::Write => &self.words[1],
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Locks a descriptor's places.
fn lock(fd: &OwnedFd) -> MutexGuard<'static, BTreeMap<RawFd, Sharing>> {
    let number = usize::try_from(fd.as_raw_fd()).expect("a descriptor is not negative");
    SHARED[number % LOCKS].lock()
}

#[cold]
fn find_guest(reactor: &Reactor, fd: &OwnedFd) -> Place {
    match guest(lock(fd).get(&fd.as_raw_fd()), reactor) {
        Some(key) => Place::Here(key),
        None => Place::Elsewhere,
    }
}

/// The key of `reactor`'s entry, if it owns the word's direction or is a guest.
fn entry_of(reactor: &Reactor, word: u64, sharing: Option<&Sharing>) -> Option<u32> {
    match runtime_of(word) == Some(reactor.id()) {
        true => Some(key_of(word)),
        false => guest(sharing, reactor),
    }
}

/// The key of `reactor`'s entry, if it is a guest.
fn guest(sharing: Option<&Sharing>, reactor: &Reactor) -> Option<u32> {
    let mut guests = sharing?.guests.iter();
    let word = guests.find(|&&word| runtime_of(word) == Some(reactor.id()))?;
    Some(key_of(*word))
}

/// The runtime that a word names, if it is alive.
fn alive(word: u64) -> Option<RuntimeId> {
    runtime_of(word).filter(|&runtime| remote::is_alive(runtime))
}

/// Gives one entry back.
fn release(current: Option<&Reactor>, word: u64, unwatch: Option<BorrowedFd<'_>>) {
    let Some(runtime) = runtime_of(word) else {
        return;
    };
    if let Some(reactor) = current
        && reactor.id() == runtime
    {
        if let Some(fd) = unwatch {
            reactor.unwatch(fd);
        }
        reactor.release(key_of(word));
    } else {
        if let Some(fd) = unwatch {
            remote::unwatch(runtime, fd);
        }
        remote::send(runtime, Message::ReleaseSource(key_of(word)));
    }
}

/// A reactor's runtime and one of its keys.
pub(super) fn word_of(reactor: &Reactor, key: u32) -> u64 {
    u64::from(reactor.id().to_bits()) << 32 | u64::from(key)
}

/// The runtime that a word names.
#[inline]
pub(super) fn runtime_of(word: u64) -> Option<RuntimeId> {
    RuntimeId::from_bits(u32::try_from(word >> 32).expect("32 bits are left"))
}

#[inline]
pub(super) fn key_of(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).expect("32 bits are left")
}
