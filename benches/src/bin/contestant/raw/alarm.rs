//! What ends a wait without a socket: a timer, and a wake from another thread.

#![expect(
    unsafe_code,
    reason = "`raw` calls the kernel through `libc`, to be the floor"
)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Arc;
use std::task::Wake;
use std::time::Duration;

use libc::{itimerspec, timespec};

use super::epoll::{check, owned};

/// A timerfd on the monotonic clock.
pub(super) struct Timer(OwnedFd);

impl Timer {
    pub(super) fn new() -> io::Result<Self> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: the call takes no pointer.
        owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) }).map(Self)
    }

    /// Sets the time until the next event; at least a nanosecond, as 0 would mean never.
    pub(super) fn set(&self, duration: Duration) -> io::Result<()> {
        let duration = duration.max(Duration::from_nanos(1));
        let time = itimerspec {
            it_interval: timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: timespec {
                tv_sec: duration.as_secs().cast_signed(),
                tv_nsec: duration.subsec_nanos().into(),
            },
        };
        let (fd, old) = (self.as_raw_fd(), ptr::null_mut());
        // SAFETY: `time` is valid for the call, and the kernel does not write where it is given no `old`.
        check(unsafe { libc::timerfd_settime(fd, 0, &raw const time, old) }).map(drop)
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// An eventfd that another thread writes to.
pub(super) struct Bell(OwnedFd);

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointer.
        owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }).map(Self)
    }

    fn ring(&self) -> io::Result<()> {
        let one = 1_u64.to_ne_bytes();
        let (start, length) = (one.as_ptr().cast(), one.len());
        // SAFETY: `start` is valid for reads of `length` bytes during the call.
        check(unsafe { libc::write(self.as_raw_fd(), start, length) }).map(drop)
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Each write is an edge for epoll, so nobody needs to read the counter.
        self.ring().expect("the counter has room");
    }
}
