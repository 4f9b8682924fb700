//! A descriptor that any runtime can wait for: the one type under all sockets.
//!
//! Called by `net`; calls the current runtime's `reactor`, and `remote` for those of other threads.
//!
//! A runtime that waits for a descriptor registers it in its own epoll set, and has one entry for it from then
//! on until the descriptor is dropped. Mostly that is one runtime, and the descriptor's word names its entry. A
//! socket may be sent to another thread, have its halves on two, or be a listener on which several accept: then
//! the word names a list of entries (`runtime_list`). An event of a shared descriptor without waiters makes the
//! runtime stop watching it (`Reactor::leave`), so a descriptor that is sent on soon stops waking the runtimes
//! that it left.
//!
//! # Invariants
//!
//! 1. The operation is tried first; only `EAGAIN`, or a short read before, leads to waiting, and the first
//!    wait registers.
//! 2. A descriptor has one entry at most in each runtime, from the first wait there to its drop.
//! 3. Only a runtime's own thread adds to its epoll set; others only delete, and only in the drop.
//! 4. `EPOLL_CTL_ADD` comes before the word or the list names the entry.
//! 5. Messages that a descriptor is gone are sent before it is closed, and so before its number means another.
//! 6. Where a duplicate may exist (the descriptor was exposed, or came from outside, or is handed out), or is
//!    level-triggered, it is taken out of the epoll sets by hand; where not, closing it does that.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;

use super::runtime_list;
use crate::reactor::source::{
    After, Completion, Direction, Directions, TicketSlot, Trigger, Waiter, WakerRef,
};
use crate::reactor::{self, Reactor, RuntimeList};
use crate::remote::{self, Message, RuntimeId};
use crate::runtime::context::{self, waker_ref};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::is_mutant;

/// A nonblocking descriptor, and where it is registered.
pub(crate) struct Registration {
    /// [`UNREGISTERED`], an [`Entry`], or [`MANY`] and a [`RuntimeList`].
    word: AtomicU64,
    /// `None` only while [`Registration::into_fd`] takes it out.
    fd: Option<OwnedFd>,
    trigger: Trigger,
    /// Someone else may have a duplicate.
    may_be_duplicated: AtomicBool,
    /// The last read, before any wait here, found less than it had room for: the next one need not try.
    is_drained: AtomicBool,
}

/// Futures hold sockets, often several times over.
const _: () = assert!(size_of::<Registration>() == 16 || cfg!(runtime_loom));

const UNREGISTERED: u64 = 0;
/// Says that the other bits name a list. The ids of runtimes leave it clear.
const MANY: u64 = 1 << 63;

/// A descriptor's entry in a runtime's reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) runtime: RuntimeId,
    key: u32,
}

/// What a word says.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Nowhere, or in a runtime that is gone.
    Nowhere,
    One(Entry),
    Many(RuntimeList),
}

impl Entry {
    fn to_word(self) -> u64 {
        u64::from(self.runtime.to_bits()) << 32 | u64::from(self.key)
    }
}

impl Place {
    fn of(word: u64) -> Self {
        if word & MANY != 0 {
            return Self::Many(RuntimeList::from(word & !MANY));
        }
        match (runtime_bits(word), key_bits(word)) {
            (0, _) => Self::Nowhere,
            (runtime, key) => match RuntimeId::from_bits(runtime) {
                Some(runtime) if remote::is_alive(runtime) => Self::One(Entry { runtime, key }),
                _ => Self::Nowhere,
            },
        }
    }
}

/// Making and unmaking.
impl Registration {
    /// Takes a nonblocking descriptor that nobody else knows.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self {
            word: AtomicU64::new(UNREGISTERED),
            fd: Some(fd),
            trigger: Trigger::Edge,
            may_be_duplicated: AtomicBool::new(false),
            is_drained: AtomicBool::new(false),
        }
    }

    /// Takes a nonblocking descriptor that others may have duplicates of.
    pub(crate) fn from_foreign_fd(fd: OwnedFd) -> Self {
        let this = Self::new(fd);
        this.mark_duplicated();
        this
    }

    /// Makes it level-triggered, which is for listeners; nothing is registered yet.
    pub(crate) fn level_triggered(mut self) -> Self {
        if !cfg!(miri) {
            self.trigger = Trigger::Level; // Miri's epoll knows edges only
        }
        self
    }

    /// The descriptor, for calls that leave no duplicate.
    #[inline]
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.owned_fd().as_fd()
    }

    /// The descriptor as a socket, for its options and addresses.
    pub(crate) fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.owned_fd())
    }

    /// The descriptor, for whatever the caller does with it.
    pub(crate) fn expose_fd(&self) -> BorrowedFd<'_> {
        self.mark_duplicated();
        self.fd()
    }

    /// Takes the descriptor out; no runtime watches it any more.
    pub(crate) fn into_fd(mut self) -> OwnedFd {
        self.mark_duplicated();
        self.deregister();
        self.fd.take().expect("only this empties it")
    }

    /// Someone may have a duplicate, so closing the descriptor does not take it out of epoll sets.
    fn mark_duplicated(&self) {
        self.may_be_duplicated.store(true, Ordering::Relaxed);
    }

    #[inline]
    fn owned_fd(&self) -> &OwnedFd {
        self.fd.as_ref().expect("only `into_fd` empties it")
    }
}

/// Operations.
impl Registration {
    /// Tries `operation` when the direction may be ready, and waits if it says `WouldBlock`.
    ///
    /// The operation must be a system call, not code of the user's.
    ///
    /// # Errors
    ///
    /// Those of the operation, and those of registering.
    #[inline]
    pub(crate) fn poll_io<R>(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        waiter: Waiter<'_>,
        operation: impl FnOnce(BorrowedFd<'_>) -> io::Result<Completion<R>>,
    ) -> Poll<io::Result<R>> {
        context::expect(|current| {
            let budget = current.executor.budget();
            ready!(budget.poll_proceed(cx));
            let (reactor, waker) = (&current.reactor, waker_ref(cx));
            let polled = match self.key_in(reactor) {
                Some(key) => reactor.drive(key, self.fd(), direction, waiter, waker, operation),
                None => self.poll_unregistered(reactor, direction, waiter, waker, operation),
            };
            Poll::Ready(match ready!(polled) {
                Ok(completion) => {
                    budget.charge_transfer(completion.bytes);
                    Ok(completion.value)
                }
                Err(error) => {
                    budget.charge(1);
                    Err(error)
                }
            })
        })
    }

    /// Tries `operation` on a descriptor that this runtime has not registered; registers it to wait.
    #[inline(never)]
    fn poll_unregistered<R>(
        &self,
        reactor: &Reactor,
        direction: Direction,
        mut waiter: Waiter<'_>,
        waker: WakerRef<'_>,
        operation: impl FnOnce(BorrowedFd<'_>) -> io::Result<Completion<R>>,
    ) -> Poll<io::Result<Completion<R>>> {
        let is_read = direction == Direction::Read;
        if is_read && self.is_drained.load(Ordering::Relaxed) {
            self.is_drained.store(false, Ordering::Relaxed);
            let wait = Some((waiter.reborrow(), waker));
            if self.register(reactor, direction, wait).is_ok() {
                return Poll::Pending;
            }
            // The operation is to be tried, and will say why it cannot wait.
        }
        match operation(self.fd()) {
            Ok(completion) => {
                // After a short write that is not worth much: the kernel sends on meanwhile.
                if is_read && completion.after == After::Drained {
                    self.is_drained.store(true, Ordering::Relaxed);
                }
                Poll::Ready(Ok(completion))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match self.register(reactor, direction, Some((waiter, waker))) {
                    Ok(_) => Poll::Pending,
                    Err(error) => Poll::Ready(Err(error)),
                }
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Waits until the direction is ready, without trying anything.
    ///
    /// # Errors
    ///
    /// Those of registering.
    pub(crate) fn poll_ready(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        waiter: Waiter<'_>,
    ) -> Poll<io::Result<()>> {
        context::expect(|current| {
            let (reactor, waker) = (&current.reactor, waker_ref(cx));
            ready!(current.executor.budget().poll_proceed(cx));
            let Some(key) = self.key_in(reactor) else {
                self.register(reactor, direction, Some((waiter, waker)))?;
                return Poll::Pending;
            };
            ready!(reactor.poll_ready(key, self.fd(), direction, waiter, waker))?;
            current.executor.budget().charge(1);
            Poll::Ready(Ok(()))
        })
    }

    /// Tries `operation` once, if one of the directions may be ready. It may be code of the user's.
    ///
    /// # Errors
    ///
    /// Those of the operation; `WouldBlock` if all the directions are known not to be ready.
    pub(crate) fn try_io<R>(
        &self,
        directions: Directions,
        operation: impl FnOnce(BorrowedFd<'_>) -> io::Result<Completion<R>>,
    ) -> io::Result<R> {
        context::with(|current| {
            let reactor = current.map(|current| &current.reactor);
            let registered = reactor.and_then(|reactor| Some((reactor, self.key_in(reactor)?)));
            let may_be_ready = |&direction: &Direction| {
                directions.contains(direction.into())
                    && registered.is_none_or(|(reactor, key)| reactor.is_ready(key, direction))
            };
            let tried: Vec<_> = Direction::EACH.into_iter().filter(may_be_ready).collect();
            if tried.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let result = operation(self.fd());
            let after = match &result {
                Ok(completion) => Some(completion.after),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                Err(_) => Some(After::MayHaveMore),
            };
            if let Some((reactor, key)) = registered {
                tried
                    .into_iter()
                    .for_each(|direction| reactor.on_outcome(key, direction, after));
            }
            result.map(|completion| completion.value)
        })
    }

    /// Whether the peer is known to have closed the direction for good.
    pub(crate) fn is_closed(&self, direction: Direction) -> bool {
        context::with(|current| {
            let reactor = &current?.reactor;
            Some(reactor.is_closed(self.key_in(reactor)?, direction))
        })
        .unwrap_or_default()
    }

    /// Lets the direction back off for the time of `rest`, for want of resources; then its waiters are woken to try again.
    ///
    /// # Errors
    ///
    /// Those of registering.
    pub(crate) fn back_off(&self, direction: Direction, rest: Duration) -> io::Result<()> {
        context::expect(|current| {
            let reactor = &current.reactor;
            let key = match self.key_in(reactor) {
                Some(key) => key,
                None => self.register(reactor, direction, None)?,
            };
            reactor.back_off(key, direction, rest);
            Ok(())
        })
    }
}

/// Where it is registered.
impl Registration {
    /// The key of this runtime's entry.
    #[inline]
    fn key_in(&self, reactor: &Reactor) -> Option<u32> {
        let word = self.word.load(Ordering::Acquire);
        if runtime_bits(word) == reactor.id().to_bits() {
            return Some(key_bits(word));
        }
        if word & MANY == 0 {
            return None;
        }
        key_in_list(reactor, RuntimeList::from(word & !MANY))
    }

    /// Registers the descriptor in this runtime, which has no entry for it, and lets someone wait.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`, and that the runtime is being dropped; then nothing has changed.
    #[cold]
    fn register(
        &self,
        reactor: &Reactor,
        direction: Direction,
        wait: Option<(Waiter<'_>, WakerRef<'_>)>,
    ) -> io::Result<u32> {
        // A first wait for writing means a connection that is being made, or a peer that reads slowly: reading comes next.
        let directions = match (self.word.load(Ordering::Acquire), direction) {
            (UNREGISTERED, Direction::Write) => Directions::BOTH,
            _ => direction.into(),
        };
        let key = reactor.register(self.fd(), directions, self.trigger)?;
        self.publish(reactor, key);
        // Only now, as the clone of a foreign waker may use this descriptor, too.
        if let Some((waiter, waker)) = wait {
            reactor.wait(key, direction, waiter, waker);
        }
        Ok(key)
    }

    /// Lets other runtimes find this one's entry.
    fn publish(&self, reactor: &Reactor, key: u32) {
        let entry = Entry {
            runtime: reactor.id(),
            key,
        };
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let published = match Place::of(word) {
                Place::Nowhere => self.exchange(word, entry.to_word()),
                Place::One(first) => self.share(word, first, entry, reactor),
                Place::Many(list) => {
                    runtime_list::add(list, entry);
                    reactor.set_key_in_list(list, Some(key));
                    Ok(())
                }
            };
            match published {
                Ok(()) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Makes a list of two entries, and tells the runtime of the first.
    fn share(&self, word: u64, first: Entry, second: Entry, reactor: &Reactor) -> Result<(), u64> {
        let mut result = Ok(());
        let mut made = None;
        runtime_list::create([first, second], |list| {
            result = self.exchange(word, MANY | u64::from(list));
            made = Some(list);
            result.is_ok()
        });
        if let (Ok(()), Some(list)) = (result, made) {
            reactor.set_key_in_list(list, Some(second.key));
            remote::send(first.runtime, Message::NowShared(first.key, list.into()));
        }
        result
    }

    /// Replaces the word, if it is still the one that was seen; else returns what it is now.
    fn exchange(&self, seen: u64, new: u64) -> Result<(), u64> {
        if is_mutant("a word is replaced whatever it is by now") {
            self.word.store(new, Ordering::Release);
            return Ok(());
        }
        self.word
            .compare_exchange(seen, new, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
    }

    /// Gives all entries back; a descriptor of which a duplicate may exist leaves the epoll sets, too.
    fn deregister(&self) {
        let Some(fd) = &self.fd else {
            return;
        };
        let entries = match Place::of(self.word.load(Ordering::Acquire)) {
            Place::Nowhere => return,
            Place::One(entry) => return self.give_back([entry], fd),
            Place::Many(list) => runtime_list::remove(list),
        };
        self.give_back(entries, fd);
    }

    fn give_back(&self, entries: impl IntoIterator<Item = Entry>, fd: &OwnedFd) {
        let is_duplicated = self.may_be_duplicated.load(Ordering::Relaxed);
        let unwatch = is_duplicated || self.trigger == Trigger::Level;
        context::with(|current| {
            for Entry { runtime, key } in entries {
                match current {
                    Some(current) if current.reactor.id() == runtime => {
                        if unwatch {
                            current.reactor.unwatch(fd.as_fd());
                        }
                        current.reactor.deregister(key);
                    }
                    _ => {
                        if unwatch {
                            remote::unwatch(runtime, fd.as_fd());
                        }
                        if !is_mutant("a runtime is not told that a descriptor is gone") {
                            remote::send(runtime, Message::ReleaseSource(key));
                        }
                    }
                }
            }
        });
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.deregister();
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fd().fmt(f)
    }
}

/// The key of this runtime's entry in a list. Only this thread adds or removes it, so what the reactor knows
/// stays true.
#[cold]
fn key_in_list(reactor: &Reactor, list: RuntimeList) -> Option<u32> {
    if let Some(known) = reactor.key_in_list(list) {
        return known;
    }
    let entry = runtime_list::find(list, |entry| entry.runtime == reactor.id());
    let key = entry.map(|entry| entry.key);
    reactor.set_key_in_list(list, key);
    key
}

#[inline]
fn runtime_bits(word: u64) -> u32 {
    u32::try_from(word >> 32).expect("32 bits are left")
}

#[inline]
fn key_bits(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).expect("32 bits are left")
}

/// An operation on a descriptor that several users share: it waits in a list until it is done, and
/// leaves the list when dropped.
pub(crate) struct WithTicket<F> {
    direction: Direction,
    operation: F,
    slot: TicketSlot,
}

impl<F> WithTicket<F> {
    /// Prepares `operation`, which is called with each poll and waits with the ticket slot it is given.
    pub(crate) fn new<R>(direction: Direction, operation: F) -> Self
    where
        F: FnMut(&Context<'_>, &mut TicketSlot) -> Poll<R>,
    {
        Self {
            direction,
            operation,
            slot: None,
        }
    }
}

impl<F> Unpin for WithTicket<F> {}

impl<R, F> Future for WithTicket<F>
where
    F: FnMut(&Context<'_>, &mut TicketSlot) -> Poll<R>,
{
    type Output = R;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let this = self.get_mut();
        (this.operation)(cx, &mut this.slot)
    }
}

impl<F> Drop for WithTicket<F> {
    fn drop(&mut self) {
        if self.slot.is_some() {
            context::with(|current| {
                let current = current.map(|current| &current.reactor);
                reactor::cancel(current, self.direction, &mut self.slot);
            });
        }
    }
}
