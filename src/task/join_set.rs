//! A set of tasks, from which the finished ones are taken as they finish.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use slab::Slab;

use super::budget::{charge_budget, poll_budget};
use super::{AbortHandle, Id, JoinError, JoinHandle, spawn};
use crate::quiet::quietly;

/// A set of tasks with outputs of one type.
///
/// Outputs come in the order in which the tasks finish. Dropping the set aborts all its tasks. Taking a
/// finished task costs the same however many there are.
///
/// # Examples
///
/// ```
/// use runtime::task::JoinSet;
///
/// # runtime::block_on(async {
/// let mut set = JoinSet::new();
/// for number in 0..10 {
///     set.spawn(async move { number });
/// }
/// let mut sum = 0;
/// while let Some(number) = set.join_next().await {
///     sum += number.unwrap();
/// }
/// assert_eq!(sum, 45);
/// # });
/// ```
pub struct JoinSet<T> {
    tasks: Slab<JoinHandle<T>>,
    finished: Rc<Finished>,
}

/// What the tasks of a set tell it.
#[derive(Default)]
struct Finished {
    /// The keys of the tasks whose futures are gone, first come first taken.
    keys: RefCell<VecDeque<usize>>,
    /// Who waits for one.
    waker: Cell<Option<Waker>>,
}

/// Tells the set when it is dropped, which is after the future was.
struct Report {
    finished: Rc<Finished>,
    key: usize,
}

impl Drop for Report {
    fn drop(&mut self) {
        self.finished.keys.borrow_mut().push_back(self.key);
        if let Some(waker) = self.finished.waker.take() {
            quietly(|| waker.wake());
        }
    }
}

pin_project! {
    /// A task of a set.
    struct Member<F> {
        #[pin]
        future: F,
        // Dropped after the future, as it stands after it.
        report: Report,
    }
}

impl<F: Future> Future for Member<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

impl<T> JoinSet<T> {
    /// Makes an empty set; no runtime is needed for that.
    #[must_use]
    pub fn new() -> Self {
        Self {
            tasks: Slab::new(),
            finished: Rc::default(),
        }
    }

    /// How many tasks are in the set, finished or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether no task is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Aborts all tasks; they stay in the set until they are taken.
    pub fn abort_all(&mut self) {
        for (_, task) in &self.tasks {
            task.abort();
        }
    }

    /// Takes all tasks out and lets them go on by themselves.
    pub fn detach_all(&mut self) {
        drop(std::mem::take(&mut self.tasks));
        // Tasks that have not finished will report to the old list.
        self.finished = Rc::default();
    }
}

impl<T: 'static> JoinSet<T> {
    /// Spawns a task into the set.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        let entry = self.tasks.vacant_entry();
        let report = Report {
            finished: Rc::clone(&self.finished),
            key: entry.key(),
        };
        let task = spawn(Member { future, report });
        let abort = task.abort_handle();
        entry.insert(task);
        abort
    }

    /// Spawns a task into the set; the same as [`spawn`](Self::spawn), which needs no `Send` here.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn_local<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        self.spawn(future)
    }

    /// Waits for a task to finish and takes it; `None` when the set is empty.
    ///
    /// # Errors
    ///
    /// The task's own, when it panicked or was aborted.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken no task.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|cx| self.poll_join_next(cx)).await
    }

    /// Waits for a task to finish and takes it with its number; `None` when the set is empty.
    ///
    /// # Errors
    ///
    /// The task's own, which knows the number too.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken no task.
    pub async fn join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        poll_fn(|cx| self.poll_join_next_with_id(cx)).await
    }

    /// Takes a task that has finished, if there is one.
    ///
    /// # Errors
    ///
    /// The task's own, when it panicked or was aborted.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.try_join_next_with_id().map(without_id)
    }

    /// Takes a task that has finished, with its number, if there is one.
    ///
    /// # Errors
    ///
    /// The task's own, which knows the number too.
    pub fn try_join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        // Every key is tried once at most: a task that reported is done when its poll ends, so only
        // code that runs within that poll can meet one that is not.
        let reports = self.finished.keys.borrow().len();
        for _ in 0..reports {
            let key = self.finished.keys.borrow_mut().pop_front()?;
            match self.tasks.get(key).map(JoinHandle::is_finished) {
                Some(true) => {
                    let task = self.tasks.remove(key);
                    let id = task.id();
                    return Some(task.into_result().map(|output| (id, output)));
                }
                Some(false) => self.finished.keys.borrow_mut().push_back(key),
                // `spawn` panicked, outside of a runtime, before the task was in the set.
                None => {}
            }
        }
        None
    }

    /// Polls for a task to finish; see [`join_next`](Self::join_next).
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        self.poll_join_next_with_id(cx)
            .map(|taken| taken.map(without_id))
    }

    /// Polls for a task to finish; see [`join_next_with_id`](Self::join_next_with_id).
    pub fn poll_join_next_with_id(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<(Id, T), JoinError>>> {
        if self.is_empty() {
            return Poll::Ready(None);
        }
        if poll_budget(cx).is_pending() {
            return Poll::Pending;
        }
        if let Some(taken) = self.try_join_next_with_id() {
            charge_budget();
            return Poll::Ready(Some(taken));
        }
        let waker = cx.waker().clone();
        let before = self.finished.waker.replace(Some(waker));
        quietly(|| drop(before));
        // Their reports came, but they end only with the poll that called us: their handles will wake.
        let keys = self.finished.keys.borrow().clone();
        for key in keys {
            if let Some(task) = self.tasks.get(key)
                && !task.wait(cx.waker())
            {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    /// Aborts all tasks and waits until they are gone.
    ///
    /// # Cancel safety
    ///
    /// The tasks are aborted in any case; waiting can be taken up again.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }

    /// Waits for all tasks and returns their outputs, in the order in which they finished.
    ///
    /// # Panics
    ///
    /// When a task panicked, with its panic, or was aborted; the others are aborted then.
    pub async fn join_all(mut self) -> Vec<T> {
        let mut outputs = Vec::with_capacity(self.len());
        while let Some(result) = self.join_next().await {
            match result {
                Ok(output) => outputs.push(output),
                Err(error) => match error.try_into_panic() {
                    Ok(payload) => std::panic::resume_unwind(payload),
                    Err(error) => panic!("`join_all` found that {error}"),
                },
            }
        }
        outputs
    }
}

fn without_id<T>(taken: Result<(Id, T), JoinError>) -> Result<T, JoinError> {
    taken.map(|(_, output)| output)
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.abort_all();
        // The tasks keep what they report to, but nobody waits for that any more.
        let waker = self.finished.waker.take();
        quietly(|| drop(waker));
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Spawns each future of the iterator.
///
/// # Panics
///
/// Outside of a runtime.
impl<T, F> FromIterator<F> for JoinSet<T>
where
    T: 'static,
    F: Future<Output = T> + 'static,
{
    fn from_iter<I: IntoIterator<Item = F>>(futures: I) -> Self {
        let mut set = Self::new();
        set.extend(futures);
        set
    }
}

impl<T, F> Extend<F> for JoinSet<T>
where
    T: 'static,
    F: Future<Output = T> + 'static,
{
    fn extend<I: IntoIterator<Item = F>>(&mut self, futures: I) {
        for future in futures {
            self.spawn(future);
        }
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish()
    }
}
