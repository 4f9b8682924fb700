//! The time: the one place that reads a clock, below executor and reactor.
//!
//! Called by `reactor`, `executor` and `time`; calls `sys::clock`. To pause or simulate the time, change these
//! functions and nothing else.

use std::time::Duration;

use crate::sys::clock;

/// How far the coarse clock is taken to be behind at most: four ticks of a kernel with 100 a second, and longer than
/// processors wait for one that has stopped to count them.
const COARSE_LAG: u64 = 1 << 26;

/// Nanoseconds on the monotonic clock, which never goes back and does not count while the machine is suspended.
#[inline]
pub(crate) fn now_ns() -> u64 {
    clock::monotonic()
}

/// A time shortly before now, if it is before a deadline on the monotonic clock; `None` if the deadline has passed.
///
/// One that is more than 67 ms away costs a fifth of a reading of the clock. It is never said to have passed too early; if the
/// kernel has not counted ticks for 67 ms it may be said not to have passed yet.
#[inline]
pub(crate) fn time_before(deadline: u64) -> Option<u64> {
    let coarse = clock::monotonic_coarse();
    let is_near = deadline.saturating_sub(coarse) <= COARSE_LAG;
    let now = if is_near { now_ns() } else { coarse };
    (now < deadline).then_some(now)
}

/// A duration in nanoseconds; more than 584 years count as 584.
pub(crate) fn duration_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
