//! The system calls of a socket's hot paths: `accept4`, `recv`, `send` and their vectored kin.
//!
//! Creation, options and addresses are `socket2`'s; `std` repeats nothing here because its calls
//! leave out `MSG_NOSIGNAL` or need a second call for the flags.
//!
//! # Invariants
//!
//! 1. Transfers never block, whatever `O_NONBLOCK` says: all duplicates of a socket share that flag, and another
//!    owner may clear it. `accept4` has no such flag; it goes by `O_NONBLOCK`.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use socket2::SockAddr;

use super::{check, check_len, uninterrupted};

/// How many slices one vectored call takes (`UIO_MAXIOV`); longer lists are cut.
pub(crate) const MAX_SLICES: usize = 1024;

const SEND_FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// Takes a connection off the listener's backlog, nonblocking and close-on-exec, and its peer's address, which is
/// of the listener's family.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    const FLAGS: libc::c_int = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let take = |storage: *mut socket2::SockAddrStorage, len: *mut libc::socklen_t| {
        // SAFETY: `storage` must be valid for writing `*len` bytes and `len` for reading and
        // writing: `try_init` makes both and passes the storage's size.
        let fd = check(unsafe { libc::accept4(listener.as_raw_fd(), storage.cast(), len, FLAGS) })?;
        // SAFETY: the kernel just made `fd`, and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    // SAFETY: the closure must leave a valid address in the storage, of the length that it sets:
    // the kernel does so when `accept4` succeeds, and on errors nothing is read.
    uninterrupted(|| unsafe { SockAddr::try_init(take) })
}

/// Receives into `buffer`; 0 is the end of the stream, or an empty buffer.
#[inline]
pub(crate) fn recv(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    recv_flags(socket, buffer, libc::MSG_DONTWAIT)
}

/// Copies what could be received into `buffer` and leaves it in the socket.
pub(crate) fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    recv_flags(socket, buffer, libc::MSG_DONTWAIT | libc::MSG_PEEK)
}

#[inline]
fn recv_flags(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    uninterrupted(|| {
        // SAFETY: the pointer must be valid for writing `len` bytes: both are the slice's.
        check_len(unsafe {
            libc::recv(
                socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                flags,
            )
        })
    })
}

/// Sends from `buffer`; a peer that is gone is the error `EPIPE`, never a signal.
#[inline]
pub(crate) fn send(socket: BorrowedFd<'_>, buffer: &[u8]) -> io::Result<usize> {
    uninterrupted(|| {
        // SAFETY: the pointer must be valid for reading `len` bytes: both are the slice's.
        check_len(unsafe {
            libc::send(
                socket.as_raw_fd(),
                buffer.as_ptr().cast(),
                buffer.len(),
                SEND_FLAGS,
            )
        })
    })
}

/// Receives into several buffers, filling one after the other.
pub(crate) fn recv_vectored(
    socket: BorrowedFd<'_>,
    buffers: &mut [IoSliceMut<'_>],
) -> io::Result<usize> {
    let mut message = empty_message();
    message.msg_iov = buffers.as_mut_ptr().cast();
    message.msg_iovlen = buffers.len().min(MAX_SLICES);
    uninterrupted(|| {
        // SAFETY: `msg_iov` must point to `msg_iovlen` iovecs valid for writing: `IoSliceMut` has
        // the layout of `iovec`, the count is at most the slice's, and both live over the call.
        check_len(unsafe {
            libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT)
        })
    })
}

/// Sends from several buffers, one after the other; a peer that is gone is the error `EPIPE`.
pub(crate) fn send_vectored(socket: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut message = empty_message();
    message.msg_iov = buffers.as_ptr().cast_mut().cast();
    message.msg_iovlen = buffers.len().min(MAX_SLICES);
    uninterrupted(|| {
        // SAFETY: `msg_iov` must point to `msg_iovlen` iovecs valid for reading, which `sendmsg`
        // does not write: `IoSlice` has the layout of `iovec`, the count is at most the slice's,
        // and both live over the call.
        check_len(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, SEND_FLAGS) })
    })
}

fn empty_message() -> libc::msghdr {
    // SAFETY: zero bytes must be a valid `msghdr`: it holds integers and pointers that may be null.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = ptr::null_mut();
    message
}
