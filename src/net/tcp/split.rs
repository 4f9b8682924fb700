//! The halves of a TCP connection: borrowed ones, and owned ones for two tasks.
//!
//! Made by `TcpStream::split` and `TcpStream::into_split`; each half is the only user of its direction.

use std::error;
use std::fmt;

use super::stream::TcpStream;
use crate::net::stream_io::{self, impl_read, impl_write};
use crate::reactor::source::Waiter;
use crate::sync::Arc;
use crate::sys::fork::Process;

/// The reading half that [`TcpStream::split`] makes; `as_ref` leads to the stream.
#[derive(Debug)]
pub struct ReadHalf<'a> {
    pub(super) stream: &'a TcpStream,
}

/// The writing half that [`TcpStream::split`] makes; `as_ref` leads to the stream.
///
/// Dropping it does not shut down writing; closing it does.
#[derive(Debug)]
pub struct WriteHalf<'a> {
    pub(super) stream: &'a TcpStream,
}

impl_read!(['a] ReadHalf<'a>, Waiter::Exclusive, |this| this.stream);
impl_write!(['a] WriteHalf<'a>, Waiter::Exclusive, |this| this.stream);
impl_read!([] OwnedReadHalf, Waiter::Exclusive, |this| &*this.stream);
impl_write!([] OwnedWriteHalf, Waiter::Exclusive, |this| &*this.stream);

/// Makes halves lead to their stream.
macro_rules! impl_as_ref {
    ($($half:ty),*) => {$(
        impl AsRef<TcpStream> for $half {
            fn as_ref(&self) -> &TcpStream {
                &self.stream
            }
        }
    )*};
}

impl_as_ref!(ReadHalf<'_>, WriteHalf<'_>, OwnedReadHalf, OwnedWriteHalf);

/// The reading half that [`TcpStream::into_split`] makes; `as_ref` leads to the stream.
#[derive(Debug)]
pub struct OwnedReadHalf {
    pub(super) stream: Arc<TcpStream>,
}

/// The writing half that [`TcpStream::into_split`] makes; `as_ref` leads to the stream.
///
/// Dropping it shuts down writing, so that the peer sees the end of the stream while the reading half
/// goes on; [`forget`](Self::forget) does not. A child of `fork(2)` that drops the half which it has of its
/// parent shuts nothing down.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    pub(super) stream: Arc<TcpStream>,
    /// Where dropping it shuts down writing: the socket is that of all processes that have it.
    shuts_down_in: Option<Process>,
}

pub(super) fn owned(stream: TcpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    let stream = Arc::new(stream);
    let read = OwnedReadHalf {
        stream: Arc::clone(&stream),
    };
    let write = OwnedWriteHalf {
        stream,
        shuts_down_in: Some(Process::current()),
    };
    (read, write)
}

fn reunite(read: OwnedReadHalf, write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
    if !Arc::ptr_eq(&read.stream, &write.stream) {
        return Err(ReuniteError(read, write));
    }
    write.forget();
    Ok(Arc::try_unwrap(read.stream).expect("the halves hold the only two references"))
}

impl OwnedReadHalf {
    /// Puts the halves of one stream together again; nothing is shut down.
    ///
    /// # Errors
    ///
    /// Returns both halves when they are not of one stream.
    pub fn reunite(self, write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        reunite(self, write)
    }
}

impl OwnedWriteHalf {
    /// Puts the halves of one stream together again; nothing is shut down.
    ///
    /// # Errors
    ///
    /// Returns both halves when they are not of one stream.
    pub fn reunite(self, read: OwnedReadHalf) -> Result<TcpStream, ReuniteError> {
        reunite(read, self)
    }

    /// Drops the half without shutting down writing.
    pub fn forget(mut self) {
        self.shuts_down_in = None;
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.shuts_down_in.is_some_and(Process::is_current) {
            // A connection that failed has nothing to shut down, and a destructor nobody to tell.
            let _ = stream_io::close_write(&*self.stream);
        }
    }
}

/// The halves that [`OwnedReadHalf::reunite`] would not put together, as they are not of one stream.
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves are not of one stream")
    }
}

impl error::Error for ReuniteError {}
