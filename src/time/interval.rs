//! Ticks at a fixed period, counted from an absolute schedule.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::Instant;
use super::timer::{Timer, sleep_until};

/// Ticks every `period`, the first time at once.
///
/// The schedule is absolute: ticks that come late do not shift the later ones, so it cannot drift. What
/// happens when ticks are missed is set by [`Interval::set_missed_tick_behavior`].
///
/// # Panics
///
/// When `period` is zero.
///
/// # Examples
///
/// ```
/// use runtime::time::{Duration, interval};
///
/// # runtime::block_on(async {
/// let mut ticks = interval(Duration::from_micros(50));
/// let first = ticks.tick().await;
/// let second = ticks.tick().await;
/// assert_eq!(second - first, Duration::from_micros(50));
/// # });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks every `period`, the first time at `start`; see [`interval`].
///
/// # Panics
///
/// When `period` is zero.
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(
        !period.is_zero(),
        "the period of an interval must not be zero"
    );
    Interval {
        timer: sleep_until(start),
        period,
        missed: MissedTickBehavior::default(),
    }
}

/// How late a tick of a long period may be taken without counting as missed.
const TOLERANCE: Duration = Duration::from_millis(5);

/// What an [`Interval`] does when ticks were missed because nobody asked for them in time: more than 5 ms
/// late, or more than a period if that is shorter.
///
/// With a period of 50 ms and a consumer that first asks at 0, then is away until 175:
///
/// | policy | ticks return at | then |
/// |---|---|---|
/// | `Burst` | 0, 175, 175, 175 | 200, 250 |
/// | `Delay` | 0, 175 | 225, 275 |
/// | `Skip` | 0, 175 | 200, 250 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTickBehavior {
    /// Ticks at once until it has caught up. The default.
    #[default]
    Burst,
    /// Starts the schedule anew from the late tick.
    Delay,
    /// Leaves out the missed ticks and keeps to the schedule.
    Skip,
}

/// Ticks at a fixed period; made by [`interval`] and [`interval_at`].
#[derive(Debug)]
pub struct Interval {
    timer: Timer,
    period: Duration,
    missed: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next tick and returns when it was due, by the schedule.
    ///
    /// # Panics
    ///
    /// When polled outside of a runtime.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken no tick.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// Polls for the next tick; see [`tick`](Self::tick).
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(std::pin::Pin::new(&mut self.timer).poll(cx));
        let due = self.timer.deadline();
        self.timer.reset(self.next(due, Instant::now()));
        Poll::Ready(due)
    }

    /// When the tick after the one at `due` comes, taken at `now`.
    fn next(&self, due: Instant, now: Instant) -> Instant {
        let next = due + self.period;
        if now <= due + self.period.min(TOLERANCE) {
            return next;
        }
        match self.missed {
            MissedTickBehavior::Burst => next,
            MissedTickBehavior::Delay => now + self.period,
            MissedTickBehavior::Skip => {
                let late = (now - due).as_nanos();
                let into_period = late % self.period.as_nanos();
                let rest = self.period.as_nanos() - into_period;
                now + Duration::from_nanos(u64::try_from(rest).unwrap_or(u64::MAX))
            }
        }
    }

    /// Starts the schedule anew: the next tick comes one period from now.
    pub fn reset(&mut self) {
        self.timer.reset(Instant::now() + self.period);
    }

    /// Starts the schedule anew: the next tick comes at once.
    pub fn reset_immediately(&mut self) {
        self.timer.reset(Instant::now());
    }

    /// Starts the schedule anew: the next tick comes `after` from now.
    pub fn reset_after(&mut self, after: Duration) {
        self.timer.reset(Instant::now() + after);
    }

    /// Starts the schedule anew: the next tick comes at `deadline`.
    pub fn reset_at(&mut self, deadline: Instant) {
        self.timer.reset(deadline);
    }

    /// What happens when ticks are missed.
    #[must_use]
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Sets what happens when ticks are missed.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }

    /// The time from tick to tick.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::now() - Instant::now().elapsed() + Duration::from_millis(millis)
    }

    #[test]
    fn each_policy_schedules_the_tick_after_a_late_one() {
        let epoch = at(0);
        let millis = |millis| epoch + Duration::from_millis(millis);
        let cases = [
            (MissedTickBehavior::Burst, 50, 175, 100),
            (MissedTickBehavior::Delay, 50, 175, 225),
            (MissedTickBehavior::Skip, 50, 175, 200),
            (MissedTickBehavior::Skip, 50, 200, 250),
            (MissedTickBehavior::Skip, 50, 99, 100),
            (MissedTickBehavior::Delay, 50, 90, 140),
            (MissedTickBehavior::Delay, 50, 55, 100),
            (MissedTickBehavior::Skip, 50, 90, 100),
        ];
        for (policy, due, now, next) in cases {
            let mut interval = interval_at(epoch, Duration::from_millis(50));
            interval.set_missed_tick_behavior(policy);
            let scheduled = interval.next(millis(due), millis(now));
            assert_eq!(
                scheduled,
                millis(next),
                "{policy:?} due {due} taken at {now}"
            );
        }
    }
}
