//! The monotonic clock, in nanoseconds.

use std::time::Duration;

use libc::{CLOCK_MONOTONIC, timespec};

/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Reads `CLOCK_MONOTONIC`: nanoseconds since an unspecified start (`clock_gettime(2)`).
///
/// The clock never goes back and does not count while the machine is suspended.
pub(crate) fn monotonic() -> u64 {
    let mut now = timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer must be valid for writing one `timespec`: it is the local above.
    let result = unsafe { libc::clock_gettime(CLOCK_MONOTONIC, &raw mut now) };
    debug_assert_eq!(result, 0, "the kernel always has a monotonic clock");
    now.tv_sec.cast_unsigned() * SECOND + now.tv_nsec.cast_unsigned()
}

/// A duration in nanoseconds; one of more than 584 years is as long as can be told.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
