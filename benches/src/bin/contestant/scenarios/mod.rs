//! The small operations, written once for all runtimes.
//!
//! Every scenario runs in a task, as most code of a server does: the future that `block_on` runs is a
//! special case in most runtimes.

pub(crate) mod lateness;
mod memory;
pub(crate) mod remote;
mod tasks;
pub(crate) mod timers;
pub(crate) mod wakers;

use std::cell::Cell;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::contestant::Runtime;

/// What the command line may ask for.
pub(crate) const NAMES: [&str; 17] = [
    "spawn-join",
    "spawn-await",
    "yield:TASKS",
    "self-wake:TASKS",
    "ping-pong",
    "waker-clone",
    "wake-due",
    "remote-parked",
    "remote-running",
    "remote-fanout:TASKS",
    "timer:PENDING",
    "timer-fire",
    "timer-fire-coarsely",
    "timeout-ready",
    "timeout-waiting",
    "late:MICROS",
    "task-memory",
];

/// Operations before the clock starts; their number never depends on COUNT.
pub(crate) const WARM_UP: u64 = 1_000;

/// Which operation to do.
#[derive(Clone, Copy)]
pub(crate) enum Scenario {
    SpawnJoin,
    SpawnAwait,
    Yield { tasks: u64 },
    SelfWake { tasks: u64 },
    PingPong,
    WakerClone,
    WakeDue,
    RemoteParked,
    RemoteRunning,
    RemoteFanout { tasks: u64 },
    Timer { pending: u64 },
    TimerFire,
    TimerFireCoarsely,
    TimeoutReady,
    TimeoutWaiting,
    Late { micros: u64 },
    TaskMemory,
}

impl FromStr for Scenario {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number.parse().map_err(drop)?)),
            None => (text, None),
        };
        Ok(match (name, number) {
            ("spawn-join", None) => Self::SpawnJoin,
            ("spawn-await", None) => Self::SpawnAwait,
            ("yield", Some(tasks @ 1..)) => Self::Yield { tasks },
            ("self-wake", Some(tasks @ 1..)) => Self::SelfWake { tasks },
            ("ping-pong", None) => Self::PingPong,
            ("waker-clone", None) => Self::WakerClone,
            ("wake-due", None) => Self::WakeDue,
            ("remote-parked", None) => Self::RemoteParked,
            ("remote-running", None) => Self::RemoteRunning,
            ("remote-fanout", Some(tasks @ 1..)) => Self::RemoteFanout { tasks },
            ("timer", Some(pending)) => Self::Timer { pending },
            ("timer-fire", None) => Self::TimerFire,
            ("timer-fire-coarsely", None) => Self::TimerFireCoarsely,
            ("timeout-ready", None) => Self::TimeoutReady,
            ("timeout-waiting", None) => Self::TimeoutWaiting,
            ("late", Some(micros)) => Self::Late { micros },
            ("task-memory", None) => Self::TaskMemory,
            _ => return Err(()),
        })
    }
}

/// Does `count` operations in a task of a new runtime; returns the metrics.
pub(crate) fn measure<R: Runtime>(scenario: Scenario, count: u64) -> Value {
    let is_coarse = matches!(scenario, Scenario::TimerFireCoarsely);
    let joins = matches!(scenario, Scenario::SpawnJoin | Scenario::SpawnAwait);
    let measured = async {
        if joins && R::MAIN_JOINS_QUICKER {
            return scenario_of::<R>(scenario, count).await;
        }
        let metrics = Rc::new(Cell::new(None));
        let slot = Rc::clone(&metrics);
        R::spawn(async move { slot.set(Some(scenario_of::<R>(scenario, count).await)) }).await;
        metrics.take().expect("the scenario does not panic")
    };
    if is_coarse {
        R::block_on_coarsely(measured)
    } else {
        R::block_on(measured)
    }
}

async fn scenario_of<R: Runtime>(scenario: Scenario, count: u64) -> Value {
    match scenario {
        Scenario::SpawnJoin => per_operation(count, tasks::spawn_and_join::<R>).await,
        Scenario::SpawnAwait => per_operation(count, tasks::spawn_and_await::<R>).await,
        Scenario::Yield { tasks } => tasks::yields::<R, _>(tasks, count, R::yield_now).await,
        Scenario::SelfWake { tasks } => {
            tasks::yields::<R, _>(tasks, count, wakers::SelfWake::default).await
        }
        Scenario::PingPong => per_operation(count, tasks::ping_pong::<R>).await,
        Scenario::WakerClone => per_operation(count, wakers::clone_and_drop).await,
        Scenario::WakeDue => per_operation(count, wakers::wake_due).await,
        Scenario::Timer { pending } => {
            let _others = timers::pending::<R>(pending).await;
            per_operation(count, timers::set_and_drop::<R>).await
        }
        Scenario::TimeoutReady => per_operation(count, timers::timeout_ready::<R>).await,
        Scenario::TimeoutWaiting => per_operation(count, timers::timeout_waiting::<R>).await,
        Scenario::RemoteParked => remote::parked(count).await,
        Scenario::RemoteRunning => remote::flood(count).await,
        Scenario::RemoteFanout { tasks } => remote::fan_out::<R>(tasks, count).await,
        Scenario::TimerFire | Scenario::TimerFireCoarsely => lateness::fire::<R>(count).await,
        Scenario::Late { micros } => lateness::sleeps::<R>(micros, count).await,
        Scenario::TaskMemory => memory::per_task::<R>(count).await,
    }
}

/// Warms up, then measures how long one of `count` operations takes on average.
async fn per_operation(count: u64, operations: impl AsyncFn(u64)) -> Value {
    operations(WARM_UP).await;
    let start = Instant::now();
    operations(count).await;
    nanoseconds(start.elapsed(), count)
}

/// The average time of an operation, as a metric.
pub(crate) fn nanoseconds(elapsed: Duration, count: u64) -> Value {
    json!({ "ns": elapsed.as_secs_f64() * 1e9 / count as f64 })
}

/// Says why a contestant cannot do a scenario.
pub(crate) fn unsupported(why: &str) -> Value {
    json!({ "unsupported": why })
}
