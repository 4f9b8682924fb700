//! A point in time: nanoseconds on the monotonic clock.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use crate::clock;
use crate::sync::{OnceLock, shared};

/// A point in time on `CLOCK_MONOTONIC`, to the nanosecond.
///
/// Like [`std::time::Instant`], and convertible from and to it, but arithmetic never panics: adding
/// stops at the end of the clock's range, 584 years after the machine started, which as a deadline means
/// "never"; subtracting stops at its start.
///
/// # Examples
///
/// ```
/// use runtime::time::{Duration, Instant};
///
/// let now = Instant::now();
/// assert!(now + Duration::MAX > now + Duration::from_secs(3600));
/// assert_eq!(now.checked_add(Duration::MAX), None);
/// assert_eq!((now + Duration::from_nanos(1)) - now, Duration::from_nanos(1));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    nanos: u64,
}

impl Instant {
    /// The end of the clock's range: as a deadline, never.
    pub(crate) const FAR: Self = Self { nanos: u64::MAX };

    /// Reads the clock.
    #[must_use]
    pub fn now() -> Self {
        Self {
            nanos: clock::now_ns(),
        }
    }

    /// Nanoseconds on the monotonic clock.
    pub(crate) fn nanos(self) -> u64 {
        self.nanos
    }

    /// The time since `earlier`, or zero if that is later.
    #[must_use]
    pub fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }

    /// The time since `earlier`, if it is not later.
    #[must_use]
    pub fn checked_duration_since(self, earlier: Self) -> Option<Duration> {
        let nanos = self.nanos.checked_sub(earlier.nanos)?;
        Some(Duration::from_nanos(nanos))
    }

    /// The time since `earlier`, or zero if that is later.
    #[must_use]
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.duration_since(earlier)
    }

    /// The time since then, or zero if it is yet to come.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().duration_since(self)
    }

    /// The point `duration` later, if the clock's range holds it.
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let nanos = u64::try_from(duration.as_nanos()).ok()?;
        let nanos = self.nanos.checked_add(nanos)?;
        Some(Self { nanos })
    }

    /// The point `duration` earlier, if the clock's range holds it.
    #[must_use]
    pub fn checked_sub(self, duration: Duration) -> Option<Self> {
        let nanos = u64::try_from(duration.as_nanos()).ok()?;
        let nanos = self.nanos.checked_sub(nanos)?;
        Some(Self { nanos })
    }

    /// Takes over an instant of the standard library; a later one than its exact equal, by the time that
    /// reading two clocks took once in this process (well under a microsecond).
    #[must_use]
    pub fn from_std(instant: std::time::Instant) -> Self {
        let anchor = Anchor::get();
        match instant.checked_duration_since(anchor.std) {
            Some(after) => anchor.ours + after,
            None => anchor.ours - anchor.std.duration_since(instant),
        }
    }

    /// The same point for the standard library; the inverse of [`from_std`](Self::from_std).
    ///
    /// One that the standard library cannot express becomes the latest that this process can, a
    /// century from its first conversion.
    #[must_use]
    pub fn into_std(self) -> std::time::Instant {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        let anchor = Anchor::get();
        let converted = match self.checked_duration_since(anchor.ours) {
            Some(after) => anchor.std.checked_add(after),
            None => anchor.std.checked_sub(anchor.ours.duration_since(self)),
        };
        converted.unwrap_or_else(|| anchor.std.checked_add(CENTURY).unwrap_or(anchor.std))
    }
}

/// One point on both clocks, which are the same clock read by different code.
struct Anchor {
    std: std::time::Instant,
    ours: Instant,
}

impl Anchor {
    /// Ours is read second, so a converted deadline is not early.
    fn get() -> &'static Self {
        shared! {
            static ANCHOR: OnceLock<Anchor> = OnceLock::new();
        }
        ANCHOR.get_or_init(|| Self {
            std: std::time::Instant::now(),
            ours: Instant::now(),
        })
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Stops at the end of the clock's range.
    fn add(self, duration: Duration) -> Self {
        self.checked_add(duration).unwrap_or(Self::FAR)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    /// Stops at the start of the clock's range.
    fn sub(self, duration: Duration) -> Self {
        self.checked_sub(duration).unwrap_or(Self { nanos: 0 })
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Zero if `earlier` is later.
    fn sub(self, earlier: Self) -> Duration {
        self.duration_since(earlier)
    }
}

impl From<std::time::Instant> for Instant {
    fn from(instant: std::time::Instant) -> Self {
        Self::from_std(instant)
    }
}

impl From<Instant> for std::time::Instant {
    fn from(instant: Instant) -> Self {
        instant.into_std()
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Instant")
            .field(&Duration::from_nanos(self.nanos))
            .finish()
    }
}
