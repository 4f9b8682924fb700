//! Tasks without a runtime: a box each, polled in turn with a waker that does nothing.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use serde_json::Value;

use super::per_operation;
use crate::scenarios::nanoseconds;
use crate::scenarios::tasks::{Sized, with_bytes};
use crate::scenarios::wakers::SelfWake;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Boxes and polls futures of `bytes` bytes, `batch` at a time.
pub(super) fn spawn_and_join(batch: u64, bytes: u64, count: u64) -> Value {
    with_bytes!(bytes, BYTES => spawn_batches::<{ BYTES / 8 }>(batch, count))
}

fn spawn_batches<const WORDS: usize>(batch: u64, count: u64) -> Value {
    let batch = usize::try_from(batch).expect("a batch fits in memory");
    let mut cx = Context::from_waker(Waker::noop());
    let mut tasks: Vec<Pin<Box<dyn Future<Output = u64>>>> = Vec::with_capacity(batch);
    per_operation(count, |count| {
        let mut numbers = 0..count;
        while !numbers.is_empty() {
            for number in numbers.by_ref().take(batch) {
                tasks.push(Box::pin(Sized::<WORDS>::new(number)));
            }
            for mut task in tasks.drain(..) {
                assert!(task.as_mut().poll(&mut cx).is_ready(), "the task waits");
            }
        }
    })
}

/// Lets tasks yield, as the scenario for runtimes does.
pub(super) fn yields(tasks: u64, count: u64) -> Value {
    let count = count.max(4 * tasks);
    let mut cx = Context::from_waker(Waker::noop());
    let mut due: VecDeque<Task> = (0..tasks)
        .map(|number| {
            let share = count / tasks + u64::from(number < count % tasks);
            let task: Task = Box::pin(async move {
                for _ in 0..share {
                    SelfWake::default().await;
                }
            });
            task
        })
        .collect();
    let mut done = Vec::with_capacity(due.len());
    let start = Instant::now();
    while let Some(mut task) = due.pop_front() {
        match task.as_mut().poll(&mut cx) {
            Poll::Pending => due.push_back(task),
            Poll::Ready(()) => done.push(task),
        }
    }
    nanoseconds(start.elapsed(), count + tasks)
}
