//! The functions of libc that lead to system calls, for everything that is linked into this test: the crate,
//! the standard library and `socket2`.
//!
//! A symbol of the program comes before libc's of the same name. Each asks `script` whether it is to fail, and
//! makes the system call itself if not. Only what a program calls by its symbol is met: libc's own calls
//! (those of the resolver, for instance) are not.
#![expect(
    unsafe_code,
    reason = "what takes the place of libc's functions has their signatures"
)]

use std::ffi::c_void;
use std::ptr;

use libc::{
    c_int, c_long, c_uint, c_ulong, epoll_event, itimerspec, msghdr, size_t, sockaddr, socklen_t,
    ssize_t,
};

use super::script::{self, Call, Way};

/// Fails as the script says, or makes the call.
fn answer(call: Call, fd: c_int, make: impl FnOnce() -> c_long) -> c_long {
    let Some(fault) = script::next(call) else {
        return make();
    };
    match fault.way {
        Way::Refused => {}
        Way::Done => {
            let made = make();
            if call == Call::Accept && made >= 0 {
                // SAFETY: no pointers are passed, and the kernel just made this descriptor.
                unsafe { libc::syscall(libc::SYS_close, made) };
            }
        }
        Way::Announced => announce(fd),
    }
    // SAFETY: no arguments are passed.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the pointer is this thread's `errno`, which lives as long as the thread.
    unsafe { *errno = fault.errno };
    -1
}

/// Makes the kernel report once more what a TCP socket is ready for: setting these options does that.
fn announce(fd: c_int) {
    // One byte makes it readable, and the system's default limit writable: as before.
    set_option(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT, 1);
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, 0);
}

fn set_option(fd: c_int, level: c_int, option: c_int, value: c_int) {
    // SAFETY: the pointer must be valid for reading the given length: both are the local's.
    let result = unsafe {
        libc::syscall(
            libc::SYS_setsockopt,
            fd,
            level,
            option,
            &raw const value,
            size_of_val(&value),
        )
    };
    assert_eq!(result, 0, "the option could not be set");
}

/// Defines functions that ask the script and make a system call.
macro_rules! interpose {
    ($(fn $name:ident($($parameter:ident: $type:ty),*) -> $result:ty
        => $call:expr, on $fd:expr, $number:ident($($argument:expr),*);)*) => {$(
        // SAFETY: the signature is that of libc's function, and the system call does what that one does.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($parameter: $type),*) -> $result {
            let result = answer($call, $fd, || {
                // SAFETY: the caller keeps what libc's function, and so the system call, asks for.
                unsafe { libc::syscall(libc::$number, $($argument),*) }
            });
            <$result>::try_from(result).expect("the kernel answers with what the function returns")
        }
    )*};
}

interpose! {
    fn epoll_create1(flags: c_int) -> c_int
        => Call::EpollCreate, on NONE, SYS_epoll_create1(flags);
    fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut epoll_event) -> c_int
        => control(operation), on fd, SYS_epoll_ctl(epoll, operation, fd, event);
    fn epoll_wait(epoll: c_int, events: *mut epoll_event, room: c_int, timeout: c_int) -> c_int
        => Call::EpollWait, on epoll, SYS_epoll_pwait(epoll, events, room, timeout, NULL, 0);
    fn eventfd(count: c_uint, flags: c_int) -> c_int
        => Call::EventFd, on NONE, SYS_eventfd2(count, flags);
    fn timerfd_create(clock: c_int, flags: c_int) -> c_int
        => Call::TimerFdCreate, on NONE, SYS_timerfd_create(clock, flags);
    fn timerfd_settime(fd: c_int, flags: c_int, new: *const itimerspec, old: *mut itimerspec) -> c_int
        => Call::TimerFdSetTime, on fd, SYS_timerfd_settime(fd, flags, new, old);
    fn write(fd: c_int, buffer: *const c_void, length: size_t) -> ssize_t
        => Call::Write, on fd, SYS_write(fd, buffer, length);
    fn accept4(fd: c_int, address: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int
        => Call::Accept, on fd, SYS_accept4(fd, address, length, flags);
    fn recv(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t
        => Call::Recv, on fd, SYS_recvfrom(fd, buffer, length, flags, NULL, NULL);
    fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t
        => Call::RecvMsg, on fd, SYS_recvmsg(fd, message, flags);
    fn send(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t
        => Call::Send, on fd, SYS_sendto(fd, buffer, length, flags, NULL, 0);
    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t
        => Call::SendMsg, on fd, SYS_sendmsg(fd, message, flags);
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int
        => Call::Socket, on NONE, SYS_socket(domain, kind, protocol);
    fn bind(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int
        => Call::Bind, on fd, SYS_bind(fd, address, length);
    fn listen(fd: c_int, backlog: c_int) -> c_int
        => Call::Listen, on fd, SYS_listen(fd, backlog);
    fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int
        => Call::Connect, on fd, SYS_connect(fd, address, length);
    fn getsockopt(fd: c_int, level: c_int, option: c_int, value: *mut c_void, length: *mut socklen_t) -> c_int
        => Call::GetSockOpt, on fd, SYS_getsockopt(fd, level, option, value, length);
    fn setsockopt(fd: c_int, level: c_int, option: c_int, value: *const c_void, length: socklen_t) -> c_int
        => Call::SetSockOpt, on fd, SYS_setsockopt(fd, level, option, value, length);
    fn getsockname(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int
        => Call::GetSockName, on fd, SYS_getsockname(fd, address, length);
    fn getpeername(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int
        => Call::GetPeerName, on fd, SYS_getpeername(fd, address, length);
    fn shutdown(fd: c_int, how: c_int) -> c_int
        => Call::Shutdown, on fd, SYS_shutdown(fd, how);
    // These take what the request asks for, which is one register; further ones are not read.
    fn ioctl(fd: c_int, request: c_ulong, value: c_ulong) -> c_int
        => Call::Ioctl, on fd, SYS_ioctl(fd, request, value);
    fn prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int
        => Call::Prctl, on NONE, SYS_prctl(option, a, b, c, d);
}

/// Stands for the descriptor of calls that take none.
const NONE: c_int = -1;
/// A pointer that is not given.
const NULL: *const c_void = ptr::null();

/// Which of its calls `epoll_ctl` is.
fn control(operation: c_int) -> Call {
    match operation {
        libc::EPOLL_CTL_ADD => Call::EpollAdd,
        libc::EPOLL_CTL_MOD => Call::EpollMod,
        _ => Call::EpollDel,
    }
}
