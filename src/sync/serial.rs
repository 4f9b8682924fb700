//! Numbers of which each is handed out once, to any thread.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts up from 1, and never begins anew: a number that came back would name two things.
pub(crate) struct Serial(AtomicU32);

impl Serial {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(1))
    }

    /// The next number.
    ///
    /// # Errors
    ///
    /// `QuotaExceeded` when all 4,294,967,294 are used up, for ever.
    pub(crate) fn next(&self) -> io::Result<u32> {
        let next = |number: u32| number.checked_add(1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.0.fetch_update(set, fetch, next).map_err(|_| {
            io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "this process has made 4,294,967,294 runtimes, and there are no numbers for more",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_and_do_not_begin_anew() {
        let serial = Serial(AtomicU32::new(u32::MAX - 1));
        assert_eq!(serial.next().unwrap(), u32::MAX - 1);
        for _ in 0..3 {
            let error = serial.next().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        }
    }
}
