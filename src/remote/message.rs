//! What another thread asks of a runtime: numbers only, so nothing foreign is dropped with a message.

use crate::sys::direction::Direction;

/// A message to a runtime. Sources and timers are named by their keys in its reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The socket is gone: free its entry, and wake its waiters.
    ReleaseSource(u32),
    /// Other runtimes wait for the descriptor of this source, too: those of this list. Remember its key there.
    NowShared(u32, u64),
    /// The wait with this ticket has ended.
    CancelWait(u32, Direction, u64),
    /// The timer is gone, or has moved: free its entry.
    ReleaseTimer(u32),
    /// The timer has another deadline: free its entry and wake its waiter, to poll it again.
    WakeTimer(u32),
}
