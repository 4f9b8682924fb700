//! Who waits for a direction, and the line in which several users of one wait.

use std::collections::BTreeMap;
use std::mem;
use std::task::Waker;

/// Who waits for a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// The one user of that direction, who holds it exclusively: a later waker replaces an earlier one.
    Only,
    /// One of several users, who cannot say when they stop waiting.
    Anyone(Round),
    /// One of several users, who cancels the ticket when it stops waiting.
    Ticket(Ticket),
}

/// Wakers that wait no longer.
#[derive(Debug)]
pub(crate) enum Dismissed {
    /// Another waker of the same waiter is there.
    Replaced(Waker),
    /// They may still wait, but were too many to keep.
    ToBeWoken(Vec<Waker>),
}

/// How often the loop has waited in the kernel by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Round(pub(in crate::reactor) u64);

/// Names one wait among all of a reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

/// How many untracked waiters may gather before all are woken to find out who still waits.
const FIRST_LIMIT: usize = 32;

/// The waiters of a direction that several users share.
#[derive(Debug)]
pub(super) struct Line {
    tickets: BTreeMap<Ticket, Waker>,
    /// Those without a ticket.
    others: Vec<Waker>,
    /// How many of those may gather.
    limit: usize,
    /// When they were last woken for being too many.
    swept: Option<Round>,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.tickets.is_empty() && self.others.is_empty()
    }

    /// Lets a wait go on with this waker; returns the one that this replaces.
    pub(super) fn join(&mut self, ticket: Ticket, waker: Waker) -> Option<Waker> {
        self.tickets.insert(ticket, waker)
    }

    /// Ends a wait; returns its waker, if no event took it.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Waker> {
        self.tickets.remove(&ticket)
    }

    /// Adds one without a ticket, unless it is there.
    ///
    /// Where too many are there, all are woken, to find out who still waits; unless they were since the loop
    /// last waited in the kernel: then these are the ones who came back, and so many do wait.
    pub(super) fn gather(&mut self, waker: Waker, now: Round) -> Option<Dismissed> {
        if self.others.iter().any(|known| known.will_wake(&waker)) {
            return Some(Dismissed::Replaced(waker));
        }
        let mut overflow = None;
        if self.others.len() >= self.limit {
            if self.swept == Some(now) {
                self.limit *= 2;
            } else {
                self.swept = Some(now);
                overflow = Some(Dismissed::ToBeWoken(mem::take(&mut self.others)));
            }
        }
        self.others.push(waker);
        overflow
    }

    #[cold]
    pub(super) fn take(&mut self, woken: &mut Vec<Waker>) {
        self.limit = FIRST_LIMIT;
        woken.extend(mem::take(&mut self.tickets).into_values());
        woken.append(&mut self.others);
    }
}

impl Default for Line {
    fn default() -> Self {
        Self {
            tickets: BTreeMap::new(),
            others: Vec::new(),
            limit: FIRST_LIMIT,
            swept: None,
        }
    }
}
