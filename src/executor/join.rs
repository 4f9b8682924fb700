//! Join handles: waiting for a task's output, and aborting it.
//!
//! Called by users through `task`; calls `task` for the result and `waker` to make the task due.

use std::any::Any;
use std::fmt;
use std::io;
use std::num::NonZeroU64;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use super::task::{Failure, Joinable, Payload, TaskRef};
use super::{Executor, local, waker};
use crate::remote::{Generation, RuntimeId, WakeTarget};

/// The number of a task: no other task of this process has it, now or later.
///
/// # Examples
///
/// ```
/// # runtime::block_on(async {
/// let task = runtime::spawn(async { runtime::task::id() });
/// let id = task.id();
/// assert_eq!(task.await.unwrap(), id);
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub(super) NonZeroU64);

impl Id {
    /// # Panics
    ///
    /// When the number is 0; the executor counts from 1.
    pub(super) fn new(number: u64) -> Self {
        Self(NonZeroU64::new(number).expect("tasks are numbered from 1"))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which task a handle speaks of.
#[derive(Clone, Copy)]
pub(super) struct Identity {
    pub(super) id: Id,
    pub(super) slot: u32,
    /// `None` if the task was refused.
    pub(super) runtime: Option<RuntimeId>,
}

/// Waits for the output of a task; made by [`spawn`](crate::spawn).
///
/// Awaiting it gives the output, or a [`JoinError`] when the task panicked or was aborted. Dropping it
/// detaches the task, which goes on by itself; its output is then dropped as soon as it is there, and
/// a panic of that output's destructor is swallowed.
///
/// A handle belongs to the thread of its runtime (it is not `Send`) and may be awaited in another
/// runtime of that thread, also after its own is gone.
///
/// # Panics
///
/// When polled again after it returned the result.
///
/// # Cancel safety
///
/// Awaiting `&mut handle` is cancel safe: the result stays until a poll returns it.
///
/// # Examples
///
/// ```
/// # runtime::block_on(async {
/// let handle = runtime::spawn(async { 6 * 7 });
/// assert_eq!(handle.await.unwrap(), 42);
///
/// let handle = runtime::spawn(std::future::pending::<()>());
/// handle.abort();
/// assert!(handle.await.unwrap_err().is_cancelled());
/// # });
/// ```
pub struct JoinHandle<T> {
    joinable: Joinable<T>,
    identity: Identity,
}

impl<T> JoinHandle<T> {
    pub(super) fn new(joinable: Joinable<T>, identity: Identity) -> Self {
        Self { joinable, identity }
    }

    /// Asks that the task's future be dropped instead of polled again.
    ///
    /// The future is dropped by the executor, in the task's turn; a task that aborts itself is dropped
    /// when its poll returns. A finished task stays finished.
    pub fn abort(&self) {
        self.identity.abort(self.joinable.task());
    }

    /// Makes a handle that can abort the task and nothing else.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle {
            task: self.joinable.task().clone(),
            identity: self.identity,
        }
    }

    /// Whether the task is done: it returned, panicked, or was dropped after an abort.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.joinable.task().is_finished()
    }

    /// The task's number.
    #[must_use]
    pub fn id(&self) -> Id {
        self.identity.id
    }

    /// Wakes `waker` when the task finishes; false if it has.
    pub(crate) fn wait(&self, waker: &Waker) -> bool {
        self.joinable.wait(waker)
    }

    /// Takes the result if the task is finished.
    fn take(&self) -> Option<Result<T, JoinError>> {
        let id = self.identity.id;
        let result = self.joinable.take()?;
        Some(result.map_err(|failure| JoinError::new(id, failure)))
    }

    /// Takes the result of a task that is finished.
    pub(crate) fn into_result(self) -> Result<T, JoinError> {
        self.take()
            .expect("the caller has seen that the task is finished")
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        local::with(|current| {
            let budget = current.map(Executor::budget);
            if let Some(budget) = budget {
                ready!(budget.poll_proceed(cx));
            }
            let mut result = self.take();
            if result.is_none() && !self.joinable.wait(cx.waker()) {
                result = self.take();
            }
            let Some(result) = result else {
                return Poll::Pending;
            };
            if let Some(budget) = budget {
                budget.charge(1);
            }
            Poll::Ready(result)
        })
    }
}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        if self.joinable.is_taken() {
            return;
        }
        if self.joinable.has_result() {
            local::run_in(self.identity.runtime, &mut || self.joinable.detach());
        } else {
            self.joinable.detach();
        }
    }
}

impl<T> Unpin for JoinHandle<T> {}
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.identity.id)
            .field("is_finished", &self.is_finished())
            .finish()
    }
}

/// Aborts a task without waiting for it; made by [`JoinHandle::abort_handle`].
///
/// It keeps the task's memory, though not its future or output, until it is dropped.
#[derive(Clone)]
pub struct AbortHandle {
    task: TaskRef,
    identity: Identity,
}

impl AbortHandle {
    /// Asks that the task's future be dropped; see [`JoinHandle::abort`].
    pub fn abort(&self) {
        self.identity.abort(&self.task);
    }

    /// Whether the task is done: it returned, panicked, or was dropped after an abort.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// The task's number.
    #[must_use]
    pub fn id(&self) -> Id {
        self.identity.id
    }
}

impl UnwindSafe for AbortHandle {}
impl RefUnwindSafe for AbortHandle {}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle")
            .field("id", &self.identity.id)
            .field("is_finished", &self.is_finished())
            .finish()
    }
}

impl Identity {
    fn abort(self, task: &TaskRef) {
        if task.abort()
            && let Some(runtime) = self.runtime
        {
            let generation = Generation::new(self.id.0.get());
            waker::wake(WakeTarget::new(runtime.index(), self.slot, generation));
        }
    }
}

/// Why a task has no output: it panicked, or it was cancelled.
pub struct JoinError {
    id: Id,
    cause: Cause,
}

enum Cause {
    Cancelled,
    /// Behind a lock because a payload need not be `Sync`, and errors should be.
    Panicked(Mutex<Payload>),
}

impl JoinError {
    fn new(id: Id, failure: Failure) -> Self {
        let cause = match failure {
            Failure::Cancelled => Cause::Cancelled,
            Failure::Panicked(payload) => Cause::Panicked(Mutex::new(payload)),
        };
        Self { id, cause }
    }

    /// Whether the task was aborted, or dropped with its runtime.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.cause, Cause::Cancelled)
    }

    /// Whether the task panicked: in a poll, or in the drop of its future.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panicked(_))
    }

    /// What the panic carried, for [`std::panic::resume_unwind`].
    ///
    /// # Panics
    ///
    /// When the task was cancelled; [`try_into_panic`](Self::try_into_panic) does not.
    #[must_use]
    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        self.try_into_panic()
            .expect("`JoinError::into_panic` was called on a task that was cancelled")
    }

    /// What the panic carried.
    ///
    /// # Errors
    ///
    /// This error itself, when the task was cancelled.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send + 'static>, Self> {
        match self.cause {
            Cause::Cancelled => Err(self),
            Cause::Panicked(payload) => {
                Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }

    /// The number of the task.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// Calls `call` with the panic's message, if it is text.
    fn with_message<R>(payload: &Mutex<Payload>, call: impl FnOnce(Option<&str>) -> R) -> R {
        let payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
        let text = payload.downcast_ref::<&'static str>().copied();
        call(text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)))
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Cancelled => write!(f, "task {} was cancelled", self.id),
            Cause::Panicked(payload) => Self::with_message(payload, |message| match message {
                Some(message) => write!(f, "task {} panicked with message {message:?}", self.id),
                None => write!(f, "task {} panicked", self.id),
            }),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Cancelled => write!(f, "JoinError::Cancelled({:?})", self.id),
            Cause::Panicked(payload) => Self::with_message(payload, |message| match message {
                Some(message) => write!(f, "JoinError::Panic({:?}, {message:?}, ...)", self.id),
                None => write!(f, "JoinError::Panic({:?}, ...)", self.id),
            }),
        }
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> Self {
        Self::other(error)
    }
}
