//! The operations on a task that know the type of its future.
//!
//! Called by `task` through the task's table of them; calls the user's future.

use std::marker::PhantomData;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::{Payload, Stage, TaskPtr, VTable, layout};
use crate::quiet::quietly;

/// The operations on a task whose future is an `F`.
pub(super) struct Typed<F>(PhantomData<F>);

impl<F: Future> Typed<F> {
    pub(super) const VTABLE: &'static VTable = &VTable {
        poll: Self::poll,
        end: Self::end,
        drop_output: Self::drop_output,
        layout: layout::of::<F, F::Output>(),
    };

    unsafe fn poll(task: TaskPtr, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: the future must be alive and borrowed by nobody else: the table belongs to tasks of this
        // type, the stage is `Future`, and invariant 2.
        let future = unsafe { task.body::<F>().as_mut() };
        // SAFETY: the future must never move again: invariant 3.
        let output = ready!(unsafe { Pin::new_unchecked(future) }.poll(cx));
        match Self::drop_future(task) {
            Ok(()) => {
                // SAFETY: the body must be valid for writing an output and hold nothing that lives: the
                // future was dropped.
                unsafe { task.body::<F::Output>().write(output) };
                task.set_stage(Stage::Output);
            }
            Err(payload) => {
                quietly(|| drop(output));
                store_panic(task, payload);
            }
        }
        Poll::Ready(())
    }

    unsafe fn end(task: TaskPtr, panic: Option<Payload>) {
        match (panic, Self::drop_future(task)) {
            (None, Ok(())) => task.set_stage(Stage::Cancelled),
            (Some(payload), Ok(())) | (None, Err(payload)) => store_panic(task, payload),
            (Some(payload), Err(second)) => {
                quietly(|| drop(second));
                store_panic(task, payload);
            }
        }
    }

    /// Drops the future; the caller puts the result in its place.
    #[inline]
    fn drop_future(task: TaskPtr) -> Result<(), Payload> {
        if !mem::needs_drop::<F>() {
            return Ok(());
        }
        catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the future must be alive and not be used again: the stage is `Future`, and the caller
            // changes it before anyone could look.
            unsafe { task.body::<F>().drop_in_place() };
        }))
    }

    unsafe fn drop_output(task: TaskPtr) {
        task.set_stage(Stage::Empty);
        if !mem::needs_drop::<F::Output>() {
            return;
        }
        quietly(|| {
            // SAFETY: the output must be alive and not be used again: the caller says that the stage was
            // `Output`, and now it is `Empty`.
            unsafe { task.body::<F::Output>().drop_in_place() };
        });
    }
}

#[cold]
fn store_panic(task: TaskPtr, payload: Payload) {
    // SAFETY: the body must be valid for writing a box and hold nothing that lives: the future was dropped.
    unsafe { task.body::<Box<Payload>>().write(Box::new(payload)) };
    task.set_stage(Stage::Panic);
}
