//! A descriptor that any runtime can wait for: the one type under all sockets.
//!
//! Called by `net`; calls the current runtime's `reactor` through `runtime::context`, and `places` to
//! register.
//!
//! # Invariants
//!
//! 1. The operation is tried first; only `EAGAIN`, or a short read before, leads to waiting, and the first
//!    wait registers.
//! 2. Where the descriptor may live on (it was lent, or handed in from outside, or is handed out), or is
//!    reported by level, it is taken out of the epoll set by hand; where not, closing it does that.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use socket2::SockRef;

use super::places::{Place, Places, key_of, runtime_of, word_of};
use crate::reactor::Reactor;
use crate::reactor::source::{Direction, Directions, Ticket, Trigger, Waiter};
use crate::remote::{self, Message};
use crate::runtime::context;

/// A nonblocking descriptor, registered with the reactor of the runtime that last waited for it.
pub(crate) struct Registered {
    places: Places,
}

/// What an operation did.
pub(crate) struct Progress<R> {
    pub(crate) value: R,
    pub(crate) bytes: usize,
    pub(crate) rest: Rest,
}

/// What an operation says of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing: only `EAGAIN` will tell that there is no more.
    Unknown,
    /// There is no more: the socket is drained, or full.
    Nothing,
    /// Nothing, but where events are level-triggered one will come if there is more.
    Announced,
}

impl<R> Progress<R> {
    /// An operation of which only `EAGAIN` tells that there is no more.
    pub(crate) fn whole(value: R) -> Self {
        Self {
            value,
            bytes: 0,
            rest: Rest::Unknown,
        }
    }

    /// An operation that took one of several things.
    pub(crate) fn one(value: R) -> Self {
        Self {
            value,
            bytes: 0,
            rest: Rest::Announced,
        }
    }
}

impl Progress<usize> {
    /// A transfer of `moved` bytes where there was room for `room`. Nothing moved is no short transfer:
    /// it is the end of the stream, which stays.
    pub(crate) fn of(moved: usize, room: usize) -> Self {
        let is_short = 0 < moved && moved < room;
        Self {
            value: moved,
            bytes: moved,
            rest: if is_short {
                Rest::Nothing
            } else {
                Rest::Unknown
            },
        }
    }
}

/// On whose behalf an operation waits.
pub(crate) enum WaitAs<'a> {
    /// The one user of that direction: its latest waker counts.
    Only,
    /// One of several users, which does not tell when it stops waiting.
    Anyone,
    /// One of several users, which ends its wait when dropped: see [`Shared`].
    Ticket(&'a mut TicketSlot),
}

impl WaitAs<'_> {
    /// The same, for one of several calls.
    pub(crate) fn again(&mut self) -> WaitAs<'_> {
        match self {
            Self::Only => WaitAs::Only,
            Self::Anyone => WaitAs::Anyone,
            Self::Ticket(slot) => WaitAs::Ticket(slot),
        }
    }
}

/// The ticket of a wait, and where it was drawn.
pub(crate) type TicketSlot = Option<(u64, Ticket)>;

impl Registered {
    /// Takes a nonblocking descriptor that nobody else knows.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self {
            places: Places::new(fd, Trigger::Edge),
        }
    }

    /// Takes a nonblocking descriptor that others may have duplicates of.
    pub(crate) fn from_outside(fd: OwnedFd) -> Self {
        let this = Self::new(fd);
        this.places.note_duplicate();
        this
    }

    /// Makes it level-triggered, which is for listeners; nothing is registered yet.
    pub(crate) fn level_triggered(mut self) -> Self {
        self.places.set_trigger(Trigger::Level);
        self
    }

    /// The descriptor, for calls that leave no duplicate.
    #[inline]
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.places.fd().as_fd()
    }

    /// The descriptor as a socket, for its options and addresses.
    pub(crate) fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.places.fd())
    }

    /// The descriptor, for whatever the caller does with it.
    pub(crate) fn lend(&self) -> BorrowedFd<'_> {
        self.places.note_duplicate();
        self.fd()
    }

    /// Takes the descriptor out; no runtime watches it any more.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.places.into_fd()
    }

    /// Tries `operation` when the direction may be ready, and waits while it says `WouldBlock`.
    ///
    /// # Errors
    ///
    /// Those of the operation, and those of registering.
    #[inline]
    pub(crate) fn poll_io<R>(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        wait_as: WaitAs<'_>,
        mut operation: impl FnMut(BorrowedFd<'_>) -> io::Result<Progress<R>>,
    ) -> Poll<io::Result<R>> {
        context::expect(|current| {
            let budget = current.executor.budget();
            let reactor = &current.reactor;
            ready!(budget.poll_proceed(cx));
            let place = match self.places.find(reactor, direction) {
                // If that fails, the operation is to be tried, and will say why it cannot wait.
                Place::Drained => match self.settle(reactor, direction, &wait_as) {
                    Ok(key) => Place::Here(key),
                    Err(_) => Place::Elsewhere,
                },
                place => place,
            };
            if let Place::Here(key) = place
                && !reactor.is_ready(key, direction)
            {
                wait_here(reactor, key, direction, wait_as, cx.waker());
                return Poll::Pending;
            }
            let progress = match operation(self.fd()) {
                Ok(progress) => progress,
                Err(error) => {
                    return self
                        .poll_after(error, current, direction, wait_as, cx.waker())
                        .map(Err);
                }
            };
            self.places.on_transfer();
            budget.charge_transfer(progress.bytes);
            match (progress.rest, place) {
                (Rest::Unknown, _) => {}
                (Rest::Nothing, Place::Here(key)) => reactor.on_short(key, direction),
                (Rest::Nothing, _) => self.places.on_short(direction),
                (Rest::Announced, Place::Here(key)) => {
                    reactor.with_source(key, |source| source.on_taken(direction));
                }
                (Rest::Announced, _) => {}
            }
            Poll::Ready(Ok(progress.value))
        })
    }

    /// Waits after an operation has said `WouldBlock`; other errors are the caller's.
    #[inline(never)]
    fn poll_after(
        &self,
        error: io::Error,
        current: &context::Context,
        direction: Direction,
        wait_as: WaitAs<'_>,
        waker: &Waker,
    ) -> Poll<io::Error> {
        let reactor = &current.reactor;
        if error.kind() != io::ErrorKind::WouldBlock {
            current.executor.budget().charge(1);
            return Poll::Ready(error);
        }
        match self.settle(reactor, direction, &wait_as) {
            Ok(key) => {
                reactor.with_source(key, |source| source.on_would_block(direction));
                wait_here(reactor, key, direction, wait_as, waker);
                Poll::Pending
            }
            Err(error) => Poll::Ready(error),
        }
    }

    /// Waits until the direction is ready, without trying anything.
    pub(crate) fn poll_ready(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        wait_as: WaitAs<'_>,
    ) -> Poll<io::Result<()>> {
        context::expect(|current| {
            let reactor = &current.reactor;
            ready!(current.executor.budget().poll_proceed(cx));
            let key = self.settle(reactor, direction, &wait_as)?;
            if reactor.is_ready(key, direction) {
                current.executor.budget().charge(1);
                return Poll::Ready(Ok(()));
            }
            wait_here(reactor, key, direction, wait_as, cx.waker());
            Poll::Pending
        })
    }

    /// Tries `operation` once, if one of the directions may be ready.
    ///
    /// # Errors
    ///
    /// Those of the operation; `WouldBlock` if all the directions are known not to be ready.
    pub(crate) fn try_io<R>(
        &self,
        directions: Directions,
        operation: impl FnOnce(BorrowedFd<'_>) -> io::Result<Progress<R>>,
    ) -> io::Result<R> {
        context::with(|current| {
            let reactor = current.map(|current| &current.reactor);
            let tried = [Direction::Read, Direction::Write]
                .into_iter()
                .filter(|&direction| directions.contains(direction.into()))
                .filter(|&direction| self.may_be_ready(reactor, direction))
                .fold(Directions::default(), |set, one| set.union(one.into()));
            if tried == Directions::default() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let result = operation(self.fd());
            if result.as_ref().is_ok_and(|progress| progress.bytes > 0) {
                self.places.on_transfer();
            }
            for direction in [Direction::Read, Direction::Write] {
                if tried.contains(direction.into()) {
                    self.learn(reactor, direction, &result);
                }
            }
            result.map(|progress| progress.value)
        })
    }

    /// Whether trying is worth it; where nothing is known, it is.
    fn may_be_ready(&self, reactor: Option<&Reactor>, direction: Direction) -> bool {
        reactor.is_none_or(|reactor| match self.places.find(reactor, direction) {
            Place::Here(key) => reactor.is_ready(key, direction),
            Place::Drained | Place::Elsewhere => true,
        })
    }

    /// Takes note of what an operation says of a direction.
    fn learn<R>(
        &self,
        reactor: Option<&Reactor>,
        direction: Direction,
        result: &io::Result<Progress<R>>,
    ) {
        if let Some(reactor) = reactor
            && let Place::Here(key) = self.places.find(reactor, direction)
        {
            reactor.with_source(key, |source| match result {
                Ok(progress) if progress.rest == Rest::Nothing => source.on_short(direction),
                Err(_) if is_would_block(result) => source.on_would_block(direction),
                _ => {}
            });
        }
    }

    /// Whether the direction is known to be closed for good.
    pub(crate) fn is_final(&self, direction: Direction) -> bool {
        context::with(|current| {
            let reactor = &current?.reactor;
            let Place::Here(key) = self.places.find(reactor, direction) else {
                return None;
            };
            reactor.with_source(key, |source| source.is_final(direction))
        })
        .unwrap_or_default()
    }

    /// Lets the direction rest, for want of resources; then whoever waits tries again.
    ///
    /// # Errors
    ///
    /// Those of registering.
    pub(crate) fn back_off(&self, direction: Direction, rest: Duration) -> io::Result<()> {
        context::expect(|current| {
            let reactor = &current.reactor;
            let key = self.settle(reactor, direction, &WaitAs::Anyone)?;
            reactor.back_off(key, direction, rest);
            Ok(())
        })
    }

    /// Sees to it that the reactor watches the direction, and returns its key there.
    fn settle(
        &self,
        reactor: &Reactor,
        direction: Direction,
        wait_as: &WaitAs<'_>,
    ) -> io::Result<u32> {
        let is_shared = !matches!(wait_as, WaitAs::Only);
        self.places.settle(reactor, direction, is_shared)
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fd().fmt(f)
    }
}

/// An operation on a descriptor that several users share: it waits in line until it is done, and
/// leaves the line when dropped.
pub(crate) struct Shared<F> {
    direction: Direction,
    operation: F,
    slot: TicketSlot,
}

impl<F> Shared<F> {
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

impl<F> Unpin for Shared<F> {}

impl<R, F> Future for Shared<F>
where
    F: FnMut(&Context<'_>, &mut TicketSlot) -> Poll<R>,
{
    type Output = R;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let this = self.get_mut();
        (this.operation)(cx, &mut this.slot)
    }
}

impl<F> Drop for Shared<F> {
    fn drop(&mut self) {
        cancel(self.direction, &mut self.slot);
    }
}

/// Waits for an event of an entry of this reactor.
#[inline]
fn wait_here(
    reactor: &Reactor,
    key: u32,
    direction: Direction,
    wait_as: WaitAs<'_>,
    waker: &Waker,
) {
    let waiter = match wait_as {
        WaitAs::Only => Waiter::Only,
        WaitAs::Anyone => Waiter::Anyone(reactor.round()),
        WaitAs::Ticket(slot) => Waiter::Ticket(ticket(reactor, key, direction, slot)),
    };
    reactor.wait_for(key, direction, waiter, waker);
}

/// The ticket in the slot, if it was drawn for this entry; else a new one.
fn ticket(reactor: &Reactor, key: u32, direction: Direction, slot: &mut TicketSlot) -> Ticket {
    let word = word_of(reactor, key);
    match *slot {
        Some((before, ticket)) if before == word => ticket,
        _ => {
            cancel(direction, slot);
            let ticket = reactor.ticket();
            *slot = Some((word, ticket));
            ticket
        }
    }
}

/// Ends a wait that has a ticket, wherever it was drawn.
fn cancel(direction: Direction, slot: &mut TicketSlot) {
    let Some((word, ticket)) = slot.take() else {
        return;
    };
    let Some(runtime) = runtime_of(word) else {
        return;
    };
    context::with(|current| match current {
        Some(current) if current.reactor.id() == runtime => {
            current.reactor.cancel_wait(key_of(word), direction, ticket);
        }
        _ => {
            let message = Message::CancelWait(key_of(word), direction, ticket.0);
            remote::send(runtime, message);
        }
    });
}

fn is_would_block<R>(result: &io::Result<R>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
