//! The cooperative budget: spending it, lifting it, asking for it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::runtime::context;

/// Takes one unit of the task's budget, and yields if none is left.
///
/// For computations that would otherwise keep the thread: sockets, timers and join handles do the same
/// by themselves.
///
/// # Cancel safety
///
/// Dropping the future has no effect.
///
/// # Examples
///
/// ```
/// # runtime::block_on(async {
/// let mut sum = 0_u64;
/// for number in 0..10_000 {
///     sum += number;
///     runtime::task::consume_budget().await;
/// }
/// assert_eq!(sum, 49_995_000);
/// # });
/// ```
pub async fn consume_budget() {
    poll_fn(|cx| {
        ready!(poll_budget(cx));
        charge_budget();
        Poll::Ready(())
    })
    .await;
}

/// Whether the running task should yield: it has used its budget, or the tick has used its time
/// ([`Builder::time_slice`](crate::Builder::time_slice)).
///
/// For long computations, and for loops over something that is always ready, such as the messages of a
/// channel. The first call in a tick starts the clock if nothing else has. Each call reads the clock (some
/// 20 ns). Outside a runtime it returns false.
///
/// # Examples
///
/// ```
/// # runtime::block_on(async {
/// let mut sum = 0_u64;
/// for number in 0..10_000 {
///     sum += number;
///     if number % 64 == 0 && runtime::task::should_yield() {
///         runtime::task::yield_now().await;
///     }
/// }
/// assert_eq!(sum, 49_995_000);
/// # });
/// ```
#[must_use]
pub fn should_yield() -> bool {
    context::with(|current| current.is_some_and(|current| current.executor.should_yield()))
}

/// Lets the task go on while budget is left; outside a runtime there is no limit.
pub(super) fn poll_budget(cx: &Context<'_>) -> Poll<()> {
    context::with(|current| match current {
        Some(current) => current.executor.budget().poll_proceed(cx),
        None => Poll::Ready(()),
    })
}

/// Takes a unit for something that made progress.
pub(super) fn charge_budget() {
    context::with(|current| {
        if let Some(current) = current {
            current.executor.budget().charge(1);
        }
    });
}

/// Lifts the budget for a future: sockets and timers in it never make it yield.
///
/// It may then keep the thread for as long as they are ready.
///
/// # Examples
///
/// ```
/// # runtime::block_on(async {
/// let task = runtime::spawn(async { 42 });
/// assert_eq!(runtime::task::unconstrained(task).await.unwrap(), 42);
/// # });
/// ```
pub fn unconstrained<F>(future: F) -> Unconstrained<F> {
    Unconstrained { future }
}

pin_project! {
    /// The future behind [`unconstrained`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Unconstrained<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Unconstrained<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.project().future;
        context::with(|current| match current {
            Some(current) => current.executor.budget().unconstrained(|| future.poll(cx)),
            None => future.poll(cx),
        })
    }
}
