//! Letting the other tasks run.

use std::pin::Pin;
use std::task::{Context, Poll};

/// Lets other tasks that are due run before this one goes on.
///
/// The task goes behind all that were spawned, have yielded or were woken by a task; what events, timers and other
/// threads wake takes turns with these. The main future, when it yields, goes on in the next tick, or when no
/// task is due. I/O, timers and wakes from other threads are seen to even if a task does nothing but yield.
///
/// # Cancel safety
///
/// Dropping the future has no effect.
///
/// # Examples
///
/// ```
/// # runtime::block_on(async {
/// let task = runtime::spawn(async { 42 });
/// runtime::task::yield_now().await;
/// assert!(task.is_finished());
/// # });
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { has_yielded: false }
}

/// The future behind [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct YieldNow {
    has_yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_yielded {
            return Poll::Ready(());
        }
        self.has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
