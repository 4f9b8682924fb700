//! Tasks without a runtime: a box each, polled in turn with a waker that does nothing.

use std::collections::VecDeque;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use serde_json::Value;

use super::per_operation;
use crate::scenarios::nanoseconds;
use crate::scenarios::wakers::SelfWake;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Tasks that are alive at once in [`spawn_and_join`].
const BATCH: usize = 100;

/// Boxes and polls tasks by the hundred.
pub(super) fn spawn_and_join(count: u64) -> Value {
    let mut cx = Context::from_waker(Waker::noop());
    per_operation(count, |count| {
        let mut numbers = 0..count;
        while !numbers.is_empty() {
            let mut tasks: Vec<Task> = Vec::with_capacity(BATCH);
            for number in numbers.by_ref().take(BATCH) {
                tasks.push(Box::pin(async move { _ = black_box(number) }));
            }
            for mut task in tasks {
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
