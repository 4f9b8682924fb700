//! Memory: what a task costs, and what costs nothing.
//!
//! Counted by this binary's allocator, per thread, so that tests do not disturb each other.

#![expect(unsafe_code, reason = "an allocator that counts")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::net::TcpListener as StdListener;
use std::task::Poll;

use common::sockets::sources;
use common::{LIMIT, anywhere, run, within};
use runtime::net::TcpListener;
use runtime::task::{JoinHandle, yield_now};
use runtime::{Runtime, spawn};

thread_local! {
    /// How often this thread has allocated.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    /// How many bytes it has allocated and not freed.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn note(allocations: usize, bytes: isize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + allocations);
    LIVE.set(LIVE.get() + bytes);
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size().cast_signed());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, -layout.size().cast_signed());
        // SAFETY: the caller's promise, and all memory comes from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(1, size.cast_signed() - layout.size().cast_signed());
        // SAFETY: the caller's promise, and all memory comes from the system's allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// How often `call` allocates, and how many bytes are live after it that were not before.
fn cost_of<R>(call: impl FnOnce() -> R) -> (usize, isize, R) {
    let (allocations, live) = (ALLOCATIONS.get(), LIVE.get());
    let result = call();
    (ALLOCATIONS.get() - allocations, LIVE.get() - live, result)
}

/// A future of `SIZE` bytes that waits for ever.
async fn idle<const SIZE: usize>() {
    let held = [1_u8; SIZE];
    pending::<()>().await;
    std::hint::black_box(held);
}

/// How often a task allocates, where the tables and the pool have room; and the size of its future.
fn allocations_of_a_task<const SIZE: usize>() -> (usize, usize) {
    run(async {
        // Makes room: a chunk of such blocks, and slots.
        drop(Vec::from_iter((0..4).map(|_| spawn(idle::<SIZE>()))));
        yield_now().await;
        let future = idle::<SIZE>();
        let size = size_of_val(&future);
        let (allocations, _, task) = cost_of(|| spawn(future));
        yield_now().await;
        drop(task);
        (allocations, size)
    })
}

#[test]
fn a_task_takes_a_block_of_the_pool_or_else_one_allocation() {
    let costs = [
        allocations_of_a_task::<100>(),
        allocations_of_a_task::<333>(),
        allocations_of_a_task::<8000>(),
        allocations_of_a_task::<8200>(),
        allocations_of_a_task::<20_000>(),
    ];
    for (allocations, size) in costs {
        let is_pooled = size <= 8192 && !cfg!(runtime_plain_memory);
        let expected = usize::from(!is_pooled);
        assert_eq!(allocations, expected, "for a future of {size} bytes");
    }
}

#[test]
#[cfg_attr(
    runtime_plain_memory,
    ignore = "without a pool, a foreign waker is boxed"
)]
fn a_foreign_waker_that_waits_for_a_task_allocates_nothing() {
    run(async {
        let task = spawn(pending::<()>());
        yield_now().await;
        let mut task = task;
        let (_, waker) = common::WakeCount::new();
        let (allocations, _, ()) = cost_of(|| {
            for _ in 0..10 {
                assert!(common::poll_with(&mut task, &waker).is_pending());
                let other = std::task::Waker::noop();
                assert!(common::poll_with(&mut task, other).is_pending());
            }
        });
        assert_eq!(allocations, 0);
    });
}

#[test]
fn an_output_larger_than_its_future_has_room_from_the_start() {
    run(async {
        let task = spawn(poll_fn(|_| Poll::Ready([7_u8; 5000])));
        let (allocations, _, ()) = {
            let before = ALLOCATIONS.get();
            yield_now().await;
            (ALLOCATIONS.get() - before, 0, ())
        };
        assert!(task.is_finished());
        assert_eq!(allocations, 0);
        let (allocations, _, output) = cost_of(|| futures::FutureExt::now_or_never(task));
        assert_eq!(allocations, 0);
        assert_eq!(output.unwrap().unwrap(), [7; 5000]);
    });
}

#[test]
fn wakers_are_cloned_woken_and_dropped_without_allocating() {
    run(async {
        let task = spawn(poll_fn(|cx| Poll::Ready(cx.waker().clone())));
        let finished = task.await.unwrap();
        let main = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        for waker in [finished, main] {
            let (allocations, bytes, ()) = cost_of(|| {
                for _ in 0..100 {
                    let copy = waker.clone();
                    copy.wake_by_ref();
                    copy.wake();
                }
            });
            assert_eq!((allocations, bytes), (0, 0));
        }
    });
}

#[test]
#[cfg_attr(
    runtime_plain_memory,
    ignore = "without kept blocks, a task is an allocation"
)]
fn a_loop_of_yields_spawns_and_joins_allocates_nothing_in_the_long_run() {
    async fn round() {
        let task = spawn(async {
            yield_now().await;
            3
        });
        let abort = task.abort_handle();
        yield_now().await;
        assert_eq!(task.await.unwrap(), 3);
        drop(abort);
    }
    run(async {
        round().await;
        let before = ALLOCATIONS.get();
        for _ in 0..1000 {
            round().await;
        }
        assert_eq!(ALLOCATIONS.get(), before);
    });
}

#[test]
fn finished_tasks_leave_nothing_behind() {
    async fn many() {
        let tasks: Vec<JoinHandle<Vec<u8>>> =
            Vec::from_iter((0..1000).map(|number| spawn(async move { vec![0; number] })));
        for (number, task) in tasks.into_iter().enumerate() {
            match number % 3 {
                0 => drop(task),
                1 => task.abort(),
                _ => assert_eq!(task.await.unwrap().len(), number),
            }
        }
        for _ in 0..3 {
            yield_now().await;
        }
    }
    run(async {
        many().await;
        let before = LIVE.get();
        for _ in 0..5 {
            many().await;
        }
        assert_eq!(LIVE.get(), before);
    });
}

#[test]
fn a_dropped_runtime_leaves_only_what_the_next_one_uses_again() {
    fn life() {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            for _ in 0..100 {
                spawn(idle::<100>());
            }
            yield_now().await;
        });
    }
    within(LIMIT, || {
        // The place in the table of runtimes is kept for the next one, and so are blocks for tasks.
        for _ in 0..3 {
            life();
        }
        let before = LIVE.get();
        for _ in 0..20 {
            life();
        }
        let leaked = LIVE.get() - before;
        // Other tests may take that place, so that a new one is made; but not each time.
        assert!(leaked < 20 * 1000, "{leaked} bytes leaked in 20 lives");
    });
}

#[test]
fn runtimes_that_are_gone_leave_nothing_with_a_listener_that_they_shared() {
    const LIVES: isize = 1000;
    within(LIMIT, || {
        let listener = StdListener::bind(anywhere()).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let wait = |runtime: &Runtime| {
            runtime.block_on(poll_fn(|cx| {
                assert!(listener.poll_accept(cx).is_pending());
                Poll::Ready(())
            }));
        };
        // It waits first, so the listener's word names it when the others come.
        let first = Runtime::new().unwrap();
        wait(&first);
        let share = || {
            let other = Runtime::new().unwrap();
            wait(&other);
            wait(&first);
            [sources(&first), sources(&other)]
        };
        // At first they take it from each other.
        for _ in 0..20 {
            share();
        }
        let before = LIVE.get();
        (0..LIVES).for_each(|_| assert_eq!(share(), [1, 1]));
        let leaked = LIVE.get() - before;
        assert!(leaked < LIVES, "{leaked} bytes leaked in {LIVES} lives");
    });
}
