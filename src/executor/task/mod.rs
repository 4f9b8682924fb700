//! A task: one allocation that holds a header, then the future, then in its place the output.
//!
//! Called by `executor`, which polls, and by `join`, which waits; calls the user's future.
//!
//! ```text
//!            poll: Pending
//!              ┌──────┐
//!   new        │      ▼      poll: Ready          take (handle)
//!  ──────► [ Future ]──────────► [ Output ] ──────────────────────┐
//!              │                      └── no handle, or dropped ──┤
//!              │ poll or drop panics                take, drop    ▼
//!              ├───────────────► [ Panic ] ────────────────► [ Empty ]
//!              │ abort, shutdown                    take, drop    ▲
//!              └───────────────► [ Cancelled ] ───────────────────┘
//! ```
//!
//! The executor owns one reference until the task has left `Future`; the join handle owns one, abort
//! handles one each. All live on one thread, so nothing here is atomic.
//!
//! # Invariants
//!
//! 1. `stage` says which field of `body` is alive; it changes in the same call that changes `body`,
//!    with no foreign code in between.
//! 2. While foreign code runs in `poll` or in the future's drop, no other call touches `body`: those
//!    that could look at `stage` first, and it says `Future`, which only `poll` and `end` act on,
//!    and the executor calls neither inside the other.
//! 3. The future never moves: it is written into its allocation once and dropped there.

#![expect(
    unsafe_code,
    reason = "a future is erased, and overwritten in place by its output"
)]

mod joiner;
mod memory;

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker, ready};

use self::joiner::Joiner;
use crate::quiet::quietly;

/// What a panic carries.
pub(crate) type Payload = Box<dyn Any + Send + 'static>;

/// Why there is no output.
#[derive(Debug)]
pub(crate) enum Failure {
    Cancelled,
    Panicked(Payload),
}

/// Which field of the body is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The future waits for its next poll, or is in it.
    Future,
    /// The output waits for the handle.
    Output,
    /// The future, or its drop, panicked.
    Panic,
    /// The future was dropped before it was done.
    Cancelled,
    /// The result was taken, or nobody wants it.
    Empty,
}

/// What every task starts with, whatever its future.
struct Header {
    vtable: &'static VTable,
    /// Who waits for the output.
    joiner: Joiner,
    references: Cell<u32>,
    stage: Cell<Stage>,
    /// A join handle exists, so the output is kept.
    is_joinable: Cell<bool>,
    /// The future is to be dropped instead of polled again.
    is_aborted: Cell<bool>,
    /// The executor has it in its queue, or is polling it.
    is_due: Cell<bool>,
}

#[repr(C)]
struct Allocation<F: Future> {
    header: Header,
    body: UnsafeCell<Body<F>>,
}

/// Room for whichever is alive; each field starts where the union does.
#[repr(C)]
union Body<F: Future> {
    future: ManuallyDrop<F>,
    output: ManuallyDrop<F::Output>,
    panic: ManuallyDrop<Box<Payload>>,
}

/// The operations that know the future's type. Each must be given a task of that type.
struct VTable {
    /// Polls the future; on `Ready` the body holds the result. In stage `Future` only.
    poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> Poll<()>,
    /// Drops the future because its poll panicked, or for no such reason: then it was cancelled. In
    /// stage `Future` only.
    end: unsafe fn(NonNull<Header>, Option<Payload>),
    /// Moves the output to the pointer. In stage `Output` only.
    take_output: unsafe fn(NonNull<Header>, *mut ()),
    /// Moves the panic out. In stage `Panic` only.
    take_panic: unsafe fn(NonNull<Header>) -> Payload,
    /// Drops the output, quietly. In stage `Output` only.
    drop_output: unsafe fn(NonNull<Header>),
    /// Frees the memory. When no references are left.
    free: unsafe fn(NonNull<Header>),
}

/// A counted reference to a task.
pub(crate) struct TaskRef(NonNull<Header>);

impl TaskRef {
    /// Whether the future is done or dropped.
    pub(crate) fn is_finished(&self) -> bool {
        self.header().stage.get() != Stage::Future
    }

    /// Asks that the future be dropped; true if someone must now make the task due.
    pub(crate) fn abort(&self) -> bool {
        !self.is_finished() && !self.header().is_aborted.replace(true)
    }

    /// Whether the future is to be dropped instead of polled again.
    #[inline]
    pub(crate) fn is_aborted(&self) -> bool {
        self.header().is_aborted.get()
    }

    /// Whether the executor has it in its queue, or is polling it.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.header().is_due.get()
    }

    #[inline]
    pub(crate) fn set_due(&self, is_due: bool) {
        self.header().is_due.set(is_due);
    }

    /// Polls the future; a panic of its poll goes to the caller, who gives it to [`TaskRef::finish`].
    #[inline]
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<()> {
        debug_assert!(
            !self.is_finished(),
            "the executor lets go of finished tasks"
        );
        let mut cx = Context::from_waker(waker);
        // SAFETY: the vtable is this task's own, and its stage is `Future`: see above.
        unsafe { (self.header().vtable.poll)(self.0, &mut cx) }
    }

    #[inline]
    fn end(&self, panic: Option<Payload>) {
        if !self.is_finished() {
            // SAFETY: the vtable is this task's own, and its stage is `Future`: the line above.
            unsafe { (self.header().vtable.end)(self.0, panic) };
        }
    }

    /// Ends the task: drops the future if it is still there, because its poll ended with `panic` or because
    /// it is cancelled, then tells whoever waits.
    #[inline]
    pub(crate) fn finish(&self, panic: Option<Payload>) {
        self.end(panic);
        if !self.header().is_joinable.get() {
            self.drop_result();
        }
        if let Some(joiner) = self.header().joiner.take() {
            quietly(|| joiner.wake());
        }
    }

    /// Drops the output or the panic, if there is one; a panic in that goes nowhere.
    fn drop_result(&self) {
        match self.header().stage.get() {
            // SAFETY: the vtable is this task's own, and the stage is `Output`: the pattern.
            Stage::Output => unsafe { (self.header().vtable.drop_output)(self.0) },
            Stage::Panic => quietly(|| drop(self.take_panic())),
            Stage::Future | Stage::Cancelled | Stage::Empty => {}
        }
    }

    fn take_panic(&self) -> Payload {
        assert_eq!(self.header().stage.get(), Stage::Panic);
        // SAFETY: the vtable is this task's own, and the stage is `Panic`: the line above.
        unsafe { (self.header().vtable.take_panic)(self.0) }
    }

    fn header(&self) -> &Header {
        // SAFETY: the pointer must be valid for reads: the allocation lives while a reference to it
        // does, and this is one.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for TaskRef {
    fn clone(&self) -> Self {
        let references = self.header().references.get();
        self.header().references.set(
            references
                .checked_add(1)
                .expect("fewer than 2^32 handles of a task"),
        );
        Self(self.0)
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        let references = self.header().references.get() - 1;
        self.header().references.set(references);
        if references == 0 {
            let free = self.header().vtable.free;
            // SAFETY: no references may be left: the count is zero, and this one ends here.
            unsafe { free(self.0) };
        }
    }
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskRef")
            .field(&self.header().stage.get())
            .finish()
    }
}

/// The reference that waits for the output, which is a `T`.
pub(crate) struct Joinable<T> {
    task: TaskRef,
    output: PhantomData<T>,
}

/// Makes a task of a future, due: the executor's reference and the handle's.
pub(crate) fn new<F>(future: F) -> (TaskRef, Joinable<F::Output>)
where
    F: Future + 'static,
{
    let allocation = Allocation {
        header: Header {
            vtable: Allocation::<F>::VTABLE,
            joiner: Joiner::none(),
            references: Cell::new(2),
            stage: Cell::new(Stage::Future),
            is_joinable: Cell::new(true),
            is_aborted: Cell::new(false),
            is_due: Cell::new(true),
        },
        body: UnsafeCell::new(Body {
            future: ManuallyDrop::new(future),
        }),
    };
    let block = memory::allocate();
    // SAFETY: the pointer must be valid for writing an `Allocation<F>`: it was allocated for one.
    unsafe { block.write(allocation) };
    let pointer = block.cast();
    let joinable = Joinable {
        task: TaskRef(pointer),
        output: PhantomData,
    };
    (TaskRef(pointer), joinable)
}

/// How many bytes a task takes besides its future.
#[cfg(test)]
pub(crate) const OVERHEAD: usize = size_of::<Header>();

impl<T> Joinable<T> {
    pub(crate) fn task(&self) -> &TaskRef {
        &self.task
    }

    /// Takes the result if the task is finished.
    ///
    /// # Panics
    ///
    /// When the result was taken before.
    pub(crate) fn take(&self) -> Option<Result<T, Failure>> {
        let header = self.task.header();
        if header.stage.get() == Stage::Output {
            return Some(Ok(self.take_output()));
        }
        match header.stage.get() {
            Stage::Future | Stage::Output => None,
            Stage::Panic => Some(Err(Failure::Panicked(self.task.take_panic()))),
            Stage::Cancelled => {
                header.stage.set(Stage::Empty);
                Some(Err(Failure::Cancelled))
            }
            Stage::Empty => panic!("a JoinHandle was polled after it had returned its result"),
        }
    }

    fn take_output(&self) -> T {
        let mut output = MaybeUninit::<T>::uninit();
        // SAFETY: the vtable is this task's own, its stage is `Output` (the caller's check), and
        // `T` is the future's output type: `new` is the only maker of `Joinable`s.
        unsafe { (self.task.header().vtable.take_output)(self.task.0, output.as_mut_ptr().cast()) };
        // SAFETY: it must be initialised: `take_output` just wrote it.
        unsafe { output.assume_init() }
    }

    /// Wakes `waker`, and only it, when the task finishes; false if it has.
    pub(crate) fn wait(&self, waker: &Waker) -> bool {
        let joiner = &self.task.header().joiner;
        match joiner.take() {
            Some(before) if before.will_wake(waker) => {
                joiner.set(before);
                return true;
            }
            Some(other) => quietly(|| drop(other)),
            None => {}
        }
        let waker = waker.clone();
        if self.task.is_finished() {
            // The clone is foreign code, and has ended the task's runtime.
            quietly(|| drop(waker));
            return false;
        }
        joiner.set(waker);
        true
    }

    /// Says that nobody will take the result; drops it if it is there.
    pub(crate) fn detach(&self) {
        self.task.header().is_joinable.set(false);
        self.task.drop_result();
        let joiner = self.task.header().joiner.take();
        quietly(|| drop(joiner));
    }

    /// Whether [`Joinable::detach`] will drop a result.
    pub(crate) fn has_result(&self) -> bool {
        matches!(self.task.header().stage.get(), Stage::Output | Stage::Panic)
    }

    /// Whether the result was taken, so that there is nothing to detach from.
    #[inline]
    pub(crate) fn is_taken(&self) -> bool {
        self.task.header().stage.get() == Stage::Empty
    }
}

impl<F: Future> Allocation<F> {
    const VTABLE: &'static VTable = &VTable {
        poll: Self::poll,
        end: Self::end,
        take_output: Self::take_output,
        take_panic: Self::take_panic,
        drop_output: Self::drop_output,
        free: Self::free,
    };

    /// # Safety
    ///
    /// `task` points to a live `Allocation<F>`.
    unsafe fn of<'a>(task: NonNull<Header>) -> &'a Self {
        // SAFETY: the caller's; the header is the first field of a `repr(C)` struct.
        unsafe { task.cast::<Self>().as_ref() }
    }

    fn future(&self) -> *mut F {
        self.body.get().cast()
    }

    fn output(&self) -> *mut F::Output {
        self.body.get().cast()
    }

    fn panic(&self) -> *mut Box<Payload> {
        self.body.get().cast()
    }

    unsafe fn poll(task: NonNull<Header>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: the table belongs to tasks of this type, and a `TaskRef` calls.
        let this = unsafe { Self::of(task) };
        // SAFETY: the future must be alive and borrowed by nobody else: the stage is `Future`, and
        // invariant 2.
        let future = unsafe { &mut *this.future() };
        // SAFETY: the future must never move again: invariant 3.
        let output = ready!(unsafe { Pin::new_unchecked(future) }.poll(cx));
        this.replace(Some(Ok(output)));
        Poll::Ready(())
    }

    unsafe fn end(task: NonNull<Header>, panic: Option<Payload>) {
        // SAFETY: the table belongs to tasks of this type, and a `TaskRef` calls.
        unsafe { Self::of(task) }.replace(panic.map(Err));
    }

    /// Drops the future and puts the result in its place; `None` is a cancellation.
    fn replace(&self, result: Option<Result<F::Output, Payload>>) {
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the future must be alive and not be used again: the stage is `Future`, and it
            // changes below before anyone could look.
            unsafe { self.future().drop_in_place() };
        }));
        match (result, dropped) {
            (None, Ok(())) => self.header.stage.set(Stage::Cancelled),
            (Some(Ok(output)), Ok(())) => self.store_output(output),
            (Some(Err(payload)), Ok(())) | (None, Err(payload)) => self.store_panic(payload),
            (Some(Err(payload)), Err(second)) => {
                quietly(|| drop(second));
                self.store_panic(payload);
            }
            (Some(Ok(output)), Err(payload)) => {
                quietly(|| drop(output));
                self.store_panic(payload);
            }
        }
    }

    fn store_output(&self, output: F::Output) {
        // SAFETY: the body must be valid for writing an output and hold nothing that lives: `replace`
        // dropped the future.
        unsafe { self.output().write(output) };
        self.header.stage.set(Stage::Output);
    }

    fn store_panic(&self, payload: Payload) {
        let payload = Box::new(payload);
        // SAFETY: the body must be valid for writing a box and hold nothing that lives: `replace`
        // dropped the future.
        unsafe { self.panic().write(payload) };
        self.header.stage.set(Stage::Panic);
    }

    unsafe fn take_output(task: NonNull<Header>, to: *mut ()) {
        // SAFETY: the table belongs to tasks of this type, and a `TaskRef` calls.
        let this = unsafe { Self::of(task) };
        this.header.stage.set(Stage::Empty);
        // SAFETY: the output must be alive and not be used again: the caller says that the stage was
        // `Output`, and now it is `Empty`.
        let output = unsafe { this.output().read() };
        // SAFETY: the pointer must be valid for writing an output: the caller's.
        unsafe { to.cast::<F::Output>().write(output) };
    }

    unsafe fn take_panic(task: NonNull<Header>) -> Payload {
        // SAFETY: the table belongs to tasks of this type, and a `TaskRef` calls.
        let this = unsafe { Self::of(task) };
        this.header.stage.set(Stage::Empty);
        // SAFETY: the panic must be alive and not be used again: the caller says that the stage was
        // `Panic`, and now it is `Empty`.
        *unsafe { this.panic().read() }
    }

    unsafe fn drop_output(task: NonNull<Header>) {
        // SAFETY: the table belongs to tasks of this type, and a `TaskRef` calls.
        let this = unsafe { Self::of(task) };
        this.header.stage.set(Stage::Empty);
        quietly(|| {
            // SAFETY: the output must be alive and not be used again: the caller says that the stage
            // was `Output`, and now it is `Empty`.
            unsafe { this.output().drop_in_place() };
        });
    }

    unsafe fn free(task: NonNull<Header>) {
        // SAFETY: the block must be the one that `new` allocated for this type, and hold nothing that
        // needs a drop: the last reference calls; the executor has finished the task, which took the
        // joiner, and the handle has taken or dropped the result.
        unsafe { memory::free(task.cast::<Self>()) };
    }
}
