//! What a task that waits for ever keeps in memory.

use std::cell::Cell;
use std::fs;
use std::hint::black_box;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use serde_json::{Value, json};

use crate::contestant::Runtime;

/// Tasks that are spawned before the first look at the memory, so that what a runtime takes once is not
/// counted.
const WARM_UP: u64 = 10_000;

/// A future of one word that is never ready.
struct Idle(u64);

thread_local! {
    /// Idle futures that have been polled.
    static POLLED: Cell<u64> = const { Cell::new(0) };
}

impl Future for Idle {
    type Output = u64;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
        POLLED.set(POLLED.get() + 1);
        if black_box(self.0) == u64::MAX {
            return Poll::Ready(self.0);
        }
        Poll::Pending
    }
}

/// Spawns idle tasks and has each polled; the metric is by how much the process grew for each.
pub(super) async fn per_task<R: Runtime>(count: u64) -> Value {
    idle::<R>(0..WARM_UP).await;
    let before = resident_bytes();
    idle::<R>(WARM_UP..WARM_UP + count).await;
    let grown = resident_bytes().saturating_sub(before);
    json!({ "bytes": grown as f64 / count as f64 })
}

/// Spawns idle tasks and waits until they have been polled.
async fn idle<R: Runtime>(numbers: Range<u64>) {
    let all = numbers.end;
    for number in numbers {
        R::detach(Idle(number));
    }
    // Not `yield_now`: some runtimes would go on with this task and never take the others.
    while POLLED.get() < all {
        R::sleep(Duration::from_millis(1)).await;
    }
}

/// The memory of this process that is not swapped out.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok())
        .expect("the kernel tells the resident size");
    kibibytes * 1024
}
