//! A time limit around a future.

use std::error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::Instant;
use super::timer::{Timer, sleep, sleep_until};
use crate::runtime::context;

/// Limits how long a future may take.
///
/// The future is polled first, so one that is ready wins, even if the time has passed; it is also polled
/// at least once. The limit holds whatever the future did with its budget. A `duration` beyond the
/// clock's range means no limit.
///
/// # Errors
///
/// The future's output is [`Elapsed`] when the time has passed.
///
/// # Panics
///
/// The future panics when it has to wait outside of a runtime.
///
/// # Cancel safety
///
/// When the time has passed, the inner future is dropped with the `Timeout`, or can be taken out by
/// [`Timeout::into_inner`]. Dropping is safe if dropping the inner future is.
///
/// # Examples
///
/// ```
/// use runtime::time::{Duration, timeout};
///
/// # runtime::block_on(async {
/// assert_eq!(timeout(Duration::from_secs(5), async { 42 }).await, Ok(42));
/// let never = std::future::pending::<()>();
/// assert!(timeout(Duration::from_micros(10), never).await.is_err());
/// # });
/// ```
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout {
        future: future.into_future(),
        timer: sleep(duration),
    }
}

/// Limits until when a future may take; see [`timeout`].
///
/// # Errors
///
/// The future's output is [`Elapsed`] when the deadline has passed.
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout {
        future: future.into_future(),
        timer: sleep_until(deadline),
    }
}

pin_project! {
    /// The future behind [`timeout`] and [`timeout_at`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        timer: Timer,
    }
}

impl<F> Timeout<F> {
    /// The future that is limited.
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The future that is limited.
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// Lifts the limit.
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let had_budget = has_budget();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        // A future that uses up the whole budget is to time out all the same.
        let elapsed = match had_budget && !has_budget() {
            true => this.timer.poll_free(cx),
            false => this.timer.poll_charged(cx),
        };
        elapsed.map(|()| Err(Elapsed(())))
    }
}

/// Whether the running task has units of its budget left.
fn has_budget() -> bool {
    context::with(|current| current.is_some_and(|current| current.executor.budget().is_left()))
}

/// The time limit of a [`Timeout`] has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(io::ErrorKind::TimedOut, elapsed)
    }
}
