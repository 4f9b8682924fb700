//! The runtime: the loop that drives executor, reactor and timers.
//!
//! Called by users and by the attribute macros; the only code that ticks the executor and turns the
//! reactor. `docs/architecture.md` has the loop as numbered steps.
//!
//! # Invariants
//!
//! 1. The thread waits in the kernel only when no task is due, no other thread has left a wake or a message
//!    (`Remote::park` checks that in one step), and the timer descriptor is armed.
//! 2. However many tasks are due, the reactor is turned after each tick, unless the tick used all its polls and the
//!    last turn was a few microseconds ago.

mod builder;
pub(crate) mod context;

use std::fmt;
use std::io;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

pub use self::builder::Builder;
use self::context::Context;
use crate::executor::Executor;
use crate::executor::join::JoinHandle;
use crate::reactor::Reactor;
use crate::remote::{RegistryEntry, Remote};
use crate::sync::is_mutant;
use crate::sys::epoll::Wait;

/// A single-threaded runtime: an executor, a reactor and timers.
///
/// It belongs to the thread that makes it. [`block_on`](Self::block_on) runs it; between two calls its
/// tasks are not polled. Dropping it drops every task on this thread, inside the runtime, then the timers
/// and registrations, then closes its three descriptors. During the drop, a task that a destructor spawns is
/// cancelled at once, and registering a socket returns an error.
/// A panic in the destructor of a task's future goes to the task's [`JoinHandle`].
///
/// # Forking
///
/// A child made by `fork(2)` shares the parent's epoll set and timer descriptor, so a runtime is of no use in
/// it. There [`block_on`](Self::block_on) panics. One that was running at the fork panics when it next looks
/// at the kernel; tasks that are due may be polled before that, so leave the child before the next
/// `await`. Registering a socket is an error, and wakes do nothing. What the child drops (the runtime, tasks,
/// sockets), it drops for itself alone: the parent's stay registered and connected. A runtime that
/// is made in the child works, also in a `block_on` of the parent's, and with sockets that the parent has
/// made; both may accept on one listener. As after every fork, other threads must not have been using
/// runtimes at that moment: the child would find locks that nobody releases.
///
/// # Examples
///
/// ```
/// let runtime = runtime::Runtime::new()?;
/// let greeting = String::from("hello");
/// let length = runtime.block_on(async { greeting.len() });
/// assert_eq!(length, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Runtime {
    context: Rc<Context>,
}

impl Runtime {
    /// Makes a runtime with the defaults of [`Builder`].
    ///
    /// # Errors
    ///
    /// Those of [`Builder::build`].
    pub fn new() -> io::Result<Self> {
        Builder::new().build()
    }

    fn with(builder: &Builder) -> io::Result<Self> {
        let entry = RegistryEntry::new()?;
        let context = Rc::new(Context {
            executor: Executor::new(&entry, builder.limits()),
            reactor: Reactor::new(
                &entry,
                builder.max_events,
                builder.timer_slack,
                context::TASKS,
            )?,
            entry,
        });
        context::register(&context);
        Ok(Self { context })
    }

    /// Runs the runtime on this thread until `future` is done, and returns its output.
    ///
    /// The future need not be `Send` nor `'static`. It is polled once in each tick in which it is due, before the
    /// tasks, and again when no task is due. Tasks that are not done when it returns stay, and continue in the next call.
    ///
    /// # Panics
    ///
    /// When a runtime runs on this thread already; the message names both calls (or this one and that it
    /// came from a destructor), and the outer runtime lives on. When the runtime was made before this process
    /// was forked (see [`Runtime`]). When `epoll_wait` fails, which takes a
    /// descriptor that someone else closed. A panic of `future` goes to the caller, and the runtime can be
    /// used again.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        // Stays current, and so has to stay, if `exit` in a poll drops the runtime, which a thread-local may hold.
        let context = Rc::clone(&self.context);
        context.enter_blocking(Location::caller(), || self.run(pin!(future)))
    }

    /// Spawns a task that runs in this runtime's [`block_on`](Self::block_on).
    ///
    /// See [`spawn`](crate::spawn), which does the same for the current runtime.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        self.context.executor.spawn(future)
    }

    /// The loop: polls what is due, then sees what the kernel has, until `main` is done.
    fn run<F: Future>(&self, mut main: Pin<&mut F>) -> F::Output {
        let executor = &self.context.executor;
        let waker = executor.main_waker();
        let mut output = None;
        executor.wake_main();
        loop {
            self.take_notified();
            executor.tick(|| {
                let mut cx = std::task::Context::from_waker(&waker);
                if let Poll::Ready(value) = main.as_mut().poll(&mut cx) {
                    output = Some(value);
                }
                output.is_some()
            });
            if let Some(output) = output {
                return output;
            }
            if !executor.may_go_on() {
                self.turn();
            }
        }
    }

    /// Takes the wakes and messages of other threads, if there were any since the last time.
    #[inline]
    fn take_notified(&self) {
        let Context {
            executor,
            reactor,
            entry,
        } = &*self.context;
        let is_late = is_mutant("the notification is taken back after the marks");
        if is_late || entry.remote().take_notified() {
            executor.take_remote_wakes();
            executor.with_events(|| reactor.take_messages());
        }
        if is_late {
            entry.remote().take_notified();
        }
    }

    /// Turns the reactor; waits there if there is nothing else to do.
    fn turn(&self) {
        struct Parked<'a>(&'a Remote);
        impl Drop for Parked<'_> {
            fn drop(&mut self) {
                self.0.unpark();
            }
        }
        self.context.refuse_foreign();
        let Context {
            executor,
            reactor,
            entry,
        } = &*self.context;
        let remote = entry.remote();
        let parked = (!executor.has_due() && remote.park()).then(|| Parked(remote));
        let wait = match parked {
            None => Wait::Never,
            Some(_) if executor.trim() => Wait::Shortly,
            Some(_) => Wait::Forever,
        };
        executor.on_turn(parked.is_some());
        #[cfg(debug_assertions)]
        assert!(
            wait == Wait::Never || !executor.has_lost_a_wake(),
            "a task is due, or was woken by another thread, and would not be polled"
        );
        if wait == Wait::Never && remote.has_messages() {
            // So that a timer that was dropped on another thread does not fire.
            reactor.take_messages();
        }
        let result = executor.with_events(|| reactor.turn(wait, |target| executor.wake(target)));
        drop(parked);
        if let Err(error) = result {
            panic!("epoll_wait failed, was the runtime's descriptor closed? {error}");
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        context::unregister(&self.context);
        self.context.enter(|| {
            self.context.reactor.refuse();
            self.context.executor.close();
            self.context.reactor.close();
        });
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("executor", &self.context.executor)
            .field("reactor", &self.context.reactor)
            .finish()
    }
}

/// Makes a runtime, runs it on this thread until `future` is done, drops it and returns the output.
///
/// # Panics
///
/// Where [`Runtime::block_on`] does, and when the runtime cannot be made (see [`Builder::build`]).
///
/// # Examples
///
/// ```
/// assert_eq!(runtime::block_on(async { 6 * 7 }), 42);
/// ```
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    context::refuse_nesting(Location::caller());
    match Runtime::new() {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => panic!("a runtime could not be made: {error}"),
    }
}
