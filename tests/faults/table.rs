//! Which errors each call may answer with, and what each of them must come to.
//!
//! Only what a kernel could answer is here. So a call that says `EAGAIN` on an edge-triggered descriptor is
//! followed by an event, one that says `EINTR` has begun to connect, and one that finds nothing to delete
//! leaves nothing. `EPERM` stands for what a filter of system calls may answer to any of them. Errors that
//! only a wrong argument brings (`EBADF`, `EFAULT`, `EINVAL`) are left out; so is all but `EINTR` for
//! `epoll_wait`, which then panics and says so in its documentation.

use libc::{
    EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EAGAIN, ECONNABORTED, ECONNREFUSED,
    ECONNRESET, EHOSTDOWN, EHOSTUNREACH, EINTR, EMFILE, ENETDOWN, ENETUNREACH, ENFILE, ENOBUFS,
    ENODEV, ENOENT, ENOMEM, ENONET, ENOPROTOOPT, ENOSPC, ENOTCONN, EPERM, EPIPE, EPROTO, ETIMEDOUT,
    c_int,
};

use super::journal::Outcome::{self, Mended, Reported};
use super::script::Call::{self, *};
use super::script::Way::{self, Announced, Done, Refused};

/// Errors of one call that come to the same.
pub(crate) struct Row {
    pub(crate) call: Call,
    pub(crate) errors: &'static [c_int],
    pub(crate) way: Way,
    pub(crate) outcome: Outcome,
}

const fn row(call: Call, errors: &'static [c_int], way: Way, outcome: Outcome) -> Row {
    Row {
        call,
        errors,
        way,
        outcome,
    }
}

pub(crate) const TABLE: &[Row] = &[
    row(EpollCreate, &[EMFILE, ENFILE, ENOMEM], Refused, Reported),
    row(EpollAdd, &[EINTR], Refused, Mended),
    row(EpollAdd, &[ENOMEM, ENOSPC, EPERM], Refused, Reported),
    row(EpollMod, &[EINTR], Refused, Mended),
    row(EpollMod, &[ENOMEM], Refused, Reported),
    row(EpollDel, &[EINTR], Refused, Mended),
    row(EpollDel, &[ENOENT], Done, Mended),
    row(EpollWait, &[EINTR], Refused, Mended),
    row(
        EventFd,
        &[EMFILE, ENFILE, ENODEV, ENOMEM],
        Refused,
        Reported,
    ),
    row(
        TimerFdCreate,
        &[EMFILE, ENFILE, ENODEV, ENOMEM],
        Refused,
        Reported,
    ),
    // The clock is then read each millisecond.
    row(TimerFdSetTime, &[EINTR, ENOMEM, EPERM], Refused, Mended),
    row(Write, &[EINTR], Refused, Mended),
    // The counter of the bell is full, so it is readable.
    row(Write, &[EAGAIN], Done, Mended),
    // Listeners are reported by level, so nothing is lost with `EAGAIN`.
    row(Accept, &[EINTR, EAGAIN], Refused, Mended),
    row(Accept, ACCEPT_TRANSIENT, Refused, Mended),
    row(Accept, ACCEPT_EXHAUSTED, Refused, Mended),
    row(Accept, &[EPERM], Refused, Reported),
    row(Recv, &[EINTR], Refused, Mended),
    row(Recv, &[EAGAIN], Announced, Mended),
    row(Recv, &[ECONNRESET, ETIMEDOUT, ENOMEM], Refused, Reported),
    row(RecvMsg, &[EINTR], Refused, Mended),
    row(RecvMsg, &[EAGAIN], Announced, Mended),
    row(RecvMsg, &[ECONNRESET, ETIMEDOUT, ENOMEM], Refused, Reported),
    row(Send, &[EINTR], Refused, Mended),
    row(Send, &[EAGAIN], Announced, Mended),
    row(
        Send,
        &[ECONNRESET, ENOBUFS, ENOMEM, EPERM, EPIPE],
        Refused,
        Reported,
    ),
    row(SendMsg, &[EINTR], Refused, Mended),
    row(SendMsg, &[EAGAIN], Announced, Mended),
    row(
        SendMsg,
        &[ECONNRESET, ENOBUFS, ENOMEM, EPERM, EPIPE],
        Refused,
        Reported,
    ),
    row(
        Socket,
        &[EAFNOSUPPORT, EMFILE, ENFILE, ENOBUFS, ENOMEM],
        Refused,
        Reported,
    ),
    row(
        Bind,
        &[EACCES, EADDRINUSE, EADDRNOTAVAIL],
        Refused,
        Reported,
    ),
    row(Listen, &[EADDRINUSE, EPERM], Refused, Reported),
    // The connection is under way all the same.
    row(Connect, &[EINTR], Done, Mended),
    row(
        Connect,
        &[EADDRNOTAVAIL, ECONNREFUSED, ENETUNREACH, EPERM, ETIMEDOUT],
        Refused,
        Reported,
    ),
    row(GetSockOpt, &[ENOBUFS, ENOPROTOOPT], Refused, Reported),
    row(SetSockOpt, &[ENOMEM, ENOPROTOOPT, EPERM], Refused, Reported),
    row(GetSockName, &[ENOBUFS], Refused, Reported),
    row(GetPeerName, &[ENOBUFS], Refused, Reported),
    // Connecting goes on waiting; who asks for the address is told.
    row(GetPeerName, &[ENOTCONN], Announced, Reported),
    row(Shutdown, &[ENOTCONN], Refused, Reported),
    row(Ioctl, &[EPERM], Refused, Reported),
    row(Prctl, &[EPERM], Refused, Reported),
    row(PthreadCreate, &[EAGAIN, EPERM], Refused, Reported),
];

/// The connection that was to be accepted is gone.
pub(crate) const ACCEPT_TRANSIENT: &[c_int] = &[
    ECONNABORTED,
    EPROTO,
    ENETDOWN,
    ENOPROTOOPT,
    EHOSTDOWN,
    ENONET,
    EHOSTUNREACH,
    ENETUNREACH,
];

/// Accepting rests and tries again.
pub(crate) const ACCEPT_EXHAUSTED: &[c_int] = &[EMFILE, ENFILE, ENOBUFS, ENOMEM];
