//! A single-threaded async runtime for Linux: one edge-triggered epoll instance, one table of tasks,
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
//! 1. A task awaits `stream.read(…)`. `net::stream_io` calls `io::registration`, which tries `recv(2)` first
//!    and gets `EAGAIN`.
//! 2. `Registration::register` adds the socket to the current runtime's epoll set, edge-triggered, until the socket is
//!    dropped. `Reactor::wait` stores the task's waker in the socket's `reactor::source`.
//! 3. The task returns `Pending`. No other task is due, so `Executor::tick` returns to the loop (`Runtime::run`).
//! 4. `Runtime::turn` announces that the thread parks; `Reactor::turn` waits in `epoll_wait`.
//! 5. A byte arrives; the kernel reports the socket's token.
//! 6. `Reactor::wait_for_events` looks the token up (a stale one leads to no source). `Source::on_plain_event` marks
//!    the source readable and hands over its waker (`Source::on_event` where more than that happens).
//! 7. A waker of ours is a word that names runtime and task: `executor::scheduler` appends the task's slot to the
//!    queue of what events woke. Foreign wakers are woken once no table is borrowed.
//! 8. `Executor::tick` takes the slot out of the queue and polls the task, with a full budget.
//! 9. The task's `recv` succeeds. It returned less than the buffer holds, so `Reactor::drive` clears readiness, and
//!    the next read waits without another system call.
//!
//! `docs/architecture.md` names the files, and the rules of the loop.
//!
//! # Two laws
//!
//! **A spurious wake is allowed, a lost wake is a bug.**
//!
//! **No borrow is held while foreign code runs**: a poll, a foreign waker's wake, clone or drop, the drop of a
//! future or an output. Foreign wakers are collected, the borrow ends, then they are woken, also on error paths.
//!
//! # Where to look
//!
//! | module | holds |
//! |---|---|
//! | [`net`] | TCP listeners, streams and sockets; host names |
//! | [`time`] | sleeping, timeouts, intervals |
//! | [`task`] | spawning, yielding, the budget, sets of tasks, task-local values |
//! | [`io`] | the reading and writing traits and their extensions; `io::registration`, which is under all sockets |
//! | `runtime` | [`Runtime`], [`Builder`], the loop, the thread's current runtime |
//! | `executor` | the table of tasks and their memory, the scheduler, wakers |
//! | `reactor` | epoll, the sources and their waiters, the timers |
//! | `remote` | what other threads may touch of a runtime: wakes, messages, the registry of runtimes |
//! | `clock` | the only reader of the time |
//! | `log` | events for errors that no caller can be told |
//! | `quiet` | panics of foreign wakers and destructors, which it catches |
//! | `sync` | locks and atomics for what threads share, replaceable by checkers |
//! | `sys` | the kernel, one object per file |
//!
//! # Features
//!
//! | feature | in the default | brings |
//! |---|---|---|
//! | `io-util` | yes | the extension traits and buffered readers of [`io`] (`futures-lite`) |
//! | `tracing` | yes | events for errors that no caller can be told, such as a listener that has run out of descriptors |
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
