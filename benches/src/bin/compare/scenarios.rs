//! The scenarios: what is measured, as data.
//!
//! `measure` runs them, `tables` and `charts` show what they bring.

use runtime_benches::callgrind::Counts;

use crate::metrics::{
    BYTES, CPU_NS, CPU_US, FLOOD_RATE, LATE_P50_US, LATE_P99_US, MAX_US, Metric, NS, P50_NS,
    P50_US, P99_NS, P99_US, P999_US, PER_SECOND,
};

/// One thing that every contestant does.
pub(crate) struct Scenario {
    /// What `--only` and the saved results know it by.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) group: Group,
    pub(crate) work: Work,
}

/// What stands together in the tables.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Network,
    Tasks,
    Wakes,
    Timers,
    Memory,
    Scaling,
}

/// How a contestant is driven.
pub(crate) enum Work {
    /// An echo server, each of whose connections has `depth` requests of `size` bytes outstanding.
    Echo {
        connections: usize,
        size: usize,
        depth: usize,
        /// Counts the instructions of a request as well.
        counts: Option<Counts>,
    },
    /// An echo server with 10 active connections among idle ones, `registered` in all.
    Active { registered: usize },
    /// An echo server whose connections live for one request.
    Churn,
    /// An echo server with one ping-pong connection among flooding ones.
    Fair,
    /// An echo server with idle connections.
    Idle,
    /// One of the contestant's own small scenarios.
    Micro {
        scenario: String,
        count: u64,
        /// Counts the instructions of an operation as well.
        counts: Option<Counts>,
        /// What it measures; the first is what contestants are compared by.
        metrics: &'static [Metric],
    },
}

impl Scenario {
    /// What a round measures; the first is what contestants are compared by, and less of it is better.
    pub(crate) fn metrics(&self) -> &'static [Metric] {
        match self.work {
            Work::Echo { .. } => &[CPU_US, PER_SECOND, P50_US, P99_US, P999_US],
            Work::Active { .. } | Work::Churn => &[CPU_US, PER_SECOND],
            Work::Fair => &[P99_US, P50_US, MAX_US, FLOOD_RATE],
            Work::Idle => &[BYTES],
            Work::Micro { metrics, .. } => metrics,
        }
    }

    /// Whether its system calls are counted.
    pub(crate) fn counts_calls(&self) -> bool {
        matches!(self.work, Work::Echo { .. } | Work::Churn)
    }

    /// Whether, and between which counts, its instructions are counted.
    pub(crate) fn counts(&self) -> Option<Counts> {
        match self.work {
            Work::Echo { counts, .. } | Work::Micro { counts, .. } => counts,
            _ => None,
        }
    }
}

/// All scenarios, in the order in which they are run and shown.
pub(crate) fn all() -> Vec<Scenario> {
    [network(), tasks(), wakes(), timers(), memory(), scaling()]
        .into_iter()
        .flatten()
        .collect()
}

fn network() -> Vec<Scenario> {
    let echo = |name: &str, title: &str, connections, size, depth, counts| Scenario {
        name: name.to_owned(),
        title: title.to_owned(),
        group: Group::Network,
        work: Work::Echo {
            connections,
            size,
            depth,
            counts,
        },
    };
    let counts = Some(Counts {
        few: 1_000,
        many: 6_000,
    });
    let other = |name: &str, title: &str, work| Scenario {
        name: name.to_owned(),
        title: title.to_owned(),
        group: Group::Network,
        work,
    };
    vec![
        echo("echo-1", "echo 64 B, 1 connection", 1, 64, 1, counts),
        echo("echo-100", "echo 64 B, 100 connections", 100, 64, 1, counts),
        echo(
            "echo-1000",
            "echo 64 B, 1,000 connections",
            1_000,
            64,
            1,
            None,
        ),
        echo(
            "echo-8000",
            "echo 64 B, 8,000 connections",
            8_000,
            64,
            1,
            None,
        ),
        echo(
            "echo-16k",
            "echo 16 KiB, 100 connections",
            100,
            16_384,
            1,
            None,
        ),
        echo(
            "echo-pipelined",
            "echo 64 B, 100 connections, 16 deep",
            100,
            64,
            16,
            None,
        ),
        other("churn", "connect, echo 64 B, close", Work::Churn),
        other("fairness", "64 B beside 8 flooding connections", Work::Fair),
    ]
}

fn tasks() -> Vec<Scenario> {
    let (few, many) = (5_000, 25_000);
    let counts = Some(Counts { few, many });
    let task = |scenario, title, count, counts| micro(Group::Tasks, scenario, title, count, counts);
    vec![
        task("spawn-join", "spawn 100 tasks, join them", 500_000, counts),
        task("spawn-await", "spawn a task, join it", 500_000, counts),
        task("yield:1", "yield, 1 task", 1_000_000, counts),
        task("yield:100", "yield, 100 tasks", 2_000_000, counts),
        task("yield:10000", "yield, 10,000 tasks", 2_000_000, None),
        task("self-wake:1", "self-wake, 1 task", 1_000_000, counts),
        task("self-wake:100", "self-wake, 100 tasks", 2_000_000, counts),
        task("ping-pong", "round trip of two tasks", 500_000, counts),
    ]
}

fn wakes() -> Vec<Scenario> {
    const LATENCY: &[Metric] = &[P50_NS, P99_NS];
    let (few, many) = (10_000, 110_000);
    let counts = Some(Counts { few, many });
    let wake = |scenario, title, count, counts| micro(Group::Wakes, scenario, title, count, counts);
    vec![
        wake("waker-clone", "clone and drop a waker", 5_000_000, counts),
        wake("wake-due", "wake a task that is due", 5_000_000, counts),
        with_metrics(
            LATENCY,
            wake(
                "remote-parked",
                "wake from another thread, parked",
                1_000,
                None,
            ),
        ),
        wake(
            "remote-running",
            "wake from another thread, flood of one task",
            1_000_000,
            None,
        ),
        wake(
            "remote-fanout:1000",
            "wake from another thread, 1,000 tasks",
            500_000,
            None,
        ),
    ]
}

fn timers() -> Vec<Scenario> {
    const FIRE: &[Metric] = &[CPU_NS, LATE_P50_US, LATE_P99_US];
    const LATE: &[Metric] = &[P50_US, P99_US];
    let (few, many) = (5_000, 25_000);
    let counts = Some(Counts { few, many });
    let timer =
        |scenario, title, count, counts| micro(Group::Timers, scenario, title, count, counts);
    let late = |scenario, title, count| with_metrics(LATE, timer(scenario, title, count, None));
    vec![
        timer(
            "timer:0",
            "make, poll, drop a timer, none pending",
            500_000,
            counts,
        ),
        timer(
            "timer:10000",
            "make, poll, drop a timer, 10,000 pending",
            500_000,
            counts,
        ),
        timer(
            "timer:1000000",
            "make, poll, drop a timer, 1,000,000 pending",
            500_000,
            None,
        ),
        timer(
            "timeout-ready",
            "timeout around a ready future",
            1_000_000,
            counts,
        ),
        timer(
            "timeout-waiting",
            "timeout around a waiting future",
            500_000,
            counts,
        ),
        with_metrics(
            FIRE,
            timer("timer-fire", "100,000 timers over a second", 100_000, None),
        ),
        with_metrics(
            FIRE,
            timer(
                "timer-fire-coarsely",
                "the same, up to 1 ms late where there is a choice",
                100_000,
                None,
            ),
        ),
        late("late:50", "sleep 50 µs, lateness", 500),
        late("late:500", "sleep 500 µs, lateness", 300),
        late("late:1300", "sleep 1.3 ms, lateness", 200),
        late("late:10000", "sleep 10 ms, lateness", 50),
    ]
}

fn memory() -> Vec<Scenario> {
    let idle_task = micro(Group::Memory, "task-memory", "idle task", 1_000_000, None);
    vec![
        with_metrics(&[BYTES], idle_task),
        Scenario {
            name: "connection-memory".to_owned(),
            title: "idle connection, 64 B buffer".to_owned(),
            group: Group::Memory,
            work: Work::Idle,
        },
    ]
}

/// Descriptors, tasks and timers at which costs are charted; those that stand above are not repeated here.
fn scaling() -> Vec<Scenario> {
    let active = |registered| Scenario {
        name: format!("active:{registered}"),
        title: format!("10 active connections of {}", thousands(registered as u64)),
        group: Group::Scaling,
        work: Work::Active { registered },
    };
    let yields = |tasks| {
        let title = format!("yield, {} tasks", thousands(tasks));
        micro(
            Group::Scaling,
            &format!("yield:{tasks}"),
            &title,
            1_000_000,
            None,
        )
    };
    let timer = |pending| {
        let title = format!("make, poll, drop a timer, {} pending", thousands(pending));
        micro(
            Group::Scaling,
            &format!("timer:{pending}"),
            &title,
            500_000,
            None,
        )
    };
    let mut scenarios = Vec::new();
    scenarios.extend([10, 100, 1_000, 4_000, 16_000].map(active));
    scenarios.extend([10, 1_000, 100_000, 1_000_000].map(yields));
    scenarios.extend([1, 10, 100, 1_000, 100_000].map(timer));
    scenarios
}

fn micro(
    group: Group,
    scenario: &str,
    title: &str,
    count: u64,
    counts: Option<Counts>,
) -> Scenario {
    Scenario {
        name: scenario.to_owned(),
        title: title.to_owned(),
        group,
        work: Work::Micro {
            scenario: scenario.to_owned(),
            count,
            counts,
            metrics: &[NS],
        },
    }
}

fn with_metrics(measured: &'static [Metric], mut scenario: Scenario) -> Scenario {
    if let Work::Micro { metrics, .. } = &mut scenario.work {
        *metrics = measured;
    }
    scenario
}

/// Writes a number with commas.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
