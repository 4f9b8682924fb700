//! One epoll instance (`epoll(7)`).

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::fork::{self, Process};
use super::{check, uninterrupted};

/// What a descriptor is watched for, or what happened to it: a set of `EPOLL*` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(u32);

#[expect(
    clippy::cast_sign_loss,
    reason = "libc spells the bits as c_int, the kernel as u32"
)]
impl Flags {
    pub(crate) const IN: Self = Self(libc::EPOLLIN as u32);
    pub(crate) const OUT: Self = Self(libc::EPOLLOUT as u32);
    /// Urgent data came.
    pub(crate) const PRI: Self = Self(libc::EPOLLPRI as u32);
    /// The peer shut down its writing half.
    pub(crate) const RDHUP: Self = Self(libc::EPOLLRDHUP as u32);
    /// Both halves are shut down; always reported.
    pub(crate) const HUP: Self = Self(libc::EPOLLHUP as u32);
    /// An error is pending; always reported.
    pub(crate) const ERR: Self = Self(libc::EPOLLERR as u32);
    pub(crate) const NONE: Self = Self(0);
    /// Report changes, not levels.
    pub(crate) const ET: Self = Self(libc::EPOLLET as u32);

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What the user registered a descriptor under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawToken(pub(crate) u64);

/// The buffer that one wait fills.
pub(crate) struct Events {
    buffer: Vec<libc::epoll_event>,
    filled: usize,
}

impl Events {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            buffer: vec![libc::epoll_event { events: 0, u64: 0 }; capacity],
            filled: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (RawToken, Flags)> + '_ {
        self.buffer[..self.filled]
            .iter()
            .map(|event| (RawToken(event.u64), Flags(event.events)))
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Whether a wait may put the thread to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until something happens.
    Forever,
    /// A tenth of a second at the most.
    Shortly,
    /// A millisecond at the most.
    Briefly,
    /// Not at all: take what is there.
    Never,
}

/// An epoll instance: the set of descriptors that one thread watches.
#[derive(Debug)]
pub(crate) struct Epoll {
    fd: OwnedFd,
    maker: Process,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Self {
            // SAFETY: the kernel just made `fd`, and nobody else knows it.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            maker: Process::current(),
        })
    }

    /// Whether the set is that of the process which this one was forked from, and must be left alone.
    #[inline]
    pub(crate) fn is_foreign(&self) -> bool {
        !self.maker.is_current()
    }

    /// Starts watching `fd`; what is ready already is reported by the next wait.
    ///
    /// A description that is in the set already (left there by a duplicate) takes on the new token.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, flags: Flags, token: RawToken) -> io::Result<()> {
        match self.control(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), flags, token) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                self.control(libc::EPOLL_CTL_MOD, fd.as_raw_fd(), flags, token)
            }
            result => result,
        }
    }

    /// Watches `fd` for something else; what is ready already is reported by the next wait.
    ///
    /// A description that someone took out of the set comes back.
    pub(crate) fn modify(
        &self,
        fd: BorrowedFd<'_>,
        flags: Flags,
        token: RawToken,
    ) -> io::Result<()> {
        match self.control(libc::EPOLL_CTL_MOD, fd.as_raw_fd(), flags, token) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                self.control(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), flags, token)
            }
            result => result,
        }
    }

    /// Watches `fd` for something else if it is in the set; false if nothing has changed.
    ///
    /// For a descriptor that another thread may have closed meanwhile, after which it is not in the set.
    pub(crate) fn modify_if_there(&self, fd: RawFd, flags: Flags, token: RawToken) -> bool {
        self.control(libc::EPOLL_CTL_MOD, fd, flags, token).is_ok()
    }

    /// Stops watching `fd`; false if nothing has changed. As for [`Epoll::modify_if_there`].
    pub(crate) fn delete_if_there(&self, fd: RawFd) -> bool {
        self.control(libc::EPOLL_CTL_DEL, fd, Flags::NONE, RawToken(0))
            .is_ok()
    }

    fn control(
        &self,
        operation: libc::c_int,
        fd: RawFd,
        flags: Flags,
        token: RawToken,
    ) -> io::Result<()> {
        if self.is_foreign() {
            return Err(fork::foreign());
        }
        let events = if cfg!(miri) {
            (flags.0 | Flags::ET.0) & !Flags::PRI.0
        } else {
            flags.0
        };
        let mut event = libc::epoll_event {
            events,
            u64: token.0,
        };
        uninterrupted(|| {
            // SAFETY: the pointer must be valid for reading one event: it is the local above.
            check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd, &raw mut event) })
        })?;
        Ok(())
    }

    /// Fills `events` with what happened; a signal counts as nothing.
    #[inline]
    pub(crate) fn wait(&self, events: &mut Events, wait: Wait) -> io::Result<()> {
        #[cfg(runtime_loom)]
        if wait == Wait::Forever {
            return super::modelled::wait(|| {
                self.wait_for(events, 0)?;
                Ok(events.filled > 0)
            });
        }
        let timeout = match wait {
            Wait::Forever => -1,
            Wait::Shortly => 100,
            Wait::Briefly => 1,
            Wait::Never => 0,
        };
        self.wait_for(events, timeout)
    }

    /// Waits for so many milliseconds.
    #[inline]
    fn wait_for(&self, events: &mut Events, timeout: libc::c_int) -> io::Result<()> {
        let capacity = libc::c_int::try_from(events.buffer.len()).unwrap_or(libc::c_int::MAX);
        events.filled = 0;
        // SAFETY: the pointer must be valid for writing `capacity` events: the buffer has at least
        // that many, and the exclusive borrow keeps it alive over the call.
        let result = check(unsafe {
            libc::epoll_wait(
                self.fd.as_raw_fd(),
                events.buffer.as_mut_ptr(),
                capacity,
                timeout,
            )
        });
        match result {
            Ok(filled) => events.filled = usize::try_from(filled).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
