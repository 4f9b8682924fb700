//! Networking: TCP, and the addresses it takes.
//!
//! A socket is nonblocking and close-on-exec from the start. It can be made without a runtime. Any runtime may wait
//! for it, on any thread, and several may at the same time: each registers it in its own epoll set at its first
//! wait. Only waiting outside a runtime panics.
//!
//! # Cancel safety
//!
//! No byte leaves a socket before the operation that takes it returns `Ready`, so dropping a future that
//! has not is always safe; what combinators such as `read_exact` had gathered by then is lost.

mod addr;
mod lookup_pool;
mod resolve;
mod stream_io;
mod tcp;

pub use self::addr::ToSocketAddrs;
pub use self::resolve::lookup_host;
pub use self::tcp::listener::{Incoming, TcpListener};
pub use self::tcp::socket::TcpSocket;
pub use self::tcp::split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use self::tcp::stream::TcpStream;
