//! A timerfd on the monotonic clock (`timerfd_create(2)`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use super::clock::SECOND;
use super::{check, uninterrupted};

/// A timer descriptor: it becomes readable at an absolute time.
///
/// Registered edge-triggered, each expiry is an edge, so nobody needs to read it.
#[derive(Debug)]
pub(crate) struct TimerFd {
    fd: OwnedFd,
}

impl TimerFd {
    pub(crate) fn new() -> io::Result<Self> {
        const FLAGS: libc::c_int = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        let fd = if cfg!(miri) {
            // SAFETY: no pointers are passed.
            check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?
        } else {
            // SAFETY: no pointers are passed.
            check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, FLAGS) })?
        };
        Ok(Self {
            // SAFETY: the kernel just made `fd`, and nobody else knows it.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
        })
    }

    /// Sets the one expiry to `deadline`, nanoseconds on the monotonic clock.
    ///
    /// A deadline that has passed expires at once. Zero, which would disarm, counts as one.
    pub(crate) fn arm(&self, deadline: u64) -> io::Result<()> {
        if cfg!(miri) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let deadline = deadline.max(1);
        let setting = libc::itimerspec {
            it_interval: libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: libc::timespec {
                tv_sec: (deadline / SECOND).cast_signed(),
                tv_nsec: (deadline % SECOND).cast_signed(),
            },
        };
        uninterrupted(|| {
            // SAFETY: the new setting must be valid for reading, it is the local above; the old one
            // may be null.
            check(unsafe {
                libc::timerfd_settime(
                    self.fd.as_raw_fd(),
                    libc::TFD_TIMER_ABSTIME,
                    &raw const setting,
                    ptr::null_mut(),
                )
            })
        })?;
        Ok(())
    }
}

impl AsFd for TimerFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
