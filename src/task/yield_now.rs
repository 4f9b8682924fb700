//! Letting the other tasks run.

use std::future::poll_fn;
use std::task::Poll;

/// Lets every other task that is due run before this one goes on.
///
/// The task goes to the back of the queue. I/O, timers and wakes from other threads are seen to even
/// if a task does nothing but yield.
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
pub async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
