//! The floor of a wake from another thread: a write to an eventfd, and epoll.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::alarm::Bell;
use super::epoll::Epoll;

/// Polls a future whenever its waker has been used, until it is ready.
pub(super) fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    let mut epoll = Epoll::new()?;
    let bell = Arc::new(Bell::new()?);
    epoll.add(&*bell, 0, libc::EPOLLIN)?;
    let waker = Waker::from(bell);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(output);
        }
        epoll.wait(true)?;
    }
}
