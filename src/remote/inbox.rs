//! Messages from other threads, in the order in which they were sent.
//!
//! Called by `remote`, which notifies the owner of a message. The contents of messages do not matter here.
//!
//! # Invariants
//!
//! 1. A message is pushed before the flag is set, and the flag is cleared before messages are taken. Both are
//!    one read-modify-write with `AcqRel`: the owner, once notified, finds the flag set, or else the sender,
//!    whose change then follows the owner's, knows that the notification was taken back and notifies again.
//! 2. Messages are dropped by the callers and under no lock: they may own foreign code.

use super::RuntimeId;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, is_mutant};

/// The messages to one runtime.
#[derive(Debug)]
pub(super) struct Inbox<M> {
    has_messages: AtomicBool,
    open: Mutex<Option<Open<M>>>,
}

/// The inbox of a runtime that takes messages.
#[derive(Debug)]
struct Open<M> {
    owner: RuntimeId,
    messages: Vec<M>,
}

impl<M> Inbox<M> {
    /// Takes messages to `owner` from now on.
    pub(super) fn open(&self, owner: RuntimeId) {
        let messages = Vec::new();
        *self.open.lock() = Some(Open { owner, messages });
    }

    /// Adds a message; true if the owner is to be notified.
    ///
    /// # Errors
    ///
    /// Returns the message if `to` takes no more messages.
    pub(super) fn push(&self, to: RuntimeId, message: M) -> Result<bool, M> {
        match &mut *self.open.lock() {
            Some(open) if open.owner == to => open.messages.push(message),
            _ => return Err(message),
        }
        Ok(!self.has_messages.swap(true, Ordering::AcqRel))
    }

    /// Whether messages were sent since they were last taken, as far as this thread can know. Once notified,
    /// the owner must not rely on that, but [`drain`](Self::drain).
    #[inline]
    pub(super) fn has_messages(&self) -> bool {
        self.has_messages.load(Ordering::Relaxed)
    }

    /// Takes the messages out.
    pub(super) fn drain(&self) -> Vec<M> {
        if is_mutant("the flag of messages is cleared after they were taken") {
            let taken = self.take();
            self.has_messages.swap(false, Ordering::AcqRel);
            return taken;
        }
        if is_mutant("the flag of messages is only read") && !self.has_messages() {
            return Vec::new();
        }
        match self.has_messages.swap(false, Ordering::AcqRel) {
            true => self.take(),
            false => Vec::new(),
        }
    }

    fn take(&self) -> Vec<M> {
        let mut open = self.open.lock();
        open.as_mut()
            .map(|open| std::mem::take(&mut open.messages))
            .unwrap_or_default()
    }

    /// Takes no more messages; returns those that were not taken.
    pub(super) fn close(&self) -> Vec<M> {
        let open = self.open.lock().take();
        self.has_messages.store(false, Ordering::Release);
        open.map(|open| open.messages).unwrap_or_default()
    }
}

impl<M> Default for Inbox<M> {
    fn default() -> Self {
        Self {
            has_messages: AtomicBool::new(false),
            open: Mutex::new(None),
        }
    }
}
