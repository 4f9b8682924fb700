//! The system calls of `raw`, each in a function that is safe to call.

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
        // SAFETY: the call takes no pointer.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        check(fd)?;
        Ok(Self {
            // SAFETY: the kernel has just made this descriptor, for nobody else.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            events: Vec::with_capacity(EVENTS),
        })
    }

    /// Registers a descriptor for its life, edge-triggered, for reading and writing.
    pub(super) fn add(&self, fd: &impl AsRawFd, token: u64) -> io::Result<()> {
        let interest = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        let mut event = epoll_event {
            events: interest.cast_unsigned(),
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

/// Takes a connection from the listener; nonblocking and close-on-exec.
pub(super) fn accept(listener: &impl AsRawFd) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let (address, length) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the kernel does not write an address where it is given none.
    let fd = unsafe { libc::accept4(listener.as_raw_fd(), address, length, flags) };
    check(fd)?;
    // SAFETY: the kernel has just made this descriptor, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Receives into `buffer`; returns how many bytes came.
pub(super) fn receive(fd: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (start, length) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: `start` is valid for writes of `length` bytes during the call.
    count(unsafe { libc::recv(fd.as_raw_fd(), start, length, 0) })
}

/// Sends from `buffer`; returns how many bytes the kernel took.
pub(super) fn send(fd: &impl AsRawFd, buffer: &[u8]) -> io::Result<usize> {
    let (start, length) = (buffer.as_ptr().cast(), buffer.len());
    // SAFETY: `start` is valid for reads of `length` bytes during the call.
    count(unsafe { libc::send(fd.as_raw_fd(), start, length, libc::MSG_NOSIGNAL) })
}

fn check(result: c_int) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn count(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
