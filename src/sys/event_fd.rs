//! An eventfd, by which other threads end a wait in epoll (`eventfd(2)`).

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};

use super::fork::Process;
use super::{check, uninterrupted};

/// A counter in the kernel that is only ever written.
///
/// Registered edge-triggered, each write is an edge, so nobody needs to read it.
#[derive(Debug)]
pub(crate) struct EventFd {
    file: File,
    maker: Process,
}

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        Ok(Self {
            // SAFETY: the kernel just made `fd`, and nobody else knows it.
            file: unsafe { File::from_raw_fd(fd) },
            maker: Process::current(),
        })
    }

    /// Makes the descriptor readable, which is an edge.
    ///
    /// A full counter (`EAGAIN`) counts as success: it is readable, and 2^64 writes do not happen. In a
    /// child of the process that made it nothing happens: whom it would wake lives in the parent.
    pub(crate) fn notify(&self) -> io::Result<()> {
        if !self.maker.is_current() {
            return Ok(());
        }
        #[cfg(runtime_loom)]
        let _event = super::modelled::event();
        let written = uninterrupted(|| (&self.file).write(&1_u64.to_ne_bytes()));
        match written {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
