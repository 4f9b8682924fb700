//! The descriptors of a reactor: operations on them, their waits, and what epoll watches.
//!
//! A part of `Reactor`; the states of one descriptor are `source`'s. Called by `io::registration` on behalf of
//! sockets.

use std::cell::RefMut;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::task::Poll;
use std::time::Duration;

use slab::Slab;

use super::source::{
    After, Completion, Direction, Directions, Source, StoredWaker, Ticket, TicketSlot,
    TicketedWait, Trigger, Waiter, WakerRef,
};
use super::{Reactor, State, TimerAction};
use crate::clock;
use crate::quiet;
use crate::remote::{self, Message, WakeTarget};
use crate::sync::is_mutant;
use crate::sys::epoll::RawToken;

/// Memory for so many descriptors is never given back: 64 KiB.
const KEPT: usize = if cfg!(test) { 8 } else { 1024 };

/// Operations.
impl Reactor {
    /// Does `operation` if the source may be ready for it, and waits if that finds nothing.
    ///
    /// The operation runs while the table is borrowed: it must be a system call, not code of the user's.
    ///
    /// # Errors
    ///
    /// Those of the operation, and of [`Reactor::watch`] if the direction was not watched.
    #[inline]
    pub(crate) fn drive<R>(
        &self,
        key: u32,
        fd: BorrowedFd<'_>,
        direction: Direction,
        waiter: Waiter<'_>,
        waker: WakerRef<'_>,
        operation: impl FnOnce(BorrowedFd<'_>) -> io::Result<Completion<R>>,
    ) -> Poll<io::Result<Completion<R>>> {
        let mut sources = self.sources.borrow_mut();
        let Some(source) = sources.get_mut(key as usize) else {
            drop(sources);
            return Poll::Ready(operation(fd).map_err(ended_if_would_block));
        };
        if source.is_ready(direction) {
            match operation(fd) {
                Ok(completion) => {
                    source.on_completed(direction, completion.after);
                    return Poll::Ready(Ok(completion));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !source.watches(direction)
                        && let Err(error) = self.watch_source(source, key, fd, direction.into())
                    {
                        return Poll::Ready(Err(error));
                    }
                    source.on_would_block(direction);
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if let Waiter::Exclusive = waiter
            && let Some(target) = waker.target()
        {
            let waker = StoredWaker::Target(target);
            let replaced = source.wait_exclusively(direction, waker);
            release(sources, replaced);
        } else {
            drop(sources);
            self.wait(key, direction, waiter, waker);
        }
        Poll::Pending
    }

    /// Waits until the source is ready, without trying anything.
    ///
    /// # Errors
    ///
    /// Those of [`Reactor::watch`].
    pub(crate) fn poll_ready(
        &self,
        key: u32,
        fd: BorrowedFd<'_>,
        direction: Direction,
        waiter: Waiter<'_>,
        waker: WakerRef<'_>,
    ) -> Poll<io::Result<()>> {
        self.watch(key, fd, direction.into())?;
        if self.is_ready(key, direction) {
            return Poll::Ready(Ok(()));
        }
        self.wait(key, direction, waiter, waker);
        Poll::Pending
    }

    /// Whether an operation is worth trying; for a source of a closed reactor it is.
    pub(crate) fn is_ready(&self, key: u32, direction: Direction) -> bool {
        self.with_source(key, |source| source.is_ready(direction))
            .unwrap_or(true)
    }

    /// Whether the peer has closed the direction for good.
    pub(crate) fn is_closed(&self, key: u32, direction: Direction) -> bool {
        self.with_source(key, |source| source.is_closed(direction))
            .unwrap_or_default()
    }

    /// Learns what an operation of the user's own says of a direction: what comes after it, or that it would block.
    pub(crate) fn on_outcome(&self, key: u32, direction: Direction, after: Option<After>) {
        self.with_source(key, |source| match after {
            Some(after) => source.on_completed(direction, after),
            None => source.on_would_block(direction),
        });
    }

    /// Lets a direction back off for a while, whatever events come.
    pub(crate) fn back_off(&self, key: u32, direction: Direction, rest: Duration) {
        let token = self.with_source(key, |source| {
            source.back_off(direction);
            token(key, source)
        });
        if let Some(token) = token {
            let deadline = clock::now_ns().saturating_add(clock::duration_ns(rest));
            let action = TimerAction::Resume(token, direction);
            self.timers.borrow_mut().insert(deadline, action);
        }
    }

    fn with_source<R>(&self, key: u32, call: impl FnOnce(&mut Source) -> R) -> Option<R> {
        self.sources.borrow_mut().get_mut(key as usize).map(call)
    }
}

/// Waits.
impl Reactor {
    /// Lets `waiter` wait for the next event of a direction.
    #[cold]
    pub(crate) fn wait(
        &self,
        key: u32,
        direction: Direction,
        mut waiter: Waiter<'_>,
        waker: WakerRef<'_>,
    ) {
        let ticket = match &mut waiter {
            Waiter::Ticket(slot) => Some(self.ticket(key, direction, slot)),
            Waiter::Exclusive => None,
            Waiter::Anonymous => {
                let waits = |source: &mut Source| source.has_anonymous(direction, waker);
                if self.with_source(key, waits) == Some(true) {
                    return;
                }
                None
            }
        };
        let stored = waker.store();
        let mut sources = self.sources.borrow_mut();
        let Some(source) = sources.get_mut(key as usize) else {
            // The clone, which is foreign code, has closed the reactor: there is nothing to wait for.
            drop(sources);
            return quiet::quietly(|| waker.waker.wake_by_ref());
        };
        let replaced = match (waiter, ticket) {
            (_, Some(ticket)) => source.wait_with_ticket(direction, ticket, stored),
            (Waiter::Anonymous, _) => {
                let is_gone = |target| self.is_gone(target);
                source.wait_anonymously(direction, stored, is_gone);
                StoredWaker::NONE
            }
            _ => source.wait_exclusively(direction, stored),
        };
        release(sources, replaced);
    }

    /// Whether a target names a task of this runtime that has ended.
    fn is_gone(&self, target: WakeTarget) -> bool {
        target.runtime_index() == self.id.index() && !(self.tasks.is_live)(target)
    }

    /// The ticket in the slot, if it was drawn for this source; else a new one.
    fn ticket(&self, key: u32, direction: Direction, slot: &mut TicketSlot) -> Ticket {
        match *slot {
            Some(wait) if wait.runtime == self.id && wait.key == key => wait.ticket,
            _ => {
                cancel(Some(self), direction, slot);
                let ticket = Ticket(self.next_ticket.get());
                self.next_ticket.set(ticket.0 + 1);
                *slot = Some(TicketedWait {
                    runtime: self.id,
                    key,
                    ticket,
                });
                ticket
            }
        }
    }

    /// Ends a wait before its event.
    pub(super) fn cancel_ticket(&self, key: u32, direction: Direction, ticket: Ticket) {
        let waker = self.with_source(key, |source| source.cancel(direction, ticket));
        quiet::quietly(|| drop(waker));
    }
}

/// Ends the wait of a ticket, in whichever runtime it was drawn; `current` is this thread's.
pub(crate) fn cancel(current: Option<&Reactor>, direction: Direction, slot: &mut TicketSlot) {
    let Some(wait) = slot.take() else {
        return;
    };
    match current {
        Some(reactor) if reactor.id == wait.runtime => {
            reactor.cancel_ticket(wait.key, direction, wait.ticket);
        }
        _ => {
            let message = Message::CancelWait(wait.key, direction, wait.ticket.0);
            remote::send(wait.runtime, message);
        }
    }
}

/// Registration.
impl Reactor {
    /// Registers a descriptor, watched for these directions.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`: `EPERM` for a descriptor that cannot be watched, `ENOSPC` at the limit
    /// `/proc/sys/fs/epoll/max_user_watches`, `ENOMEM`; that the reactor is another process's; and that the
    /// runtime is being dropped.
    pub(crate) fn register(
        &self,
        fd: BorrowedFd<'_>,
        directions: Directions,
        trigger: Trigger,
    ) -> io::Result<u32> {
        if self.state.get() != State::Open {
            return Err(ended());
        }
        let generation = self.next_generation.get();
        self.next_generation.set(generation.wrapping_add(1));
        let mut sources = self.sources.borrow_mut();
        if sources.len() == sources.capacity() {
            self.trim_at.set(sources.len() / 4);
        }
        let entry = sources.vacant_entry();
        let key = u32::try_from(entry.key()).expect("a process has fewer than 2^32 descriptors");
        let source = entry.insert(Source::new(generation, fd.as_raw_fd(), trigger));
        if let Err(error) = self.watch_source(source, key, fd, directions) {
            sources.remove(key as usize);
            return Err(error);
        }
        Ok(key)
    }

    /// Watches these directions too; what is ready already comes as an event.
    ///
    /// # Errors
    ///
    /// Those of [`Reactor::register`].
    pub(crate) fn watch(
        &self,
        key: u32,
        fd: BorrowedFd<'_>,
        directions: Directions,
    ) -> io::Result<()> {
        let watch = |source: &mut Source| self.watch_source(source, key, fd, directions);
        self.with_source(key, watch).unwrap_or_else(|| Err(ended()))
    }

    fn watch_source(
        &self,
        source: &mut Source,
        key: u32,
        fd: BorrowedFd<'_>,
        more: Directions,
    ) -> io::Result<()> {
        let before = source.watched();
        if before.contains(more) {
            return Ok(());
        }
        if is_mutant("who waits is not watched") {
            source.set_watched(before.union(more));
            return Ok(());
        }
        let directions = before.union(more);
        let (interest, token) = (source.interest(directions), token(key, source));
        match before.is_empty() {
            true => self.epoll.add(fd, interest, token)?,
            false => self.epoll.modify(fd, interest, token)?,
        }
        source.set_watched(directions);
        Ok(())
    }

    /// Stops watching directions that have no waiters: their events would end the next wait as well.
    pub(super) fn leave(&self, source: &mut Source, unneeded: Directions, token: RawToken) {
        // Another thread may have closed the descriptor; then a message says so. If that message comes only after this
        // check, the call fails harmlessly: no other thread adds to this epoll set.
        if unneeded.is_empty() || self.remote.has_messages() {
            return;
        }
        let rest = source.watched().without(unneeded);
        let has_left = match rest.is_empty() {
            true => self.epoll.delete_if_there(source.fd()),
            false => {
                let interest = source.interest(rest);
                self.epoll.modify_if_there(source.fd(), interest, token)
            }
        };
        if has_left {
            source.set_watched(rest);
        }
    }

    /// Stops watching a descriptor that goes on living elsewhere.
    pub(crate) fn unwatch(&self, fd: BorrowedFd<'_>) {
        // It may not be watched at all: then there is nothing to stop.
        self.epoll.delete_if_there(fd.as_raw_fd());
    }

    /// Frees the entry of a descriptor that is gone; its waiters are forgotten.
    pub(crate) fn deregister(&self, key: u32) {
        let Some(mut source) = self.remove(key) else {
            return;
        };
        self.forget_key(&source);
        let mut wakers = Vec::new();
        source.take_waiters(|waker| wakers.push(waker));
        for waker in wakers {
            quiet::quietly(|| drop(waker));
        }
    }

    /// Frees the entry of a descriptor that is gone elsewhere; its waiters go to `woken`.
    pub(super) fn on_deregistered(&self, key: u32, woken: impl FnMut(StoredWaker)) {
        if let Some(mut source) = self.remove(key) {
            self.forget_key(&source);
            source.take_waiters(woken);
        }
    }

    /// Removes an entry. Gives the memory of a burst back when an eighth of it is in use, and again each time when half of
    /// that has gone, so that a removal costs the same however many entries there are.
    fn remove(&self, key: u32) -> Option<Source> {
        let mut sources = self.sources.borrow_mut();
        let source = sources.try_remove(key as usize);
        if sources.len() <= self.trim_at.get() && sources.capacity() > KEPT {
            sources.shrink_to_fit();
            self.trim_at.set(sources.len() / 2);
        }
        source
    }
}

/// Descriptors for which several runtimes wait: under which key this one does, by their list of runtimes.
impl Reactor {
    /// What is known of a list of runtimes: whether this one is in it, and under which key.
    pub(crate) fn key_in_list(&self, list: RuntimeList) -> Option<Option<u32>> {
        let known = self.lists.borrow();
        let known = known.get(list.index as usize)?;
        (known.serial == list.serial).then_some(known.key)
    }

    /// Notes under which key, if any, this runtime is in a list.
    pub(crate) fn set_key_in_list(&self, list: RuntimeList, key: Option<u32>) {
        if let Some(key) = key {
            self.with_source(key, |source| source.set_shared(list.index));
        }
        let mut lists = self.lists.borrow_mut();
        let index = list.index as usize;
        if lists.len() <= index {
            lists.resize(index + 1, KnownKey::default());
        }
        let serial = list.serial;
        lists[index] = KnownKey { serial, key };
    }

    /// Serial numbers of lists may come again, keys do.
    fn forget_key(&self, source: &Source) {
        if let Some(index) = source.runtimes()
            && let Some(known) = self.lists.borrow_mut().get_mut(index as usize)
        {
            *known = KnownKey::default();
        }
    }
}

/// Names the list of the runtimes that wait for one descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RuntimeList {
    /// Not zero; tells the lists apart that had this index.
    pub(crate) serial: u32,
    pub(crate) index: u32,
}

impl From<u64> for RuntimeList {
    fn from(bits: u64) -> Self {
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).expect("it is masked");
        Self {
            serial: half(bits >> 32),
            index: half(bits),
        }
    }
}

impl From<RuntimeList> for u64 {
    fn from(list: RuntimeList) -> Self {
        Self::from(list.serial) << 32 | Self::from(list.index)
    }
}

/// What a runtime knows of the list at an index.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KnownKey {
    /// Zero if nothing is known.
    serial: u32,
    key: Option<u32>,
}

/// Ends the borrow of the table, then drops a waker: if it is foreign, so is its drop.
#[inline]
fn release(sources: RefMut<'_, Slab<Source>>, waker: StoredWaker) {
    drop(sources);
    if let StoredWaker::Foreign(waker) = waker {
        quiet::quietly(|| drop(waker));
    }
}

/// The error of an operation that would have to wait in a runtime that is being dropped.
#[cold]
fn ended() -> io::Error {
    io::Error::other("the runtime is being dropped, so nothing can wait in it any more")
}

fn ended_if_would_block(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => ended(),
        _ => error,
    }
}

/// The token of a source: its place in the slab, and its generation.
fn token(key: u32, source: &Source) -> RawToken {
    RawToken(u64::from(source.generation()) << 32 | u64::from(key))
}

/// The source that a token names, if it is still there.
#[inline]
pub(super) fn named(sources: &mut Slab<Source>, token: RawToken) -> Option<&mut Source> {
    let key = usize::try_from(token.0 & u64::from(u32::MAX)).ok()?;
    let source = sources.get_mut(key)?;
    (u64::from(source.generation()) == token.0 >> 32).then_some(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::context;
    use std::os::fd::{AsFd as _, OwnedFd};
    use std::os::unix::net::UnixStream;

    #[test]
    fn memory_of_many_sources_is_given_back_down_to_the_last_in_use() {
        crate::block_on(async {
            let (_peer, socket) = UnixStream::pair().unwrap();
            let socket = OwnedFd::from(socket);
            let duplicates: Vec<_> = (0..100).map(|_| socket.try_clone().unwrap()).collect();
            context::expect(|current| {
                let reactor = &current.reactor;
                let register = |fd: &OwnedFd| {
                    let key = reactor.register(fd.as_fd(), Directions::READ, Trigger::Edge);
                    key.unwrap()
                };
                let capacity = || reactor.sources.borrow().capacity();
                let keys: Vec<_> = duplicates.iter().map(register).collect();
                keys[1..99].iter().for_each(|key| reactor.deregister(*key));
                assert!(capacity() >= keys.len(), "the last is in use");
                reactor.deregister(keys[99]);
                assert!(capacity() <= KEPT);
                reactor.unwatch(duplicates[1].as_fd());
                assert_eq!(register(&duplicates[1]), keys[1]);
                reactor.deregister(keys[0]);
                reactor.deregister(keys[1]);
            });
        });
    }
}
