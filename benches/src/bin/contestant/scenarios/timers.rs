//! Timers that hardly ever fire: setting and dropping them, and timeouts.

use std::future::{poll_fn, ready};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use super::wakers::SelfWake;
use crate::contestant::Runtime;

/// A limit that is not reached.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Sets timers that fire after all those of [`set_and_drop`].
pub(super) async fn pending<R: Runtime>(count: u64) -> Vec<Pin<Box<impl Future>>> {
    let mut timers: Vec<_> = (0..count)
        .map(|number| Box::pin(R::sleep(2 * LIMIT + Duration::from_millis(number))))
        .collect();
    poll_fn(|cx| {
        for timer in &mut timers {
            assert!(timer.as_mut().poll(cx).is_pending(), "a timer is early");
        }
        Poll::Ready(())
    })
    .await;
    timers
}

/// Makes a timer, polls it once and drops it.
pub(super) async fn set_and_drop<R: Runtime>(count: u64) {
    poll_fn(|cx| {
        for _ in 0..count {
            let timer = pin!(R::sleep(LIMIT));
            assert!(timer.poll(cx).is_pending(), "a timer is early");
        }
        Poll::Ready(())
    })
    .await;
}

/// Puts a limit on a future that is ready.
pub(super) async fn timeout_ready<R: Runtime>(count: u64) {
    for _ in 0..count {
        R::timeout(LIMIT, ready(())).await;
    }
}

/// Puts a limit on a future that has to wait for the task's next turn.
pub(super) async fn timeout_waiting<R: Runtime>(count: u64) {
    for _ in 0..count {
        R::timeout(LIMIT, SelfWake::default()).await;
    }
}
