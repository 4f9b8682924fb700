//! The waiters of a direction: their wakers, and the list of those that share one.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::mem;
use std::task::Waker;

use crate::remote::{RuntimeId, WakeTarget};

/// On whose behalf an operation waits.
#[derive(Debug)]
pub(crate) enum Waiter<'a> {
    /// The one user of that direction: a later waker replaces an earlier one.
    Exclusive,
    /// One of several users, known by its waker only: it cannot say when it stops waiting.
    Anonymous,
    /// One of several users, which cancels the ticket in its slot when it stops waiting.
    Ticket(&'a mut TicketSlot),
}

impl Waiter<'_> {
    /// The same, for one of several calls.
    pub(crate) fn reborrow(&mut self) -> Waiter<'_> {
        match self {
            Self::Exclusive => Waiter::Exclusive,
            Self::Anonymous => Waiter::Anonymous,
            Self::Ticket(slot) => Waiter::Ticket(slot),
        }
    }
}

/// The ticket of a wait, and where it was drawn.
pub(crate) type TicketSlot = Option<TicketedWait>;

/// A wait with a ticket: in which runtime, for which source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TicketedWait {
    pub(crate) runtime: RuntimeId,
    pub(crate) key: u32,
    pub(crate) ticket: Ticket,
}

/// Names one wait among all of a reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

/// A task's waker, and how to see what it wakes if it is one of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WakerRef<'a> {
    pub(crate) waker: &'a Waker,
    /// Called only where something waits.
    pub(crate) target_of: fn(&Waker) -> Option<WakeTarget>,
}

impl WakerRef<'_> {
    #[inline]
    pub(crate) fn target(self) -> Option<WakeTarget> {
        (self.target_of)(self.waker)
    }

    /// Keeps the waker. A foreign one is cloned, which is foreign code.
    pub(crate) fn store(self) -> StoredWaker {
        match self.target() {
            Some(target) => StoredWaker::Target(target),
            None => StoredWaker::Foreign(self.waker.clone()),
        }
    }

    fn identity(self) -> Identity {
        match self.target() {
            Some(target) => Identity::Target(target.to_bits()),
            None => Identity::of(self.waker),
        }
    }
}

/// A waker that is kept until it is woken: ours as the word that it is.
#[derive(Debug)]
pub(crate) enum StoredWaker {
    Target(WakeTarget),
    Foreign(Waker),
}

const _: () = assert!(size_of::<StoredWaker>() == size_of::<Waker>());

impl StoredWaker {
    /// No waker. (An `Option` would be larger than a waker.)
    pub(crate) const NONE: Self = Self::Target(WakeTarget::NONE);

    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::Target(WakeTarget::NONE))
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        mem::replace(self, Self::NONE)
    }

    /// Whether this is the same waker, as [`Waker::will_wake`] says.
    #[inline]
    pub(crate) fn will_wake(&self, waker: WakerRef<'_>) -> bool {
        match self {
            Self::Target(target) => waker.target() == Some(*target),
            Self::Foreign(known) => known.will_wake(waker.waker),
        }
    }

    fn identity(&self) -> Identity {
        match self {
            Self::Target(target) => Identity::Target(target.to_bits()),
            Self::Foreign(waker) => Identity::of(waker),
        }
    }
}

/// What tells wakers apart, as [`Waker::will_wake`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Identity {
    Target(usize),
    Foreign(usize, usize),
}

impl Identity {
    fn of(waker: &Waker) -> Self {
        let vtable: *const _ = waker.vtable();
        Self::Foreign(waker.data().addr(), vtable.addr())
    }
}

/// The waiters of a direction that several users share.
#[derive(Debug, Default)]
pub(super) struct WaitList {
    tickets: BTreeMap<Ticket, StoredWaker>,
    anonymous: Anonymous,
}

/// Anonymous waiters, each waker once, in the order in which they came.
#[derive(Debug, Default)]
struct Anonymous {
    wakers: Vec<StoredWaker>,
    /// Their identities, once there are more than [`FEW`].
    known: HashSet<Identity, BuildHasherDefault<DefaultHasher>>,
    /// At this length the next sweep looks for wakers of tasks that are gone.
    sweep_at: usize,
}

/// Up to this length wakers are compared one by one.
const FEW: usize = 16;
/// Below this length there is no sweep for tasks that are gone.
const FIRST_SWEEP: usize = 32;

impl WaitList {
    pub(super) fn is_empty(&self) -> bool {
        self.tickets.is_empty() && self.anonymous.wakers.is_empty()
    }

    /// Lets a wait go on with this waker; returns the one that this replaces.
    pub(super) fn insert(&mut self, ticket: Ticket, waker: StoredWaker) -> StoredWaker {
        let replaced = self.tickets.insert(ticket, waker);
        replaced.unwrap_or(StoredWaker::NONE)
    }

    /// Ends a wait; returns its waker, if no event took it.
    pub(super) fn remove(&mut self, ticket: Ticket) -> StoredWaker {
        self.tickets.remove(&ticket).unwrap_or(StoredWaker::NONE)
    }

    /// Whether this waker waits already, without a ticket.
    pub(super) fn has_anonymous(&self, waker: WakerRef<'_>) -> bool {
        self.anonymous.has(waker.identity())
    }

    /// Adds a waker without a ticket that is not there yet. Now and then drops those of ours that `is_gone`.
    pub(super) fn insert_anonymous(
        &mut self,
        waker: StoredWaker,
        is_gone: impl Fn(WakeTarget) -> bool,
    ) {
        self.anonymous.insert(waker, is_gone);
    }

    /// Takes all waiters out.
    #[cold]
    pub(super) fn drain_into(&mut self, woken: &mut impl FnMut(StoredWaker)) {
        mem::take(&mut self.tickets)
            .into_values()
            .for_each(&mut *woken);
        self.anonymous.drain_into(woken);
    }
}

impl Anonymous {
    fn has(&self, identity: Identity) -> bool {
        match self.wakers.len() > FEW {
            true => self.known.contains(&identity),
            false => self.wakers.iter().any(|known| known.identity() == identity),
        }
    }

    fn insert(&mut self, waker: StoredWaker, is_gone: impl Fn(WakeTarget) -> bool) {
        if self.wakers.len() >= self.sweep_at.max(FIRST_SWEEP) {
            self.sweep(is_gone);
        }
        let identity = waker.identity();
        self.wakers.push(waker);
        match self.wakers.len() {
            0..=FEW => {}
            count if count == FEW + 1 => self.learn(),
            _ => drop(self.known.insert(identity)),
        }
    }

    /// Drops the wakers of ours that are gone. At least half of what is left must come before the next time, so that a
    /// waiter costs the same however many there are.
    fn sweep(&mut self, is_gone: impl Fn(WakeTarget) -> bool) {
        self.wakers
            .retain(|waker| !matches!(waker, StoredWaker::Target(target) if is_gone(*target)));
        self.sweep_at = self.wakers.len() * 2;
        self.shrink();
        self.learn();
    }

    fn learn(&mut self) {
        self.known.clear();
        if self.wakers.len() > FEW {
            self.known
                .extend(self.wakers.iter().map(StoredWaker::identity));
        }
    }

    /// Takes all out. Memory that this many do not need is given back.
    fn drain_into(&mut self, woken: &mut impl FnMut(StoredWaker)) {
        self.shrink();
        self.wakers.drain(..).for_each(woken);
        self.known.clear();
        self.sweep_at = 0;
    }

    fn shrink(&mut self) {
        let needed = self.wakers.len().max(FEW);
        if self.wakers.capacity() > 4 * needed {
            self.wakers.shrink_to(2 * needed);
            self.known.clear();
            self.known.shrink_to(2 * needed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Generation;
    use std::cell::Cell;
    use std::sync::Arc;
    use std::task::Wake;

    struct Nothing;

    impl Wake for Nothing {
        fn wake(self: Arc<Self>) {}
    }

    fn target(slot: u32) -> WakeTarget {
        WakeTarget::new(1, slot, Generation::MAIN)
    }

    fn drained(list: &mut WaitList) -> Vec<Identity> {
        let mut wakers = Vec::new();
        list.drain_into(&mut |waker| wakers.push(waker));
        wakers.iter().map(StoredWaker::identity).collect()
    }

    thread_local! {
        /// What the waker that [`wait`] polls with wakes.
        static OURS: Cell<Option<WakeTarget>> = const { Cell::new(None) };
    }

    /// Polls by wakers of ours.
    fn wait(list: &mut WaitList, slot: u32, is_gone: impl Fn(WakeTarget) -> bool) {
        OURS.set(Some(target(slot)));
        let waker = WakerRef {
            waker: Waker::noop(),
            target_of: |_| OURS.get(),
        };
        if !list.has_anonymous(waker) {
            list.insert_anonymous(waker.store(), is_gone);
        }
    }

    #[test]
    fn each_anonymous_waker_waits_once_and_is_woken_in_the_order_of_its_coming() {
        let foreign: Vec<Waker> = (0..20).map(|_| Arc::new(Nothing).into()).collect();
        let mut list = WaitList::default();
        for _ in 0..2 {
            let mut expected = Vec::new();
            for round in 0..3 {
                for (slot, waker) in (0..).zip(&foreign) {
                    wait(&mut list, slot, |_| false);
                    let target_of = |_: &Waker| None;
                    let waker = WakerRef { waker, target_of };
                    if !list.has_anonymous(waker) {
                        list.insert_anonymous(waker.store(), |_| false);
                    }
                    if round == 0 {
                        expected.extend([Identity::Target(target_bits(slot)), waker.identity()]);
                    }
                }
            }
            assert_eq!(drained(&mut list), expected);
            assert!(list.is_empty());
        }
    }

    fn target_bits(slot: u32) -> usize {
        target(slot).to_bits()
    }

    #[test]
    fn wakers_of_tasks_that_are_gone_are_not_gathered_without_end() {
        let mut list = WaitList::default();
        let is_gone = |target: WakeTarget| target.slot() >= 100;
        for slot in 0..100_000 {
            wait(&mut list, slot, is_gone);
            assert!(list.anonymous.wakers.len() <= 201);
        }
        let woken = drained(&mut list);
        assert!((0..100).all(|slot| woken.contains(&Identity::Target(target_bits(slot)))));
    }

    #[test]
    fn who_outlives_a_sweep_is_still_known() {
        let living = Cell::new(200);
        let is_gone = |target: WakeTarget| target.slot() >= living.get();
        let mut list = WaitList::default();
        (0..200).for_each(|slot| wait(&mut list, slot, is_gone));
        living.set(20);
        (200..1000).for_each(|slot| wait(&mut list, slot, is_gone));
        assert!(list.anonymous.wakers.len() < 200, "they were swept");
        (0..20).for_each(|slot| wait(&mut list, slot, is_gone));
        let woken = drained(&mut list);
        for slot in 0..20 {
            let identity = Identity::Target(target_bits(slot));
            assert_eq!(woken.iter().filter(|&&woken| woken == identity).count(), 1);
        }
    }

    #[test]
    fn many_waiters_who_live_are_looked_through_seldom() {
        let looks = Cell::new(0);
        let mut list = WaitList::default();
        for slot in 0..100_000 {
            wait(&mut list, slot, |_| {
                looks.set(looks.get() + 1);
                false
            });
        }
        assert!(looks.get() <= 200_000, "{} looks", looks.get());
        assert_eq!(drained(&mut list).len(), 100_000);
    }

    #[test]
    fn memory_of_many_waiters_is_given_back() {
        let mut list = WaitList::default();
        (0..10_000).for_each(|slot| wait(&mut list, slot, |_| false));
        drained(&mut list);
        wait(&mut list, 1, |_| false);
        drained(&mut list);
        assert!(list.anonymous.wakers.capacity() <= 4 * FEW);
        assert!(list.anonymous.known.capacity() <= 8 * FEW);
    }
}
