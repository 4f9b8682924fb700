//! Acts of timers.

use std::future::pending;
use std::pin::pin;

use runtime::Runtime;
use runtime::time::{Duration, Instant, interval, sleep, timeout};

use super::Act;
use crate::common::sockets::poll_here;
use crate::journal::Journal;

const SHORT: Duration = Duration::from_micros(200);

pub(super) fn sleep_and_time_out(journal: &Journal, runtime: &Runtime) -> Act {
    runtime.block_on(journal.step("wait for timers").run(async {
        let start = Instant::now();
        sleep(SHORT).await;
        assert!(start.elapsed() >= SHORT, "too early");
        let mut late = pin!(sleep(Duration::from_secs(3600)));
        assert!(poll_here(&mut late).await.is_pending());
        let elapsed = timeout(SHORT, pending::<()>()).await;
        assert!(elapsed.is_err(), "nothing can come");
        let mut ticks = interval(SHORT);
        for _ in 0..3 {
            ticks.tick().await;
        }
        assert!(start.elapsed() >= SHORT * 4, "too early");
        Ok(())
    }))
}
