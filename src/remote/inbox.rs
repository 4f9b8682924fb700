//! Messages from other threads, in the order in which they were sent.
//!
//! Called by `remote`, which notifies the owner of a message. The contents of messages do not matter here.
//!
//! # Invariants
//!
//! 1. A message is pushed before the flag is set, and the flag is cleared before messages are taken. Both are
//!    one read-modify-write with `AcqRel`: the owner, once notified, finds the flag set, or else the sender,
//!    whose change then follows the owner's, knows that the notification was taken back and notifies again.
//! 2. A message to a runtime that has closed is not pushed: that is asked under the lock, which closing takes
//!    after it said so.

use super::Message;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, is_mutant};

/// The messages to one runtime.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    has_messages: AtomicBool,
    messages: Mutex<Vec<Message>>,
}

impl Inbox {
    /// Adds a message if `is_open`, asked under the lock; true if the owner is to be notified.
    pub(super) fn push(&self, message: Message, is_open: impl FnOnce() -> bool) -> bool {
        let mut messages = self.messages.lock();
        if !is_open() {
            return false;
        }
        messages.push(message);
        drop(messages);
        !self.has_messages.swap(true, Ordering::AcqRel)
    }

    /// Whether messages were sent since they were last taken, as far as this thread can know. Once notified,
    /// the owner must not rely on that, but [`drain`](Self::drain).
    #[inline]
    pub(super) fn has_messages(&self) -> bool {
        self.has_messages.load(Ordering::Relaxed)
    }

    /// Takes the messages out.
    pub(super) fn drain(&self) -> Vec<Message> {
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

    fn take(&self) -> Vec<Message> {
        std::mem::take(&mut self.messages.lock())
    }

    /// Returns the messages that were not taken, once it is not open any more.
    pub(super) fn close(&self) -> Vec<Message> {
        let messages = self.take();
        self.has_messages.store(false, Ordering::Release);
        messages
    }
}
