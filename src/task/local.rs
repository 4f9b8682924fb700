//! Values that belong to a task as thread-locals belong to a thread.

use std::cell::RefCell;
use std::error;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use pin_project_lite::pin_project;

/// Declares values that belong to a task; each becomes a [`LocalKey`](crate::task::LocalKey).
///
/// # Examples
///
/// ```
/// runtime::task_local! {
///     /// Which request the task serves.
///     static REQUEST: u64;
/// }
///
/// # runtime::block_on(async {
/// let number = REQUEST.scope(7, async { REQUEST.get() }).await;
/// assert_eq!(number, 7);
/// # });
/// ```
#[macro_export]
macro_rules! task_local {
    () => {};
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty; $($rest:tt)*) => {
        $crate::__task_local!($(#[$attribute])* $visibility $name, $type);
        $crate::task_local!($($rest)*);
    };
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty) => {
        $crate::__task_local!($(#[$attribute])* $visibility $name, $type);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __task_local {
    ($(#[$attribute:meta])* $visibility:vis $name:ident, $type:ty) => {
        $(#[$attribute])*
        $visibility static $name: $crate::task::LocalKey<$type> = {
            ::std::thread_local! {
                static VALUE: ::std::cell::RefCell<::std::option::Option<$type>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }
            $crate::task::LocalKey::__new(&VALUE)
        };
    };
}

/// A value that belongs to a task; declared by [`task_local!`](crate::task_local).
///
/// It is set for the length of a future by [`scope`](Self::scope), and seen by whatever that future
/// calls; a task that the future spawns does not see it.
pub struct LocalKey<T: 'static> {
    value: &'static thread::LocalKey<RefCell<Option<T>>>,
}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn __new(value: &'static thread::LocalKey<RefCell<Option<T>>>) -> Self {
        Self { value }
    }

    /// Sets the value while `future` is polled, and while it is dropped.
    ///
    /// Scopes nest: the inner value hides the outer one.
    ///
    /// # Examples
    ///
    /// ```
    /// runtime::task_local!(static DEPTH: u32);
    ///
    /// # runtime::block_on(async {
    /// DEPTH.scope(1, async {
    ///     assert_eq!(DEPTH.scope(2, async { DEPTH.get() }).await, 2);
    ///     assert_eq!(DEPTH.get(), 1);
    /// }).await;
    /// # });
    /// ```
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> TaskLocalFuture<T, F> {
        TaskLocalFuture {
            key: self,
            value: Some(value),
            future: Some(future),
        }
    }

    /// Sets the value while `call` runs.
    ///
    /// # Panics
    ///
    /// When called inside of [`with`](Self::with) on the same key.
    #[track_caller]
    pub fn sync_scope<R>(&'static self, value: T, call: impl FnOnce() -> R) -> R {
        match self.swapped(&mut Some(value), call) {
            Ok(result) => result,
            Err(reason) => panic!("{reason}"),
        }
    }

    /// Calls `call` with the value.
    ///
    /// # Panics
    ///
    /// When the value is not set here.
    #[track_caller]
    pub fn with<R>(&'static self, call: impl FnOnce(&T) -> R) -> R {
        match self.try_with(call) {
            Ok(result) => result,
            Err(_) => panic!("a task-local value was used outside of its scope"),
        }
    }

    /// Calls `call` with the value.
    ///
    /// # Errors
    ///
    /// When the value is not set here.
    pub fn try_with<R>(&'static self, call: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        let access = self.value.try_with(|value| {
            let value = value.try_borrow().map_err(|_| AccessError(()))?;
            value.as_ref().map(call).ok_or(AccessError(()))
        });
        access.unwrap_or(Err(AccessError(())))
    }

    /// A copy of the value.
    ///
    /// # Panics
    ///
    /// When the value is not set here.
    #[track_caller]
    #[must_use]
    pub fn get(&'static self) -> T
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    /// A copy of the value.
    ///
    /// # Errors
    ///
    /// When the value is not set here.
    pub fn try_get(&'static self) -> Result<T, AccessError>
    where
        T: Clone,
    {
        self.try_with(T::clone)
    }

    /// Runs `call` with the thread's value and `slot` exchanged; or says why the scope cannot be entered.
    fn swapped<R>(
        &'static self,
        slot: &mut Option<T>,
        call: impl FnOnce() -> R,
    ) -> Result<R, &'static str> {
        struct Restore<'a, T: 'static> {
            key: &'static LocalKey<T>,
            slot: &'a mut Option<T>,
        }
        impl<T> Drop for Restore<'_, T> {
            fn drop(&mut self) {
                // It worked on the way in, and every borrow since has ended.
                let _ = self.key.exchange(self.slot);
            }
        }
        self.exchange(slot)?;
        let _restore = Restore { key: self, slot };
        Ok(call())
    }

    fn exchange(&'static self, slot: &mut Option<T>) -> Result<(), &'static str> {
        let exchanged = self.value.try_with(|value| {
            let mut value = value
                .try_borrow_mut()
                .map_err(|_| "a task-local scope was entered inside of `with` on the same key")?;
            mem::swap(&mut *value, slot);
            Ok(())
        });
        exchanged.unwrap_or(Err("a task-local scope was entered while the thread ends"))
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

/// A task-local value is not set here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessError(());

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("task-local value not set")
    }
}

impl error::Error for AccessError {}

pin_project! {
    /// The future behind [`LocalKey::scope`].
    pub struct TaskLocalFuture<T: 'static, F> {
        key: &'static LocalKey<T>,
        value: Option<T>,
        #[pin]
        future: Option<F>,
    }

    impl<T: 'static, F> PinnedDrop for TaskLocalFuture<T, F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let mut future = this.future;
            if future.is_some() {
                // Where the value cannot be set, the future is dropped without it, as a field.
                let _ = this.key.swapped(this.value, || future.set(None));
            }
        }
    }
}

impl<T: 'static, F> TaskLocalFuture<T, F> {
    /// Takes the value out, unless it was taken before; later polls panic.
    pub fn take_value(self: Pin<&mut Self>) -> Option<T> {
        self.project().value.take()
    }
}

impl<T: 'static, F: Future> Future for TaskLocalFuture<T, F> {
    type Output = F::Output;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut future = this.future;
        let polled = this.key.swapped(this.value, || {
            let inner = future
                .as_mut()
                .as_pin_mut()
                .expect("a `TaskLocalFuture` was polled after it was done");
            let polled = inner.poll(cx);
            if polled.is_ready() {
                future.set(None);
            }
            polled
        });
        match polled {
            Ok(polled) => polled,
            Err(reason) => panic!("{reason}"),
        }
    }
}

impl<T: 'static + fmt::Debug, F> fmt::Debug for TaskLocalFuture<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLocalFuture")
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}
