//! A single-threaded async runtime for Linux: one edge-triggered epoll instance, one slab of tasks,
//! nanosecond timers, and futures that need not be `Send`.
//!
//! ```no_run
//! use runtime::net::TcpListener;
//! use runtime::io::{AsyncReadExt, AsyncWriteExt};
//!
//! #[runtime::main]
//! async fn main() -> std::io::Result<()> {
//!     let listener = TcpListener::bind("127.0.0.1:7000").await?;
//!     loop {
//!         let (mut stream, _peer) = listener.accept().await?;
//!         runtime::spawn(async move {
//!             let mut buffer = [0; 4096];
//!             while let Ok(length @ 1..) = stream.read(&mut buffer).await {
//!                 if stream.write_all(&buffer[..length]).await.is_err() {
//!                     break;
//!                 }
//!             }
//!         });
//!     }
//! }
//! ```
//!
//! # The main path: from a byte to a running task
//!
//! 1. A task awaits `stream.read(…)`. [`net`]'s `TcpStream` tries `recv(2)` first and gets `EAGAIN`.
//! 2. `io::registered` registers the socket with the current runtime's reactor, for good and
//!    edge-triggered, and leaves the task's waker in the socket's `reactor::source`.
//! 3. The task returns `Pending`. The loop (`Runtime::run` in `runtime`) finds its queue empty.
//! 4. `Runtime::turn` announces that the thread parks; `reactor.turn` waits in `epoll_wait`.
//! 5. A byte arrives; the kernel reports the socket's token.
//! 6. `Reactor::wait` looks the token up (a stale one finds nobody) and `Source::on_event` marks the
//!    source readable and hands over its wakers.
//! 7. With no table borrowed, the wakers are woken. A waker is a word that names runtime and task:
//!    `executor::scheduler` finds the task's slot and puts it on the queue of what events woke.
//! 8. `Executor::tick` pops the slot and polls the task, with a fresh budget.
//! 9. The task's `recv` succeeds. Less than the buffer holds came, so the source is not ready any more,
//!    and the next read waits without another system call.
//!
//! # Two laws
//!
//! **A spurious wake is allowed, a lost wake is a bug.**
//!
//! **No borrow is held while foreign code runs**: a poll, a wake, a waker's clone or drop, the drop of a
//! future or an output. Wakers are collected, the borrow ends, then they are woken, also on error paths.
//!
//! # Where to look
//!
//! | module | holds |
//! |---|---|
//! | [`net`] | TCP listeners, streams and sockets |
//! | [`time`] | sleeping, timeouts, intervals |
//! | [`task`] | spawning, yielding, sets of tasks, task-local values |
//! | [`io`] | the reading and writing traits and their extensions |
//! | `runtime` | [`Runtime`], [`Builder`], the loop, the thread's current runtime |
//! | `executor` | the table of tasks and their memory, the run queues, wakers |
//! | `reactor` | epoll, the table of sources, the deadlines |
//! | `remote` | what other threads may touch of a runtime: wakes, messages, the registry of runtimes |
//! | `clock` | the time |
//! | `sync` | what threads share is made of this: locks and atomics that checkers can replace |
//! | `sys` | the kernel, one object per file |
//!
//! # Features
//!
//! | feature | in the default | brings |
//! |---|---|---|
//! | `io-util` | yes | the extension traits and buffered readers of [`io`] (`futures-lite`) |
//! | `tracing` | yes | events for what no caller can be told, such as a listener that has run out of descriptors |
//!
//! Channels, locks, `select!` and `join!` come from other crates: `async-channel`, `futures` and
//! `tokio::sync` work here as they are, since all they need is a `Waker`.

#![warn(clippy::unwrap_used, clippy::print_stdout)]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("`runtime` runs on Linux with 64-bit pointers: it is built on epoll and timerfd");

mod clock;
mod executor;
pub mod io;
mod log;
pub mod net;
mod quiet;
mod reactor;
mod remote;
mod runtime;
mod sync;
mod sys;
pub mod task;
pub mod time;

pub use runtime_macros::{main, test};

#[cfg(runtime_loom)]
#[doc(hidden)]
pub use self::sync::mutants;
#[cfg(runtime_loom)]
#[doc(hidden)]
pub use self::sys::modelled::during_event;

pub use self::runtime::{Builder, Runtime, block_on};
pub use self::task::spawn;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
