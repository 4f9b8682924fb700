//! The events that the runtime emits with `tracing`; none without that feature.
//!
//! Called where an error has no caller to go to.

#![cfg_attr(
    not(feature = "tracing"),
    expect(unused_variables, reason = "only events have a use for the errors")
)]

use std::io;

/// `accept` ran out of something.
pub(crate) fn accept_backs_off(error: &io::Error) {
    #[cfg(feature = "tracing")]
    tracing::warn!(%error, retry_ms = 50, "accept ran out of descriptors or memory and will retry");
}

/// The timer descriptor cannot be armed.
pub(crate) fn timer_is_not_armed(error: &io::Error) {
    #[cfg(feature = "tracing")]
    tracing::warn!(%error, "timerfd_settime failed, so the clock is read each millisecond");
}

/// The eventfd cannot be written.
pub(crate) fn runtime_is_not_notified(error: &io::Error) {
    #[cfg(feature = "tracing")]
    tracing::error!(%error, "could not wake a parked runtime");
}
