//! Time: sleeping, timeouts and intervals, to the nanosecond.
//!
//! Deadlines are nanoseconds on `CLOCK_MONOTONIC`, which does not count while the machine is suspended.
//! A timer is never early, and late only by the kernel's and the loop's own delay. Any duration is
//! legal: one that reaches beyond the clock's range (584 years) means "never".
//!
//! Timers can be made without a runtime and belong to the runtime that polls them; only polling outside
//! of any runtime panics.
//!
//! # Examples
//!
//! ```
//! use runtime::time::{Duration, Instant, sleep};
//!
//! # runtime::block_on(async {
//! let before = Instant::now();
//! sleep(Duration::from_micros(50)).await;
//! assert!(before.elapsed() >= Duration::from_micros(50));
//! # });
//! ```

mod instant;
mod interval;
mod timeout;
mod timer;

pub use std::time::Duration;

pub use self::instant::Instant;
pub use self::interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use self::timeout::{Elapsed, Timeout, timeout, timeout_at};
pub use self::timer::{Timer, sleep, sleep_until};
