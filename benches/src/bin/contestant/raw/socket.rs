//! A socket's system calls, each in a function that is safe to call.

#![expect(
    unsafe_code,
    reason = "`raw` calls the kernel through `libc`, to be the floor"
)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::epoll::{check, owned};

/// The events of a connection.
pub(super) const INTEREST: libc::c_int = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP;

/// Takes a connection from the listener; nonblocking and close-on-exec.
pub(super) fn accept(listener: &impl AsRawFd) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let (address, length) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the kernel does not write an address where it is given none.
    owned(unsafe { libc::accept4(listener.as_raw_fd(), address, length, flags) })
}

/// Receives into `buffer`; returns how many bytes came.
pub(super) fn receive(fd: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (start, length) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: `start` is valid for writes of `length` bytes during the call.
    check(unsafe { libc::recv(fd.as_raw_fd(), start, length, 0) })
}

/// Sends from `buffer`; returns how many bytes the kernel took.
pub(super) fn send(fd: &impl AsRawFd, buffer: &[u8]) -> io::Result<usize> {
    let (start, length) = (buffer.as_ptr().cast(), buffer.len());
    // SAFETY: `start` is valid for reads of `length` bytes during the call.
    check(unsafe { libc::send(fd.as_raw_fd(), start, length, libc::MSG_NOSIGNAL) })
}
