//! The timer: a future that is done at a deadline.
//!
//! Called by users, `timeout` and `interval`; calls the current runtime's `reactor`.
//!
//! # Invariants
//!
//! 1. `registration` names an entry of a reactor exactly while that reactor holds one for this timer.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::Instant;
use crate::clock;
use crate::reactor::{Reactor, TimerKey};
use crate::remote::{self, Message, RuntimeId};
use crate::runtime::context::{self, waker_ref};

/// Waits until a time has passed.
///
/// Nothing is early: measured on the same clock, at least `duration` passes. A `duration` beyond the
/// clock's range (584 years), such as [`Duration::MAX`], means "never". Zero is done at once.
///
/// # Panics
///
/// The future panics when polled outside of a runtime, or by a waker that the end of its runtime wakes.
///
/// # Cancel safety
///
/// Dropping the timer ends it; nothing is lost.
///
/// # Examples
///
/// ```
/// use runtime::time::{Duration, sleep};
///
/// # runtime::block_on(async {
/// sleep(Duration::from_micros(100)).await;
/// # });
/// ```
pub fn sleep(duration: Duration) -> Timer {
    Timer::new(Instant::now() + duration)
}

/// Waits until a point in time, which may have passed already.
///
/// See [`sleep`] for panics and cancel safety.
pub fn sleep_until(deadline: Instant) -> Timer {
    Timer::new(deadline)
}

/// The future behind [`sleep`] and [`sleep_until`]; it can be reset.
///
/// It is `Unpin`, and `Send`: polled in another runtime than before, it moves there.
///
/// # Examples
///
/// ```
/// use runtime::time::{Duration, Instant, Timer, sleep};
///
/// # runtime::block_on(async {
/// let mut timer = sleep(Duration::MAX);
/// timer.reset(Instant::now() + Duration::from_micros(10));
/// (&mut timer).await;
/// assert!(timer.is_elapsed());
/// # });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Timer {
    deadline: Instant,
    registration: Option<Registration>,
}

/// Which entry of which runtime's reactor.
#[derive(Clone, Copy)]
struct Registration {
    runtime: RuntimeId,
    key: TimerKey,
}

impl Timer {
    fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            registration: None,
        }
    }

    /// When the timer is done.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the deadline has passed.
    #[must_use]
    pub fn is_elapsed(&self) -> bool {
        self.deadline <= Instant::now()
    }

    /// Sets another deadline, also after the timer was done.
    ///
    /// A task that waits for the timer is woken at the new deadline; it need not poll again for that,
    /// unless the timer was done already.
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        let Some(registration) = self.registration else {
            return;
        };
        let is_moved = in_reactor(registration.runtime, |reactor| {
            reactor.reset_timer(registration.key, deadline.nanos())
        });
        if is_moved != Some(true) {
            self.deregister_as(Message::WakeTimer);
        }
    }

    /// Polls for the deadline, at the cost of one unit of the budget.
    pub(super) fn poll_charged(&mut self, cx: &Context<'_>) -> Poll<()> {
        context::expect(|current| {
            let budget = current.executor.budget();
            let has_waited = self.registration.is_some();
            ready!(self.poll_in(&current.reactor, cx));
            // One that had to wait took real time; only one that was over from the start could be
            // polled without end.
            if !has_waited {
                ready!(budget.poll_proceed(cx));
            }
            budget.charge(1);
            Poll::Ready(())
        })
    }

    /// Polls for the deadline, whatever the budget: for a timeout, which must not depend on what the
    /// future inside has used up.
    pub(super) fn poll_free(&mut self, cx: &Context<'_>) -> Poll<()> {
        context::expect(|current| self.poll_in(&current.reactor, cx))
    }

    fn poll_in(&mut self, reactor: &Reactor, cx: &Context<'_>) -> Poll<()> {
        if let Some(registration) = self.registration {
            let is_here = registration.runtime == reactor.id();
            // A timer that has fired is done, also if the coarse clock is too far behind to tell.
            if is_here
                && clock::time_before(self.deadline.nanos()).is_some()
                && reactor.renew_timer(registration.key, waker_ref(cx))
            {
                return Poll::Pending;
            }
            self.deregister();
            if is_here {
                return Poll::Ready(());
            }
        }
        let deadline = self.deadline.nanos();
        let Some(now) = clock::time_before(deadline) else {
            return Poll::Ready(());
        };
        self.registration = Some(Registration {
            runtime: reactor.id(),
            key: reactor.insert_timer(deadline, now, waker_ref(cx)),
        });
        Poll::Pending
    }

    /// Gives the entry back, wherever it is.
    fn deregister(&mut self) {
        self.deregister_as(Message::ReleaseTimer);
    }

    fn deregister_as(&mut self, message: impl FnOnce(u32) -> Message) {
        let Some(Registration { runtime, key }) = self.registration.take() else {
            return;
        };
        if in_reactor(runtime, |reactor| reactor.remove_timer(key)).is_none() {
            remote::send(runtime, message(key.0));
        }
    }
}

/// Calls `call` with the reactor of a runtime, if that is the current one.
fn in_reactor<R>(runtime: RuntimeId, call: impl FnOnce(&Reactor) -> R) -> Option<R> {
    context::with(|current| {
        let current = current.filter(|current| current.reactor.id() == runtime)?;
        Some(call(&current.reactor))
    })
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().poll_charged(cx)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.deregister();
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
