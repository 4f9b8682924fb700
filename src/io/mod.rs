//! Asynchronous input and output: the traits, their extensions, and readiness.
//!
//! The traits are those of `futures-io`; the extension methods (`read_exact`, `write_all`, `lines` …)
//! and buffered readers are those of `futures-lite`, re-exported so that one import path suffices (feature `io-util`,
//! on by default).
//!
//! # Examples
//!
//! ```
//! use runtime::io::{AsyncReadExt, AsyncWriteExt, Cursor};
//!
//! # runtime::block_on(async {
//! let mut buffer = Vec::new();
//! Cursor::new(b"hello").read_to_end(&mut buffer).await?;
//! assert_eq!(buffer, b"hello");
//! # Ok::<(), std::io::Error>(())
//! # }).unwrap();
//! ```

mod ready;
pub(crate) mod registration;
mod runtime_list;

pub use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};
#[cfg(feature = "io-util")]
pub use futures_lite::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufReader, BufWriter, Cursor, copy,
    empty, repeat, sink,
};

pub use self::ready::{Interest, Ready};
