//! Waiting for the kernel: epoll's system calls, each in a function that is safe to call.

#![expect(
    unsafe_code,
    reason = "`raw` calls the kernel through `libc`, to be the floor"
)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, epoll_event};

/// Events that one wait takes.
const EVENTS: usize = 1024;

/// An epoll instance and room for its events.
pub(super) struct Epoll {
    fd: OwnedFd,
    events: Vec<epoll_event>,
}

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            // SAFETY: the call takes no pointer.
            fd: owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?,
            events: Vec::with_capacity(EVENTS),
        })
    }

    /// Registers a descriptor for its life, edge-triggered.
    pub(super) fn add(&self, fd: &impl AsRawFd, token: u64, interest: c_int) -> io::Result<()> {
        let mut event = epoll_event {
            events: (interest | libc::EPOLLET).cast_unsigned(),
            u64: token,
        };
        let (epoll, fd) = (self.fd.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: `event` is valid for the call, which keeps no pointer to it.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) })?;
        Ok(())
    }

    /// Waits for events; without any, for ever (`wait`) or not at all.
    pub(super) fn wait(&mut self, wait: bool) -> io::Result<&[epoll_event]> {
        self.events.clear();
        let (epoll, timeout) = (self.fd.as_raw_fd(), if wait { -1 } else { 0 });
        let room = c_int::try_from(EVENTS).expect("the number is small");
        let events = self.events.as_mut_ptr();
        // SAFETY: `events` has room for `EVENTS` entries: `new` reserved it.
        let count = check(unsafe { libc::epoll_wait(epoll, events, room, timeout) })?;
        // SAFETY: the kernel has written the first `count` entries, and `count` is at most `EVENTS`.
        unsafe { self.events.set_len(count) };
        Ok(&self.events)
    }
}

/// A descriptor that a system call has just made, or that call's error.
pub(super) fn owned(fd: c_int) -> io::Result<OwnedFd> {
    check(fd)?;
    // SAFETY: it is not negative, so the kernel has made it, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What a system call has counted, or its error.
pub(super) fn check(result: impl TryInto<usize>) -> io::Result<usize> {
    result.try_into().map_err(|_| io::Error::last_os_error())
}
