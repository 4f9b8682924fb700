//! The floor: what the kernel and a few lines by hand cost, without a runtime.

mod alarm;
mod connection;
mod echo;
mod epoll;
mod remote;
mod socket;
mod tasks;
mod timers;

use std::time::Instant;

use serde_json::Value;

use crate::contestant::Contestant;
use crate::scenarios::{Scenario, WARM_UP, nanoseconds, remote as wakes, unsupported};
use crate::server::Echo;

/// Edge-triggered epoll and `libc`, by hand.
pub(crate) struct Raw;

impl Contestant for Raw {
    fn serve_echo(server: Echo) {
        echo::serve(server);
    }

    fn measure(scenario: Scenario, count: u64) -> Value {
        match scenario {
            Scenario::SpawnJoin { batch, bytes } => tasks::spawn_and_join(batch, bytes, count),
            Scenario::Yield { tasks } => tasks::yields(tasks, count),
            Scenario::RemoteParked => remote::block_on(wakes::parked(count)).expect(KERNEL),
            Scenario::Timer { pending } => timers::set_and_drop(pending, count),
            Scenario::TimerFire { timers } => timers::fire(timers).expect(KERNEL),
            Scenario::Late { micros } => timers::sleeps(micros, count).expect(KERNEL),
            _ => unsupported("it needs a runtime"),
        }
    }
}

/// Why a system call does not fail.
const KERNEL: &str = "the kernel has epoll, eventfd and timerfd, and descriptors are left";

/// Warms up, then measures how long one of `count` operations takes on average.
fn per_operation(count: u64, mut operations: impl FnMut(u64)) -> Value {
    operations(WARM_UP);
    let start = Instant::now();
    operations(count);
    nanoseconds(start.elapsed(), count)
}
