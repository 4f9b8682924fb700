//! Timers that hardly ever fire: setting and dropping them, and timeouts.

use std::future::{poll_fn, ready};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use serde_json::Value;

use super::per_operation;
use super::wakers::SelfWake;
use crate::contestant::Runtime;
use crate::samples::Random;

/// A limit that is not reached.
const LIMIT: Duration = Duration::from_secs(30);

/// Deadlines are random within so many ns from [`LIMIT`] on, those that are pending and those that come and go.
const SPAN: u64 = 60_000_000_000;

/// Random durations that are drawn before the clock runs, and then used over and over.
const DRAWN: usize = 1024;

/// Draws a duration that does not end within a run.
pub(crate) fn duration(random: &mut Random) -> Duration {
    LIMIT + Duration::from_nanos(random.below(SPAN))
}

/// Draws the durations of the timers that come and go.
pub(crate) fn durations(random: &mut Random) -> [Duration; DRAWN] {
    std::array::from_fn(|_| duration(random))
}

/// Makes, polls once and drops a timer, `count` times, beside `pending` others, all with random deadlines.
pub(super) async fn set_and_drop<R: Runtime>(pending: u64, count: u64) -> Value {
    let mut random = Random::default();
    let mut others: Vec<_> = (0..pending)
        .map(|_| Box::pin(R::sleep(duration(&mut random))))
        .collect();
    poll_fn(|cx| {
        for timer in &mut others {
            assert!(timer.as_mut().poll(cx).is_pending(), "a timer is early");
        }
        Poll::Ready(())
    })
    .await;
    let durations = durations(&mut random);
    per_operation(count, async |count| {
        poll_fn(|cx| {
            for (_, &duration) in (0..count).zip(durations.iter().cycle()) {
                let timer = pin!(R::sleep(duration));
                assert!(timer.poll(cx).is_pending(), "a timer is early");
            }
            Poll::Ready(())
        })
        .await;
    })
    .await
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
