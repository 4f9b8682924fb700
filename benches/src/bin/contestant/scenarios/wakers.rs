//! What a waker costs, and the future that wakes itself.

use std::future::poll_fn;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Clones and drops a task's waker.
pub(super) async fn clone_and_drop(count: u64) {
    poll_fn(|cx| {
        for _ in 0..count {
            drop(black_box(black_box(cx.waker()).clone()));
        }
        Poll::Ready(())
    })
    .await;
}

/// Wakes a task that is due already.
pub(super) async fn wake_due(count: u64) {
    poll_fn(|cx| {
        for _ in 0..count {
            black_box(cx.waker()).wake_by_ref();
        }
        Poll::Ready(())
    })
    .await;
}

/// Wakes its own task and is ready at the second poll.
#[derive(Default)]
pub(crate) struct SelfWake {
    has_waited: bool,
}

impl Future for SelfWake {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_waited {
            return Poll::Ready(());
        }
        self.has_waited = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
