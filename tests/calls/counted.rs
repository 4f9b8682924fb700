//! The functions of libc that this binary counts, for everything that is linked into it.
//!
//! A symbol of the program comes before libc's of the same name. Each makes the system call itself and adds one
//! to this thread's count.
#![expect(
    unsafe_code,
    reason = "what takes the place of libc's functions has their signatures"
)]

use std::cell::Cell;
use std::ffi::c_void;
use std::ops::Sub;
use std::ptr;

use libc::{c_int, c_long, epoll_event, size_t, sockaddr, socklen_t, ssize_t};

/// How often one function was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub calls: u64,
    /// How many of the calls failed with `EAGAIN`.
    pub again: u64,
}

/// How often this thread called each function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Calls {
    pub accept: Count,
    pub recv: Count,
    pub epoll_ctl: Count,
    pub epoll_wait: Count,
}

impl Count {
    const NONE: Self = Self { calls: 0, again: 0 };
}

thread_local! {
    static CALLS: Cell<Calls> = const {
        Cell::new(Calls {
            accept: Count::NONE,
            recv: Count::NONE,
            epoll_ctl: Count::NONE,
            epoll_wait: Count::NONE,
        })
    };
}

/// What this thread has called so far.
pub(super) fn calls() -> Calls {
    CALLS.get()
}

impl Sub for Count {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            calls: self.calls - earlier.calls,
            again: self.again - earlier.again,
        }
    }
}

impl Sub for Calls {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            accept: self.accept - earlier.accept,
            recv: self.recv - earlier.recv,
            epoll_ctl: self.epoll_ctl - earlier.epoll_ctl,
            epoll_wait: self.epoll_wait - earlier.epoll_wait,
        }
    }
}

/// Counts a call with this result.
fn count(which: impl FnOnce(&mut Calls) -> &mut Count, result: c_long) {
    let mut calls = CALLS.get();
    let count = which(&mut calls);
    count.calls += 1;
    // SAFETY: no arguments are passed.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the pointer is this thread's `errno`, which lives as long as the thread.
    if result < 0 && unsafe { *errno } == libc::EAGAIN {
        count.again += 1;
    }
    CALLS.set(calls);
}

/// Defines functions that make a system call and count it.
macro_rules! interpose {
    ($(fn $name:ident($($parameter:ident: $type:ty),*) -> $result:ty
        => $field:ident, $number:ident($($argument:expr),*);)*) => {$(
        // SAFETY: the signature is that of libc's function, and the system call does what that one does.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($parameter: $type),*) -> $result {
            // SAFETY: the caller keeps what libc's function, and so the system call, asks for.
            let result = unsafe { libc::syscall(libc::$number, $($argument),*) };
            count(|calls| &mut calls.$field, result);
            <$result>::try_from(result).expect("the kernel answers with what the function returns")
        }
    )*};
}

interpose! {
    fn accept4(fd: c_int, address: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int
        => accept, SYS_accept4(fd, address, length, flags);
    fn recv(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t
        => recv, SYS_recvfrom(fd, buffer, length, flags, NULL, NULL);
    fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut epoll_event) -> c_int
        => epoll_ctl, SYS_epoll_ctl(epoll, operation, fd, event);
    fn epoll_wait(epoll: c_int, events: *mut epoll_event, room: c_int, timeout: c_int) -> c_int
        => epoll_wait, SYS_epoll_pwait(epoll, events, room, timeout, NULL, 0);
}

/// A pointer that is not given.
const NULL: *const c_void = ptr::null();
