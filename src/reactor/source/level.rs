//! Level-triggered reports, for listeners: how many operations an event is good for, and silence while
//! nobody waits.
//!
//! # Invariants
//!
//! 1. What is muted is not drained: only an event mutes, and whoever finds no more undoes it before it waits.
//!    So nothing needs to be reported meanwhile.

use std::os::fd::RawFd;

/// How epoll reports a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// When there is something new.
    #[default]
    Edge,
    /// For as long as there is something: for a listener, from which one connection at a time is taken.
    /// Reading only.
    Level,
}

/// What a level-triggered descriptor needs.
#[derive(Debug)]
pub(super) struct Level {
    fd: RawFd,
    /// Nobody waited when an event came, so it reports nothing until an operation finds no more.
    is_muted: bool,
    /// How many operations the last event is good for.
    left: usize,
}

impl Level {
    pub(super) fn new(fd: RawFd) -> Self {
        Self {
            fd,
            is_muted: false,
            left: 0,
        }
    }

    #[inline]
    pub(super) fn is_muted(&self) -> bool {
        self.is_muted
    }

    /// Mutes it; returns the descriptor, which may be closed by now.
    pub(super) fn mute(&mut self) -> RawFd {
        self.is_muted = true;
        self.fd
    }

    /// Undoes [`Level::mute`]; false if there is nothing to undo.
    pub(super) fn unmute(&mut self) -> bool {
        std::mem::take(&mut self.is_muted)
    }

    /// Sets how many operations the event that just came is good for.
    pub(super) fn share(&mut self, operations: usize) {
        self.left = operations;
    }

    /// Takes note of an operation; true if the next one is to wait for an event.
    pub(super) fn take(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left == 0 && !self.is_muted
    }
}
