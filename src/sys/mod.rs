//! The kernel, one object per file, behind safe signatures.
//!
//! Called by `executor`, `reactor`, `net`, `runtime` and `time`; calls libc and nothing of this crate.
//!
//! # Invariants
//!
//! 1. Descriptors come in as `BorrowedFd` and go out as `OwnedFd`, close-on-exec from birth.
//! 2. `EINTR` never leaves this module: a call is repeated, and an interrupted wait reports no events.
//! 3. What a child process shares with its parent since a fork is left as it is.
//! 4. No other module makes a system call by hand. (Socket options and addresses are `socket2`'s.)
//! 5. Miri runs this too (`.ci/miri`). It has no timerfd, no forks, and neither levels nor urgent data in its epoll: there
//!    setting a timer fails, so the loop reads the clock each millisecond, and all is watched by edge.

#![expect(unsafe_code, reason = "system calls are foreign functions")]

pub(crate) mod cell;
pub(crate) mod clock;
pub(crate) mod direction;
pub(crate) mod epoll;
pub(crate) mod event_fd;
pub(crate) mod fork;
#[cfg(runtime_loom)]
pub(crate) mod modelled;
pub(crate) mod pages;
pub(crate) mod scoped;
pub(crate) mod socket;
pub(crate) mod thread;
pub(crate) mod timer_fd;

use std::io;

/// Turns the kernel's -1 into the error that `errno` names.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Turns a byte count or -1 into a length or the error that `errno` names.
fn check_len(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Repeats a system call for as long as a signal interrupts it.
#[inline]
fn uninterrupted<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
