//! What other threads may touch of a runtime: they wake its tasks and send it messages.
//!
//! Called by wakers, sockets and timers on any thread, and by `executor`, `reactor` and `runtime` on the
//! runtime's own; writes to `sys::event_fd`.
//!
//! A wake marks the task in the wake set; a message goes to the inbox. Both then notify the loop, which
//! makes due what is marked and does what messages ask. A message polls no task.
//!
//! # Invariants
//!
//! 1. The owner sets [`PARKED`] and checks [`NOTIFIED`] in one step of one word, and a notifying thread does the
//!    reverse in one step of the same word; so either the owner stays awake or the eventfd is written.
//! 2. The eventfd is written, and epoll's set changed by others, under the lock under which they are taken
//!    out; so no thread uses a closed descriptor.
//! 3. Marks and messages are there before the owner is notified of them.

mod id;
mod inbox;
mod message;
#[cfg(test)]
mod oracle;
mod registry;
mod target;
mod wake_set;

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

pub(crate) use self::id::RuntimeId;
use self::inbox::Inbox;
pub(crate) use self::message::Message;
pub(crate) use self::target::{Generation, WakeTarget};
pub(crate) use self::wake_set::MAX_SLOTS;
use self::wake_set::{BLOCK_BITS, WakeSet};
use crate::log;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Arc, Mutex, is_mutant};
use crate::sys::epoll::Epoll;
use crate::sys::event_fd::EventFd;

/// The owner waits in the kernel, or is about to.
const PARKED: u32 = 1;
/// A task was marked or a message sent since the owner last looked.
const NOTIFIED: u32 = 2;

/// Marks a task for waking, and wakes its runtime if that sleeps.
///
/// A runtime that is gone has no notifier: the wake does nothing.
pub(crate) fn wake(target: WakeTarget) {
    if let Some(remote) = registry::at(target.runtime_index()) {
        remote.wake(target.slot());
    }
}

/// Sends a message to a runtime and notifies it; a runtime that is gone gets none.
pub(crate) fn send(to: RuntimeId, message: Message) {
    if let Some(remote) = registry::at(to.index()) {
        remote.send(to, message);
    }
}

/// Whether a runtime takes messages.
pub(crate) fn is_alive(id: RuntimeId) -> bool {
    find(id).is_some()
}

/// Takes a descriptor out of a runtime's epoll set, if it is there.
pub(crate) fn unwatch(id: RuntimeId, fd: BorrowedFd<'_>) {
    let Some(remote) = find(id) else {
        return;
    };
    if let Some(kernel) = &*remote.kernel.lock()
        && remote.has(id)
    {
        // It may not be watched at all: then there is nothing to stop.
        kernel.epoll.delete_if_there(fd.as_raw_fd());
    }
}

fn find(id: RuntimeId) -> Option<&'static Remote> {
    registry::at(id.index()).filter(|remote| remote.has(id))
}

/// A runtime's entry in the registry, given back when dropped.
pub(crate) struct RegistryEntry {
    id: RuntimeId,
    remote: &'static Remote,
}

impl RegistryEntry {
    /// Registers a new runtime.
    ///
    /// # Errors
    ///
    /// When 4,095 runtimes are alive in this process.
    pub(crate) fn new() -> io::Result<Self> {
        let (id, remote) = registry::acquire()?;
        Ok(Self { id, remote })
    }

    #[inline]
    pub(crate) fn id(&self) -> RuntimeId {
        self.id
    }

    /// What other threads may touch of the runtime; it outlives this entry.
    pub(crate) fn remote(&self) -> &'static Remote {
        self.remote
    }
}

impl Drop for RegistryEntry {
    fn drop(&mut self) {
        registry::release(self.id, self.remote);
    }
}

impl fmt::Debug for RegistryEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

/// What other threads may touch of the runtime that has this entry of the registry.
#[derive(Default)]
pub(crate) struct Remote {
    /// The runtime's id; 0 if the entry is free.
    id: AtomicU32,
    state: AtomicU32,
    woken: WakeSet,
    inbox: Inbox,
    kernel: Mutex<Option<Kernel>>,
    /// The generation that the last task of the runtime before got.
    generation: AtomicU32,
    /// How many threads are between a mark and its notification.
    #[cfg(debug_assertions)]
    marking: AtomicU32,
}

/// What other threads use of the kernel's objects.
struct Kernel {
    notifier: EventFd,
    epoll: Arc<Epoll>,
}

/// For any thread.
impl Remote {
    fn has(&self, id: RuntimeId) -> bool {
        self.id.load(Ordering::Acquire) == id.to_bits()
    }

    fn wake(&self, slot: u32) {
        #[cfg(debug_assertions)]
        self.marking.fetch_add(1, Ordering::AcqRel);
        if self.woken.mark(slot) {
            self.notify();
        }
        #[cfg(debug_assertions)]
        self.marking.fetch_sub(1, Ordering::AcqRel);
    }

    fn send(&self, to: RuntimeId, message: Message) {
        if self.inbox.push(message, || self.has(to)) {
            self.notify();
        }
    }

    fn notify(&self) {
        if is_mutant("an owner that is awake is not notified")
            && self.state.load(Ordering::Acquire) & PARKED == 0
        {
            return;
        }
        if self.state.load(Ordering::Acquire) & NOTIFIED != 0 {
            return;
        }
        let before = self.state.fetch_or(NOTIFIED, Ordering::AcqRel);
        if before & (PARKED | NOTIFIED) == PARKED {
            self.end_wait();
        }
    }

    /// Ends the owner's wait in the kernel.
    fn end_wait(&self) {
        let kernel = self.kernel.lock();
        let result = kernel
            .as_ref()
            .map_or(Ok(()), |kernel| kernel.notifier.notify());
        drop(kernel);
        if let Err(error) = result {
            log::runtime_is_not_notified(&error);
        }
    }
}

/// For the owner.
impl Remote {
    /// How many slots one call of [`Remote::reserve`] makes room for, counted from a multiple of it.
    pub(crate) const RESERVED_AT_ONCE: u32 = BLOCK_BITS;

    fn open(&self, id: RuntimeId) {
        self.id.store(id.to_bits(), Ordering::Release);
    }

    /// Leaves nothing of this runtime to the next one.
    fn close(&self) {
        self.id.store(0, Ordering::Release);
        let kernel = self.kernel.lock().take();
        drop(kernel);
        drop(self.inbox.close());
        self.take_notified();
        self.woken.drain(|_| ());
    }

    /// Sets what ends the owner's wait, and what it waits on.
    pub(crate) fn set_notifier(&self, notifier: EventFd, epoll: Arc<Epoll>) {
        *self.kernel.lock() = Some(Kernel { notifier, epoll });
    }

    /// The generation that the last task got of the runtime that had this entry before.
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Leaves the generation of the last task to the next runtime, whose tasks go on from there.
    pub(crate) fn set_generation(&self, generation: u32) {
        self.generation.store(generation, Ordering::Relaxed);
    }

    /// Makes room for wakes of `slot`; the owner calls this before a waker for it exists.
    pub(crate) fn reserve(&self, slot: u32) {
        self.woken.reserve(slot);
    }

    /// Takes back the mark that the owner was notified; true if there was one.
    #[inline]
    pub(crate) fn take_notified(&self) -> bool {
        self.state.load(Ordering::Relaxed) & NOTIFIED != 0
            && self.state.fetch_and(!NOTIFIED, Ordering::AcqRel) & NOTIFIED != 0
    }

    /// Takes out every slot that was woken.
    pub(crate) fn drain_woken(&self, woken: impl FnMut(u32)) {
        self.woken.drain(woken);
    }

    /// Whether messages are known to be there; the owner learns of all of them by [`Remote::take_notified`].
    #[inline]
    pub(crate) fn has_messages(&self) -> bool {
        self.inbox.has_messages()
    }

    /// Takes the messages out.
    pub(crate) fn drain_inbox(&self) -> Vec<Message> {
        self.inbox.drain()
    }

    /// Takes no more messages; returns those that were not taken.
    pub(crate) fn close_inbox(&self) -> Vec<Message> {
        self.id.store(0, Ordering::Release);
        self.inbox.close()
    }

    /// Announces that the owner is about to wait; false, and no announcement, if it must not.
    pub(crate) fn park(&self) -> bool {
        if is_mutant("the owner parks in two steps") {
            let before = self.state.load(Ordering::Acquire);
            self.state.store(before | PARKED, Ordering::Release);
            return before & NOTIFIED == 0;
        }
        let before = self.state.fetch_or(PARKED, Ordering::AcqRel);
        if before & NOTIFIED != 0 {
            self.unpark();
        }
        before & NOTIFIED == 0
    }

    /// Announces that the owner is awake.
    pub(crate) fn unpark(&self) {
        self.state.fetch_and(!PARKED, Ordering::AcqRel);
    }

    /// Whether a slot is marked, and the owner neither is nor will be notified of it. The owner asks this when it is
    /// parked: a marker that has left has notified, and only the owner takes that back.
    #[cfg(debug_assertions)]
    pub(crate) fn has_lost_a_wake(&self) -> bool {
        self.woken.is_marked()
            && self.marking.load(Ordering::Acquire) == 0
            && self.state.load(Ordering::Acquire) & NOTIFIED == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn drained(remote: &Remote) -> Vec<u32> {
        let mut slots = Vec::new();
        remote.drain_woken(|slot| slots.push(slot));
        slots
    }

    #[test]
    fn a_drain_returns_each_marked_slot_once_in_order() {
        let remote = Remote::default();
        let slots = BTreeSet::from([0, 1, 63, 64, 4095, 4096, 262_143, 262_144, MAX_SLOTS - 1]);
        for &slot in &slots {
            remote.reserve(slot);
            remote.wake(slot);
            remote.wake(slot);
        }
        assert!(remote.take_notified());
        assert_eq!(drained(&remote), Vec::from_iter(slots));
        assert!(!remote.take_notified());
        assert_eq!(drained(&remote), []);
    }

    #[test]
    fn a_mark_where_no_room_was_made_is_ignored() {
        let remote = Remote::default();
        remote.wake(5);
        assert!(!remote.take_notified());
        assert_eq!(drained(&remote), []);
    }

    #[test]
    fn a_notified_owner_must_not_park() {
        let remote = Remote::default();
        remote.reserve(7);
        assert!(remote.park());
        remote.unpark();
        remote.wake(7);
        assert!(!remote.park());
        assert!(remote.take_notified());
        assert!(remote.park());
    }

    #[test]
    #[cfg(debug_assertions)]
    fn a_mark_of_which_the_owner_was_not_told_is_a_lost_wake() {
        let remote = Remote::default();
        remote.reserve(7);
        assert!(!remote.has_lost_a_wake());
        remote.wake(7);
        assert!(!remote.has_lost_a_wake());
        assert!(remote.take_notified());
        assert!(remote.has_lost_a_wake());
        remote.drain_woken(|_| ());
        assert!(!remote.has_lost_a_wake());
    }

    #[test]
    fn a_message_notifies_once_and_goes_to_the_runtime_that_it_names_only() {
        let entry = RegistryEntry::new().expect("there are indices left");
        let (id, remote) = (entry.id(), entry.remote());
        let later = id.next().expect("there are ids left");
        send(later, Message::ReleaseTimer(1));
        assert!(!remote.take_notified() && !remote.has_messages());
        send(id, Message::ReleaseTimer(2));
        send(id, Message::ReleaseTimer(3));
        assert!(remote.take_notified() && remote.has_messages());
        let messages = remote.drain_inbox();
        assert_eq!(
            messages,
            [Message::ReleaseTimer(2), Message::ReleaseTimer(3)]
        );
        assert!(!remote.has_messages());
        send(id, Message::ReleaseTimer(4));
        assert_eq!(remote.close_inbox(), [Message::ReleaseTimer(4)]);
        send(id, Message::ReleaseTimer(5));
        assert!(!remote.has_messages() && !is_alive(id));
    }
}
