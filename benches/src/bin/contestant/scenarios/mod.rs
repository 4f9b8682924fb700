//! The small operations, written once for all runtimes.
//!
//! Every scenario runs in a task, as most code of a server does: the future that `block_on` runs is a
//! special case in most runtimes.

mod busy;
pub(crate) mod lateness;
mod memory;
pub(crate) mod remote;
pub(crate) mod tasks;
pub(crate) mod timers;
pub(crate) mod wakers;

use std::cell::Cell;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::contestant::Runtime;

/// What the command line may ask for.
pub(crate) const NAMES: [&str; 21] = [
    "spawn-join:BATCH:BYTES",
    "yield:TASKS",
    "self-wake:TASKS",
    "ping-pong:PAIRS",
    "oneshot:PAIRS",
    "waker-clone",
    "wake-due",
    "remote-parked",
    "remote-running",
    "remote-fanout:TASKS",
    "timer:PENDING",
    "timer-fire:TIMERS",
    "timer-fire-coarsely:TIMERS",
    "timeout-ready",
    "timeout-waiting",
    "late:MICROS",
    "task-memory",
    "burst:TASKS",
    "accept:BUSY:MICROS",
    "latency:BUSY:MICROS",
    "channel:CAPACITY",
];

/// Operations before the clock starts; their number never depends on COUNT.
pub(crate) const WARM_UP: u64 = 1_000;

/// Which operation to do.
#[derive(Clone, Copy)]
pub(crate) enum Scenario {
    SpawnJoin { batch: u64, bytes: u64 },
    Yield { tasks: u64 },
    SelfWake { tasks: u64 },
    PingPong { pairs: u64 },
    Oneshot { pairs: u64 },
    WakerClone,
    WakeDue,
    RemoteParked,
    RemoteRunning,
    RemoteFanout { tasks: u64 },
    Timer { pending: u64 },
    TimerFire { timers: u64 },
    TimerFireCoarsely { timers: u64 },
    TimeoutReady,
    TimeoutWaiting,
    Late { micros: u64 },
    TaskMemory,
    Burst { tasks: u64 },
    Accept { busy: u64, work: Duration },
    Latency { busy: u64, work: Duration },
    Channel { capacity: u64 },
}

impl FromStr for Scenario {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split(':');
        let name = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(drop)?;
        Ok(match (name, &numbers[..]) {
            ("spawn-join", &[batch, bytes]) if batch > 0 => Self::SpawnJoin { batch, bytes },
            ("yield", &[tasks]) if tasks > 0 => Self::Yield { tasks },
            ("self-wake", &[tasks]) if tasks > 0 => Self::SelfWake { tasks },
            ("ping-pong", &[pairs]) if pairs > 0 => Self::PingPong { pairs },
            ("oneshot", &[pairs]) if pairs > 0 => Self::Oneshot { pairs },
            ("waker-clone", []) => Self::WakerClone,
            ("wake-due", []) => Self::WakeDue,
            ("remote-parked", []) => Self::RemoteParked,
            ("remote-running", []) => Self::RemoteRunning,
            ("remote-fanout", &[tasks]) if tasks > 0 => Self::RemoteFanout { tasks },
            ("timer", &[pending]) => Self::Timer { pending },
            ("timer-fire", &[timers]) => Self::TimerFire { timers },
            ("timer-fire-coarsely", &[timers]) => Self::TimerFireCoarsely { timers },
            ("timeout-ready", []) => Self::TimeoutReady,
            ("timeout-waiting", []) => Self::TimeoutWaiting,
            ("late", &[micros]) => Self::Late { micros },
            ("task-memory", []) => Self::TaskMemory,
            ("burst", &[tasks]) if tasks > 0 => Self::Burst { tasks },
            ("accept", &[busy, micros]) => Self::Accept {
                busy,
                work: Duration::from_micros(micros),
            },
            ("latency", &[busy, micros]) => Self::Latency {
                busy,
                work: Duration::from_micros(micros),
            },
            ("channel", &[capacity]) if capacity > 0 => Self::Channel { capacity },
            _ => return Err(()),
        })
    }
}

/// Does `count` operations in a task of a new runtime; returns the metrics.
pub(crate) fn measure<R: Runtime>(scenario: Scenario, count: u64) -> Value {
    let in_main = match scenario {
        Scenario::SpawnJoin { .. } => R::MAIN_JOINS_QUICKER,
        // It tells the future of `block_on` from tasks itself.
        Scenario::Latency { .. } => true,
        _ => false,
    };
    let measured = async {
        if in_main {
            return scenario_of::<R>(scenario, count).await;
        }
        let metrics = Rc::new(Cell::new(None));
        let slot = Rc::clone(&metrics);
        R::spawn(async move { slot.set(Some(scenario_of::<R>(scenario, count).await)) }).await;
        metrics.take().expect("the scenario does not panic")
    };
    if matches!(scenario, Scenario::TimerFireCoarsely { .. }) {
        R::block_on_coarsely(measured)
    } else {
        R::block_on(measured)
    }
}

async fn scenario_of<R: Runtime>(scenario: Scenario, count: u64) -> Value {
    match scenario {
        Scenario::SpawnJoin { batch, bytes } => {
            per_operation(count, |count| {
                tasks::spawn_and_join::<R>(batch, bytes, count)
            })
            .await
        }
        Scenario::Yield { tasks } => tasks::yields::<R, _>(tasks, count, R::yield_now).await,
        Scenario::SelfWake { tasks } => {
            tasks::yields::<R, _>(tasks, count, wakers::SelfWake::default).await
        }
        Scenario::PingPong { pairs } => {
            per_operation(count, |count| tasks::ping_pong::<R, false>(pairs, count)).await
        }
        Scenario::Oneshot { pairs } => {
            per_operation(count, |count| tasks::ping_pong::<R, true>(pairs, count)).await
        }
        Scenario::WakerClone => per_operation(count, wakers::clone_and_drop).await,
        Scenario::WakeDue => per_operation(count, wakers::wake_due).await,
        Scenario::Timer { pending } => timers::set_and_drop::<R>(pending, count).await,
        Scenario::TimeoutReady => per_operation(count, timers::timeout_ready::<R>).await,
        Scenario::TimeoutWaiting => per_operation(count, timers::timeout_waiting::<R>).await,
        Scenario::RemoteParked => remote::parked(count).await,
        Scenario::RemoteRunning => remote::flood(count).await,
        Scenario::RemoteFanout { tasks } => remote::fan_out::<R>(tasks, count).await,
        Scenario::TimerFire { timers } | Scenario::TimerFireCoarsely { timers } => {
            lateness::fire::<R>(timers).await
        }
        Scenario::Late { micros } => lateness::sleeps::<R>(micros, count).await,
        Scenario::TaskMemory => memory::per_task::<R>(count).await,
        Scenario::Burst { tasks } => memory::burst::<R>(tasks).await,
        Scenario::Accept { busy, work } => busy::accept::<R>(busy, work, count).await,
        Scenario::Latency { busy, work } => busy::latency::<R>(busy, work).await,
        Scenario::Channel { capacity } => busy::channel::<R>(capacity, count).await,
    }
}

/// Warms up, then measures how long one of `count` operations takes on average.
pub(crate) async fn per_operation(count: u64, operations: impl AsyncFn(u64)) -> Value {
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
