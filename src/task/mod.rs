//! Tasks: spawning them, waiting for them, and what they may know and do.
//!
//! A task runs on its runtime's thread from spawn to drop, so its future need not be `Send`. Futures,
//! outputs and their destructors run with the runtime current, so they may spawn and use sockets.

mod budget;
mod join_set;
mod local;
mod yield_now;

pub use self::budget::{Unconstrained, consume_budget, should_yield, unconstrained};
pub use self::join_set::JoinSet;
pub use self::local::{AccessError, LocalKey, TaskLocalFuture};
pub use self::yield_now::{YieldNow, yield_now};
pub use crate::executor::join::{AbortHandle, Id, JoinError, JoinHandle};

use crate::runtime::context;

/// Spawns a task: the future runs concurrently with this one, on this thread.
///
/// The task starts behind the other due tasks. Dropping the handle detaches it. A task that
/// is spawned while its runtime is being dropped is cancelled at once.
///
/// # Panics
///
/// Outside of a runtime. When 16,777,215 tasks are alive in it.
///
/// # Examples
///
/// ```
/// use std::rc::Rc;
///
/// # runtime::block_on(async {
/// let shared = Rc::new(40);
/// let task = runtime::spawn({
///     let shared = Rc::clone(&shared);
///     async move { *shared + 2 }
/// });
/// assert_eq!(task.await.unwrap(), 42);
/// # });
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    context::expect(|current| current.executor.spawn(future))
}

/// The number of the running task.
///
/// # Panics
///
/// Outside of a task; the future that `block_on` runs is none.
#[track_caller]
#[must_use]
pub fn id() -> Id {
    try_id().expect("`task::id` was called outside of a task")
}

/// The number of the running task; `None` outside of a task.
#[must_use]
pub fn try_id() -> Option<Id> {
    context::with(|current| current?.executor.running())
}
