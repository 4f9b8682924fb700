//! A task: one block of memory that holds a header, then the future, then in its place the output.
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
//! The slot owns one reference until the task has left `Future`; the join handle owns one, abort handles
//! one each. All live on one thread, so nothing here is atomic.
//!
//! # Invariants
//!
//! 1. `stage` says what the body holds; it changes in the same call that changes the body, with no foreign
//!    code in between.
//! 2. While foreign code runs in `poll` or in the future's drop, no other call touches the body: those
//!    that could look at `stage` first, and it says `Future`, which only `poll` and `end` act on,
//!    and the executor calls neither inside the other.
//! 3. The future never moves: it is written into its block once and dropped there.
//! 4. A [`TaskPtr`] is used only while somebody owns a reference: the slot, whose pointer the executor copies
//!    without counting it for the length of a poll, or the holder of a [`TaskRef`].

#![expect(
    unsafe_code,
    reason = "a future is erased, and overwritten in place by its output"
)]

mod joiner;
mod layout;
mod pool;
mod slots;
mod typed;

use std::alloc::Layout;
use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};

pub(crate) use self::joiner::Joiner;
use self::joiner::JoinerWord;
pub(crate) use self::pool::Pool;
#[cfg(test)]
pub(crate) use self::slots::SLOT_SIZE;
pub(crate) use self::slots::{Class, Slots};
use self::typed::Typed;
use super::id::Id;
use crate::quiet::quietly;
use crate::remote::{RuntimeId, WakeTarget};

/// What a panic carries.
pub(crate) type Payload = Box<dyn Any + Send + 'static>;

/// What the body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Stage {
    /// The future, which waits for its next poll, or is in it.
    Future,
    /// The output, which waits for the handle.
    Output,
    /// The panic of the future, or of its drop.
    Panic,
    /// Nothing: the future was dropped before it was done.
    Cancelled,
    /// Nothing: the result was taken, or nobody wants it.
    Empty,
}

/// What every task starts with, whatever its future.
struct Header {
    vtable: &'static VTable,
    /// Who waits for the output.
    joiner: JoinerWord,
    id: Id,
    slot: u32,
    /// The stage, the flags, and above them the count of references.
    state: Cell<u32>,
}

/// The bits of `state` that say the stage.
const STAGE: u32 = 7;
/// A join handle exists, so the output is kept.
const JOINABLE: u32 = 8;
/// The future is to be dropped instead of polled again.
const ABORTED: u32 = 16;
/// The block is one of a pool.
const POOLED: u32 = 32;
/// One reference.
const REFERENCE: u32 = 256;

/// The operations that know the future's type. Each must be given a task of that type.
///
/// What is the same for all tasks of a type (its name, say) belongs here, where it costs a task nothing.
struct VTable {
    /// Polls the future; on `Ready` the body holds the result. In stage `Future` only.
    poll: unsafe fn(TaskPtr, &mut Context<'_>) -> Poll<()>,
    /// Drops the future because its poll panicked, or for no such reason: then it was cancelled. In
    /// stage `Future` only.
    end: unsafe fn(TaskPtr, Option<Payload>),
    /// Drops the output, quietly. In stage `Output` only.
    drop_output: unsafe fn(TaskPtr),
    layout: Layout,
}

/// A task, not counted; see invariant 4.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskPtr(NonNull<Header>);

/// How many bytes a task takes besides its future.
#[cfg(test)]
pub(crate) const OVERHEAD: usize = size_of::<Header>();

/// Makes a task of a future: the slot's reference and the handle's.
#[inline]
pub(crate) fn new<F>(pool: &Pool, future: F, id: Id, slot: u32) -> (TaskPtr, Joinable<F::Output>)
where
    F: Future + 'static,
{
    let vtable = Typed::<F>::VTABLE;
    let (task, pooled) = match const { pool::class_of(Typed::<F>::VTABLE.layout) } {
        Some(class) => (pool.allocate(class).cast(), POOLED),
        None => (layout::allocate_plain(pool.runtime(), vtable.layout), 0),
    };
    let task = TaskPtr(task);
    let header = Header {
        vtable,
        joiner: JoinerWord::none(),
        id,
        slot,
        state: Cell::new(Stage::Future as u32 | JOINABLE | pooled | (2 * REFERENCE)),
    };
    // SAFETY: it must be valid for writing a header: the block was allocated for one.
    unsafe { task.0.write(header) };
    // SAFETY: it must be valid for writing the future: the block has room for it there.
    unsafe { task.body::<F>().write(future) };
    let joinable = Joinable {
        task: TaskRef(task),
        output: PhantomData,
    };
    (task, joinable)
}

impl TaskPtr {
    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: the pointer must be valid for reads: invariant 4.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn state(self) -> u32 {
        self.header().state.get()
    }

    #[inline]
    fn has(self, flag: u32) -> bool {
        self.state() & flag != 0
    }

    #[inline]
    fn stage(self) -> Stage {
        Stage::of(self.state())
    }

    #[inline]
    fn set_stage(self, stage: Stage) {
        let others = self.state() & !STAGE;
        self.header().state.set(others | stage as u32);
    }

    #[inline]
    pub(crate) fn id(self) -> Id {
        self.header().id
    }

    /// The slot of the executor, until the task is finished.
    #[inline]
    pub(crate) fn slot(self) -> u32 {
        self.header().slot
    }

    /// The runtime whose task this is; it may be gone.
    pub(crate) fn runtime(self) -> RuntimeId {
        if self.has(POOLED) {
            return pool::runtime_of(self.0.cast());
        }
        // SAFETY: the block must be from outside of the pools: the flag says so.
        unsafe { layout::runtime_of(self.0) }
    }

    /// Whether the future is done or dropped.
    #[inline]
    pub(crate) fn is_finished(self) -> bool {
        self.stage() != Stage::Future
    }

    /// Asks that the future be dropped; true if someone must now make the task due.
    pub(crate) fn abort(self) -> bool {
        let is_first = !self.is_finished() && !self.has(ABORTED);
        self.header().state.set(self.state() | ABORTED);
        is_first
    }

    /// Whether the future is to be dropped instead of polled again.
    #[inline]
    pub(crate) fn is_aborted(self) -> bool {
        self.has(ABORTED)
    }

    /// Polls the future; a panic of its poll goes to the caller, who gives it to [`TaskPtr::finish`].
    #[inline]
    pub(crate) fn poll(self, waker: &Waker) -> Poll<()> {
        debug_assert!(
            !self.is_finished(),
            "the executor lets go of finished tasks"
        );
        let mut cx = Context::from_waker(waker);
        // SAFETY: the vtable is this task's own, and its stage is `Future`: see above.
        unsafe { (self.header().vtable.poll)(self, &mut cx) }
    }

    /// What is left to do for a task whose poll returned.
    #[inline]
    pub(crate) fn settle(self) -> Settled {
        if self.state() & (STAGE | JOINABLE) != Stage::Output as u32 | JOINABLE {
            return Settled::Unfinished;
        }
        let joiner = &self.header().joiner;
        if joiner.is_none() {
            return Settled::Kept;
        }
        joiner
            .take_ours()
            .map_or(Settled::Unfinished, Settled::Awaited)
    }

    /// Ends the task: drops the future if it is still there, because its poll ended with `panic` or because
    /// it is cancelled; returns the waiter, to be woken.
    pub(crate) fn finish(self, panic: Option<Payload>) -> Option<Joiner> {
        if !self.is_finished() {
            // SAFETY: the vtable is this task's own, and its stage is `Future`: the line above.
            unsafe { (self.header().vtable.end)(self, panic) };
        }
        if !self.has(JOINABLE) {
            self.drop_result();
        }
        self.take_joiner()
    }

    /// Drops the output or the panic, if there is one; a panic in that goes nowhere.
    pub(crate) fn drop_result(self) {
        match self.stage() {
            // SAFETY: the vtable is this task's own, and the stage is `Output`: the pattern.
            Stage::Output => unsafe { (self.header().vtable.drop_output)(self) },
            Stage::Panic => quietly(|| drop(self.take_panic())),
            Stage::Future | Stage::Cancelled | Stage::Empty => {}
        }
    }

    fn take_panic(self) -> Payload {
        assert_eq!(self.stage(), Stage::Panic);
        self.set_stage(Stage::Empty);
        // SAFETY: the panic must be alive and not be used again: the stage was `Panic`, and now it is `Empty`.
        *unsafe { self.body::<Box<Payload>>().read() }
    }

    #[inline]
    fn take_joiner(self) -> Option<Joiner> {
        self.header().joiner.take(self.has(POOLED))
    }

    #[inline]
    fn set_joiner(self, joiner: Joiner) {
        let pooled = self.has(POOLED).then(|| self.0.cast());
        self.header().joiner.set(joiner, pooled);
    }

    /// Where a future, an output or a box lies.
    #[inline]
    fn body<T>(self) -> NonNull<T> {
        // SAFETY: the offset must stay within the block: it was laid out for it.
        unsafe { self.0.byte_add(const { layout::offset_of::<T>() }) }.cast()
    }

    /// Drops the slot's reference, which nobody uses again.
    #[inline]
    pub(crate) fn release(self) {
        drop(TaskRef(self));
    }
}

/// What is left to do for a task whose poll returned.
pub(crate) enum Settled {
    /// Nothing: its output is kept for a handle.
    Kept,
    /// Its output is kept for a handle, and this task of ours is to be woken.
    Awaited(WakeTarget),
    /// Something rare: [`TaskPtr::finish`].
    Unfinished,
}

impl Stage {
    #[inline]
    fn of(state: u32) -> Self {
        match state & STAGE {
            0 => Self::Future,
            1 => Self::Output,
            2 => Self::Panic,
            3 => Self::Cancelled,
            _ => Self::Empty,
        }
    }
}

impl fmt::Debug for TaskPtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskPtr").field(&self.stage()).finish()
    }
}

/// A counted reference to a task.
#[derive(Debug)]
pub(crate) struct TaskRef(TaskPtr);

impl std::ops::Deref for TaskRef {
    type Target = TaskPtr;

    #[inline]
    fn deref(&self) -> &TaskPtr {
        &self.0
    }
}

impl Clone for TaskRef {
    fn clone(&self) -> Self {
        let state = self.state().checked_add(REFERENCE);
        let state = state.expect("fewer than 2^24 handles of a task");
        self.header().state.set(state);
        Self(self.0)
    }
}

impl Drop for TaskRef {
    #[inline]
    fn drop(&mut self) {
        let state = self.state() - REFERENCE;
        self.header().state.set(state);
        if state >= REFERENCE {
            return;
        }
        // What both ways of freeing need: the last reference calls; the executor has finished the task, which
        // took the joiner, and the handle has taken or dropped the result.
        if state & POOLED != 0 {
            // SAFETY: the block came from a pool, holds nothing that needs a drop and is not used again: see
            // above.
            unsafe { pool::free(self.0.0.cast()) };
        } else {
            // SAFETY: the block was allocated so, holds nothing that needs a drop and is not used again: see
            // above.
            unsafe { layout::free_plain(self.0.0, self.header().vtable.layout) };
        }
    }
}

/// The reference that waits for the output, which is a `T`.
pub(crate) struct Joinable<T> {
    task: TaskRef,
    output: PhantomData<T>,
}

impl<T> Joinable<T> {
    #[inline]
    pub(crate) fn task(&self) -> &TaskRef {
        &self.task
    }

    /// Takes the output if it is there.
    #[inline]
    pub(crate) fn take_output(&self) -> Option<T> {
        if self.task.stage() != Stage::Output {
            return None;
        }
        self.task.set_stage(Stage::Empty);
        // SAFETY: the output must be alive and not be used again: the stage was `Output`, and now it is
        // `Empty`; `T` is the output's type, as `new` is the only maker of `Joinable`s.
        Some(unsafe { self.task.body::<T>().read() })
    }

    /// Takes the result if the task is finished; the error is the panic, or `None` if it was cancelled.
    ///
    /// # Panics
    ///
    /// When the result was taken before.
    pub(crate) fn take(&self) -> Option<Result<T, Option<Payload>>> {
        match self.task.stage() {
            Stage::Output => self.take_output().map(Ok),
            Stage::Future => None,
            _ => Some(Err(self.take_failure())),
        }
    }

    #[cold]
    fn take_failure(&self) -> Option<Payload> {
        match self.task.stage() {
            Stage::Panic => Some(self.task.take_panic()),
            Stage::Cancelled => {
                self.task.set_stage(Stage::Empty);
                None
            }
            _ => panic!("a JoinHandle was polled after it had returned its result"),
        }
    }

    /// Wakes this task of ours, and only it, when the task finishes, which it has not.
    #[inline]
    pub(crate) fn wait_as(&self, target: WakeTarget) {
        if !self.task.header().joiner.is(target) {
            let before = self.task.take_joiner();
            self.task.set_joiner(Joiner::Ours(target));
            quietly(|| drop(before));
        }
    }

    /// Wakes `waker`, which is not ours, and only it, when the task finishes; false if it has.
    pub(crate) fn wait(&self, waker: &Waker) -> bool {
        match self.task.take_joiner() {
            Some(Joiner::Foreign(before)) if before.will_wake(waker) => {
                self.task.set_joiner(Joiner::Foreign(before));
                return true;
            }
            Some(Joiner::Foreign(other)) => quietly(|| drop(other)),
            Some(Joiner::Ours(_)) | None => {}
        }
        let waker = waker.clone();
        // The drop and the clone were foreign code, and may have ended the task's runtime, or waited here too.
        let other = self.task.take_joiner();
        let is_finished = self.task.is_finished();
        if is_finished {
            quietly(|| drop(waker));
        } else {
            self.task.set_joiner(Joiner::Foreign(waker));
        }
        quietly(|| drop(other));
        !is_finished
    }

    /// Whether the result was taken, so that there is nothing to detach from.
    #[inline]
    pub(crate) fn is_taken(&self) -> bool {
        self.task.stage() == Stage::Empty
    }

    /// Whether there is a result that needs a drop: [`TaskPtr::drop_result`].
    #[inline]
    pub(crate) fn has_result(&self) -> bool {
        match self.task.stage() {
            Stage::Output => mem::needs_drop::<T>(),
            stage => stage == Stage::Panic,
        }
    }

    /// Says that nobody will take the result.
    #[inline]
    pub(crate) fn detach(&self) {
        let state = &self.task.header().state;
        state.set(state.get() & !JOINABLE);
        if !self.task.header().joiner.is_none() {
            let joiner = self.task.take_joiner();
            quietly(|| drop(joiner));
        }
    }
}

const _: () = assert!(size_of::<Header>() == 32);
