//! Join handles: waiting for a task's output, and aborting it.
//!
//! Called by users through `task`; calls `task` for the result and `waker` to make the task due.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

pub use super::id::Id;
use super::scheduler::Scheduler;
use super::task::{Joinable, Payload, TaskPtr, TaskRef};
use super::{local, waker};
use crate::remote::{self, Generation, WakeTarget};
use crate::sync::per_thread;

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
}

impl<T> JoinHandle<T> {
    #[inline]
    pub(super) fn new(joinable: Joinable<T>) -> Self {
        Self { joinable }
    }

    /// Asks that the task's future be dropped instead of polled again.
    ///
    /// The future is dropped by the executor, in the task's turn; a task that aborts itself is dropped
    /// when its poll returns. A finished task stays finished.
    pub fn abort(&self) {
        abort(**self.joinable.task());
    }

    /// Makes a handle that can abort the task and nothing else.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle {
            task: self.joinable.task().clone(),
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
        self.joinable.task().id()
    }

    /// Wakes `waker` when the task finishes; false if it has.
    #[inline]
    pub(crate) fn wait(&self, waker: &Waker) -> bool {
        match waker::target_of(waker) {
            Some(_) if self.is_finished() => false,
            Some(target) => {
                self.joinable.wait_as(target);
                true
            }
            None => self.joinable.wait(waker),
        }
    }

    /// Takes the result if it is no output; else waits for it.
    #[inline(never)]
    fn poll_slowly(&self, cx: &Context<'_>) -> Poll<Result<T, JoinError>> {
        let mut result = self.take();
        if result.is_none() && !self.wait(cx.waker()) {
            result = self.take();
        }
        result.map_or(Poll::Pending, Poll::Ready)
    }

    /// Takes the result if the task is finished.
    fn take(&self) -> Option<Result<T, JoinError>> {
        let result = self.joinable.take()?;
        Some(result.map_err(|panic| JoinError::new(self.id(), panic)))
    }

    /// Takes the result of a task that is finished.
    pub(crate) fn into_result(self) -> Result<T, JoinError> {
        self.take()
            .expect("the caller has seen that the task is finished")
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        local::with(|current| {
            let budget = current.map(Scheduler::budget);
            if let Some(budget) = budget {
                ready!(budget.poll_proceed(cx));
            }
            let result = match self.joinable.take_output() {
                Some(output) => Ok(output),
                None => ready!(self.poll_slowly(cx)),
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
        if !self.joinable.is_taken() {
            self.detach();
        }
    }
}

impl<T> JoinHandle<T> {
    /// Says that nobody takes the result; drops it if it is there.
    fn detach(&self) {
        if self.joinable.has_result() {
            drop_unwanted(self.joinable.task().clone());
        } else {
            self.joinable.detach();
        }
    }
}

/// How many results, each of which holds the handle of the next, are dropped inside one another.
const NESTED: u32 = 32;

per_thread! {
    /// The results that are being dropped on this thread.
    static DROPS: Drops = Drops {
        depth: Cell::new(0),
        deferred: ManuallyDrop::new(RefCell::new(Vec::new())),
    };
}

struct Drops {
    depth: Cell<u32>,
    /// Results that came up beyond the depth. It is empty when the thread ends, and need not be dropped with
    /// the thread's locals, some of which may hold handles.
    deferred: ManuallyDrop<RefCell<Vec<TaskRef>>>,
}

/// Drops a result that nobody takes, in its runtime; in a loop where recursion would go too deep, as with a
/// chain of results that each hold the handle before it.
#[cold]
fn drop_unwanted(task: TaskRef) {
    DROPS.with(|drops| {
        let depth = drops.depth.get();
        if depth == NESTED {
            drops.deferred.borrow_mut().push(task);
            return;
        }
        drops.depth.set(depth + 1);
        drop_one(&task);
        if depth + 1 == NESTED {
            let next = || drops.deferred.borrow_mut().pop();
            while let Some(task) = next() {
                drop_one(&task);
            }
            drop(drops.deferred.take());
        }
        drops.depth.set(depth);
    });
}

fn drop_one(task: &TaskRef) {
    local::run_in(task.runtime(), &mut || task.drop_result());
}

impl<T> Unpin for JoinHandle<T> {}
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id())
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
}

impl AbortHandle {
    /// Asks that the task's future be dropped; see [`JoinHandle::abort`].
    pub fn abort(&self) {
        abort(*self.task);
    }

    /// Whether the task is done: it returned, panicked, or was dropped after an abort.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// The task's number.
    #[must_use]
    pub fn id(&self) -> Id {
        self.task.id()
    }
}

impl UnwindSafe for AbortHandle {}
impl RefUnwindSafe for AbortHandle {}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle")
            .field("id", &self.id())
            .field("is_finished", &self.is_finished())
            .finish()
    }
}

/// Asks that a task's future be dropped, and makes it due for that.
fn abort(task: TaskPtr) {
    if !task.abort() {
        return;
    }
    let (runtime, slot) = (task.runtime(), task.slot());
    local::with(|current| match current {
        Some(current) if current.id() == runtime => current.abort(slot),
        // Such a wake goes by the slot alone.
        _ => remote::wake(WakeTarget::new(runtime.index(), slot, Generation::MAIN)),
    });
}

/// Why a task has no output: it panicked, or it was cancelled.
pub struct JoinError {
    id: Id,
    /// What the panic carried, if there was one. Behind a lock because a payload need not be `Sync`, and errors
    /// should be; in a box because a result is as large as its error.
    panic: Option<Box<Mutex<Payload>>>,
}

impl JoinError {
    fn new(id: Id, panic: Option<Payload>) -> Self {
        let panic = panic.map(|payload| Box::new(Mutex::new(payload)));
        Self { id, panic }
    }

    /// Whether the task was aborted, or dropped with its runtime.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.panic.is_none()
    }

    /// Whether the task panicked: in a poll, or in the drop of its future.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.panic.is_some()
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
        match self.panic {
            None => Err(self),
            Some(payload) => Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// The number of the task.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// The panic's message, if it is text.
    fn message(&self) -> Option<String> {
        let payload = self.panic.as_ref()?.lock();
        let payload = payload.unwrap_or_else(PoisonError::into_inner);
        match payload.downcast_ref::<&'static str>() {
            Some(text) => Some((*text).to_owned()),
            None => payload.downcast_ref::<String>().cloned(),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            Some(message) => write!(f, "task {} panicked with message {message:?}", self.id),
            None if self.is_panic() => write!(f, "task {} panicked", self.id),
            None => write!(f, "task {} was cancelled", self.id),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            Some(message) => write!(f, "JoinError::Panic({:?}, {message:?}, ...)", self.id),
            None if self.is_panic() => write!(f, "JoinError::Panic({:?}, ...)", self.id),
            None => write!(f, "JoinError::Cancelled({:?})", self.id),
        }
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> Self {
        Self::other(error)
    }
}
