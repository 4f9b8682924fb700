//! What tasks cost and what their runtime keeps, in pages of this process; so there is one test only.

mod common;

use std::fs;
use std::future::pending;

use common::{LIMIT, turn_of_all, within};
use runtime::time::{Duration, sleep};
use runtime::{Runtime, spawn};

/// How many tasks: slots and blocks are then many times what a runtime keeps.
const TASKS: usize = 300_000;

/// Bytes of memory that are resident.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() * 1024
}

/// A future of `SIZE` bytes that waits for ever.
async fn idle<const SIZE: usize>() {
    let held = [1_u8; SIZE];
    pending::<()>().await;
    std::hint::black_box(held);
}

#[test]
#[cfg_attr(runtime_plain_memory, ignore = "an allocator's memory is its own")]
fn an_idle_task_costs_less_than_64_bytes_and_a_burst_leaves_little_that_goes_back_when_idle() {
    within(3 * LIMIT, || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async { spawn(idle::<104>()).abort() });
        let mut tasks = Vec::with_capacity(TASKS);
        // Touches what the handles take.
        tasks.resize_with(TASKS, || None);
        let size = size_of_val(&idle::<104>());
        let before = resident();
        for task in &mut tasks {
            *task = Some(runtime.spawn(idle::<104>()));
        }
        let each = (resident() - before) / TASKS;
        assert!(each < size + 64, "{each} bytes for a future of {size}");

        runtime.block_on(async {
            turn_of_all().await;
            for task in tasks.iter_mut().filter_map(Option::take) {
                task.abort();
            }
            turn_of_all().await;
        });
        // The slots, 1 MiB of chunks, and some for chance.
        let kept = resident().saturating_sub(before);
        assert!(kept < 20 * TASKS + (2 << 20), "{kept} bytes are kept");

        runtime.block_on(async {
            // It waits for the memory, which goes when none of it has been used for a while.
            while resident().saturating_sub(before) > 2 << 20 {
                sleep(Duration::from_millis(20)).await;
            }
        });
    });
}
