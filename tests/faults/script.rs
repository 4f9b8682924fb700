//! What the interposed system calls of a thread answer: which of them fails, when, and with what.
//!
//! Set by the tests, asked by `interposed` at each call. Everything is a thread's own, so the test harness,
//! watchdogs and other tests never meet a fault; cells without destructors work at any time in a thread's life.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::pin::pin;

/// Defines the calls, their number and their names.
macro_rules! calls {
    ($($call:ident $name:literal,)*) => {
        /// A system call, or a function of libc, that can be made to fail.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Call {
            $($call,)*
        }

        impl Call {
            pub(crate) const ALL: &[Self] = &[$(Self::$call,)*];

            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$call => $name,)*
                }
            }
        }
    };
}

calls! {
    EpollCreate "epoll_create1",
    EpollAdd "epoll_ctl ADD",
    EpollMod "epoll_ctl MOD",
    EpollDel "epoll_ctl DEL",
    EpollWait "epoll_wait",
    EventFd "eventfd",
    TimerFdCreate "timerfd_create",
    TimerFdSetTime "timerfd_settime",
    Write "write",
    Accept "accept4",
    Recv "recv",
    RecvMsg "recvmsg",
    Send "send",
    SendMsg "sendmsg",
    Socket "socket",
    Bind "bind",
    Listen "listen",
    Connect "connect",
    GetSockOpt "getsockopt",
    SetSockOpt "setsockopt",
    GetSockName "getsockname",
    GetPeerName "getpeername",
    Shutdown "shutdown",
    Ioctl "ioctl",
    Prctl "prctl",
    PthreadCreate "pthread_create",
}

const CALLS: usize = Call::ALL.len();

impl Call {
    /// Those that can be made to fail: with a sanitizer, threads are made by it.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let is_ours = |&call: &Self| cfg!(not(runtime_plain_memory)) || call != Self::PthreadCreate;
        Self::ALL.iter().copied().filter(is_ours)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the kernel has done when it answers with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nothing: the call is not made.
    Refused,
    /// All it was asked for, and then something else is reported. (A connection that was accepted is lost.)
    Done,
    /// Nothing, and what the descriptor is ready for comes as an event once more: readiness that turned out
    /// to be spurious, and then came.
    Announced,
}

/// An error of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    pub(crate) errno: libc::c_int,
    pub(crate) way: Way,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = io::Error::from_raw_os_error(self.errno);
        write!(f, "{}: {error}", self.call)
    }
}

/// The faults of a script: of each call one at the most.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Faults {
    One(Fault),
    Each(&'static [Fault]),
}

/// Which calls fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    pub(crate) faults: Faults,
    /// The number of the first that fails, counted from 0 for each call by itself.
    pub(crate) first: u32,
    pub(crate) until: u32,
    /// Of these, each n-th fails.
    pub(crate) every: u32,
}

impl Script {
    pub(crate) const EMPTY: Self = Self::always(Faults::Each(&[]));

    /// One call fails.
    pub(crate) const fn once(fault: Fault, number: u32) -> Self {
        Self {
            faults: Faults::One(fault),
            first: number,
            until: number + 1,
            every: 1,
        }
    }

    /// All calls fail.
    pub(crate) const fn always(faults: Faults) -> Self {
        Self {
            faults,
            first: 0,
            until: u32::MAX,
            every: 1,
        }
    }

    fn fault(&self, call: Call, number: u32) -> Option<Fault> {
        let faults = match &self.faults {
            Faults::One(fault) => std::slice::from_ref(fault),
            Faults::Each(faults) => faults,
        };
        let is_due = (self.first..self.until).contains(&number)
            && (number - self.first).is_multiple_of(self.every);
        let mut faults = faults.iter().copied();
        faults.find(|fault| fault.call == call && is_due)
    }
}

/// How often calls were made, and how often one failed as the script says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    made: [u32; CALLS],
    pub(crate) injected: u32,
    /// What came last.
    pub(crate) last: Option<Fault>,
}

impl Tally {
    pub(crate) fn made(&self, call: Call) -> u32 {
        self.made[call as usize]
    }
}

thread_local! {
    static SCRIPT: Cell<Script> = const { Cell::new(Script::EMPTY) };
    static TALLY: Cell<Tally> = const { Cell::new(Tally { made: [0; CALLS], injected: 0, last: None }) };
    static IS_ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// Makes this thread follow `script` from now on; its calls are counted anew.
pub(crate) fn follow(script: Script) {
    TALLY.set(Tally::default());
    SCRIPT.set(script);
}

/// What this thread has counted since it began to follow its script.
pub(crate) fn tally() -> Tally {
    TALLY.get()
}

/// The script that this thread follows.
pub(crate) fn current() -> Script {
    SCRIPT.get()
}

/// Adds what another thread has counted on behalf of this one.
pub(crate) fn add(other: &Tally) {
    let mut tally = TALLY.get();
    for (made, others) in tally.made.iter_mut().zip(other.made) {
        *made += others;
    }
    tally.injected += other.injected;
    tally.last = other.last.or(tally.last);
    TALLY.set(tally);
}

/// Counts a call of this thread; says whether it is to fail.
pub(crate) fn next(call: Call) -> Option<Fault> {
    if IS_ASIDE.get() {
        return None;
    }
    let mut tally = TALLY.get();
    let fault = SCRIPT.get().fault(call, tally.made(call));
    tally.made[call as usize] += 1;
    if fault.is_some() {
        tally.injected += 1;
        tally.last = fault;
    }
    TALLY.set(tally);
    fault
}

/// Runs `work` beside the script: its calls are neither counted nor made to fail.
pub(crate) fn aside<R>(work: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            IS_ASIDE.set(self.0);
        }
    }
    let _restore = Restore(IS_ASIDE.replace(true));
    work()
}

/// Polls `future` beside the script.
pub(crate) async fn aside_async<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| aside(|| future.as_mut().poll(cx))).await
}
