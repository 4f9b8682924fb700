//! What a task that waits for ever keeps in memory, and what a burst of tasks leaves there.

use std::cell::Cell;
use std::fs;
use std::hint::black_box;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde_json::{Value, json};

use super::tasks::{Signal, spawn_and_join};
use crate::contestant::Runtime;

/// Tasks that are spawned before the first look at the memory, so that what a runtime takes once is not
/// counted.
const WARM_UP: u64 = 10_000;

/// Turns of a tenth of a second after a burst before the second look at the memory.
const IDLE_TURNS: u32 = 20;

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

/// Spawns `tasks` tasks of 16 bytes, lets all end, and looks at what is kept: at once, and after a while idle.
pub(super) async fn burst<R: Runtime>(tasks: u64) -> Value {
    spawn_and_join::<R>(100, 16, WARM_UP).await;
    let before = resident_bytes();
    let left = Rc::new(Cell::new(tasks));
    let all = Rc::new(Signal::default());
    for _ in 0..tasks {
        R::detach(Last(Rc::clone(&left), Rc::clone(&all)));
    }
    all.wait().await;
    let kept = || resident_bytes().saturating_sub(before) as f64 / 1e6;
    let at_once = kept();
    for _ in 0..IDLE_TURNS {
        R::sleep(Duration::from_millis(100)).await;
    }
    json!({ "kept_mb": at_once, "later_mb": kept() })
}

/// Counts down, and tells when nothing is left: a future of 16 bytes.
struct Last(Rc<Cell<u64>>, Rc<Signal>);

impl Future for Last {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.0.set(self.0.get() - 1);
        if self.0.get() == 0 {
            self.1.set();
        }
        Poll::Ready(())
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
