//! The scenarios: what is measured, as data.
//!
//! `measure` runs them, `tables` and `charts` show what they bring.

use runtime_benches::callgrind::Counts;

use crate::metrics::{
    BYTES, CPU_BYTE_US, CPU_NS, CPU_S, CPU_US, EVENT_MS, FLOOD_RATE, KEPT_MB, LATE_MAX_US,
    LATE_P50_US, LATE_P99_US, LATE_P999_US, LATER_MB, MAIN_MS, MAX_US, MS, Metric, NS, P50_NS,
    P50_US, P99_NS, P99_US, P999_US, PER_SECOND, RELEASE_CPU_S, TASK_MS, THREAD_MS, WAKES,
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
    Busy,
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
    /// An HTTP server on hyper, each of whose connections has one request outstanding.
    Http { connections: usize },
    /// An echo server with 10 active connections among idle ones, `registered` in all.
    Active { registered: usize },
    /// An echo server whose connections live for one request.
    Churn,
    /// An echo server with one ping-pong connection among flooding ones.
    Fair { flooders: usize },
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
        /// Takes a contestant that is built as users build while they write their program.
        is_debug: bool,
    },
    /// Compiling a program that depends on a contestant and does nothing.
    Build,
}

impl Scenario {
    /// What a round measures; the first is what contestants are compared by, and less of it is better.
    pub(crate) fn metrics(&self) -> &'static [Metric] {
        match self.work {
            Work::Echo { .. } => &[CPU_US, PER_SECOND, P50_US, P99_US, P999_US],
            Work::Http { .. } => &[CPU_US, PER_SECOND, P50_US, P99_US],
            Work::Active { .. } | Work::Churn => &[CPU_US, PER_SECOND],
            Work::Fair { .. } => &[P99_US, P50_US, MAX_US, FLOOD_RATE],
            Work::Idle => &[BYTES],
            Work::Micro { metrics, .. } => metrics,
            Work::Build => &[CPU_S, RELEASE_CPU_S],
        }
    }

    /// What the table of all scenarios shows.
    pub(crate) fn at_a_glance(&self) -> &'static [Metric] {
        match self.metrics() {
            all @ [CPU_NS, ..] => all,
            [P99_US, _, _, FLOOD_RATE] => &[P99_US, FLOOD_RATE],
            metrics => &metrics[..1],
        }
    }

    /// Whether its system calls are counted.
    pub(crate) fn counts_calls(&self) -> bool {
        matches!(
            self.work,
            Work::Echo { .. } | Work::Http { .. } | Work::Churn
        )
    }

    /// Whether, and between which counts, its instructions are counted.
    pub(crate) fn counts(&self) -> Option<Counts> {
        match self.work {
            Work::Echo { counts, .. } | Work::Micro { counts, .. } => counts,
            _ => None,
        }
    }

    /// Shows it among those that are charted and not in the table of all.
    fn scaling(mut self) -> Self {
        self.group = Group::Scaling;
        self
    }

    fn measures(mut self, measured: &'static [Metric]) -> Self {
        if let Work::Micro { metrics, .. } = &mut self.work {
            *metrics = measured;
        }
        self
    }

    fn in_debug(mut self) -> Self {
        if let Work::Micro { is_debug, .. } = &mut self.work {
            *is_debug = true;
        }
        self.name = format!("debug-{}", self.name);
        self.title = format!("debug build, {}", self.title);
        self
    }
}

/// All scenarios, in the order in which they are run and shown.
pub(crate) fn all() -> Vec<Scenario> {
    [network(), tasks(), wakes(), timers(), busy(), memory()]
        .into_iter()
        .flatten()
        .collect()
}

fn network() -> Vec<Scenario> {
    let network = |name: &str, title: &str, work| Scenario {
        name: name.to_owned(),
        title: title.to_owned(),
        group: Group::Network,
        work,
    };
    let mut scenarios: Vec<_> = [1, 10, 100, 1_000, 8_000]
        .map(|connections| {
            let title = format!("echo 64 B, {} connections", thousands(connections as u64));
            let is_counted = connections <= 1_000;
            network(
                &format!("echo-{connections}"),
                &title,
                echo(connections, 64, 1, is_counted),
            )
        })
        .into();
    scenarios.extend([
        network(
            "echo-16k",
            "echo 16 KiB, 100 connections",
            echo(100, 16_384, 1, false),
        ),
        network(
            "echo-pipelined",
            "echo 64 B, 100 connections, 16 deep",
            echo(100, 64, 16, false),
        ),
        network("churn", "connect, echo 64 B, close", Work::Churn),
    ]);
    scenarios.extend([64, 512].map(|connections| {
        let title = format!("hello with hyper, {connections} connections");
        network(
            &format!("http-{connections}"),
            &title,
            Work::Http { connections },
        )
    }));
    scenarios.extend([8, 64].map(|flooders| {
        let title = format!("64 B beside {flooders} flooding connections");
        network(
            &format!("fairness-{flooders}"),
            &title,
            Work::Fair { flooders },
        )
    }));
    scenarios.extend([10, 100, 1_000, 4_000, 16_000].map(|registered| {
        let title = format!("10 active connections of {}", thousands(registered as u64));
        let work = Work::Active { registered };
        network(&format!("active:{registered}"), &title, work).scaling()
    }));
    scenarios
}

fn echo(connections: usize, size: usize, depth: usize, is_counted: bool) -> Work {
    Work::Echo {
        connections,
        size,
        depth,
        counts: is_counted.then_some(Counts {
            few: 2_000,
            many: 12_000,
        }),
    }
}

fn tasks() -> Vec<Scenario> {
    let counts = Some(Counts {
        few: 10_000,
        many: 30_000,
    });
    let mut scenarios = Vec::new();
    for bytes in [16, 200, 1_000, 5_000] {
        for batch in [1, 10, 100, 1_000, 10_000] {
            let title = format!(
                "spawn and join {} of {} B",
                thousands(batch),
                thousands(bytes)
            );
            let name = format!("spawn-join:{batch}:{bytes}");
            let spawn = micro(Group::Tasks, &name, &title, 200_000, counts);
            let is_shown = bytes == 16 || batch == 1_000;
            scenarios.push(if is_shown { spawn } else { spawn.scaling() });
        }
    }
    for tasks in [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000] {
        let title = format!("yield among {}", thousands(tasks));
        let counts = counts.filter(|_| tasks <= 100);
        let yields = micro(
            Group::Tasks,
            &format!("yield:{tasks}"),
            &title,
            1_000_000,
            counts,
        );
        let is_shown = [1, 10, 100, 10_000].contains(&tasks);
        scenarios.push(if is_shown { yields } else { yields.scaling() });
    }
    for tasks in [1, 100] {
        let title = format!("self-wake among {tasks}");
        scenarios.push(micro(
            Group::Tasks,
            &format!("self-wake:{tasks}"),
            &title,
            1_000_000,
            counts,
        ));
    }
    for (name, by) in [("ping-pong", "signals"), ("oneshot", "a oneshot")] {
        for pairs in [1, 10, 1_000] {
            let title = format!("round trip by {by}, {} pairs", thousands(pairs));
            let name = format!("{name}:{pairs}");
            scenarios.push(micro(Group::Tasks, &name, &title, 500_000, counts));
        }
    }
    scenarios
}

fn wakes() -> Vec<Scenario> {
    const LATENCY: &[Metric] = &[P50_NS, P99_NS];
    let counts = Some(Counts {
        few: 10_000,
        many: 110_000,
    });
    let wake = |scenario: &str, title: &str, count, counts| {
        micro(Group::Wakes, scenario, title, count, counts)
    };
    let mut scenarios = vec![
        wake("waker-clone", "clone and drop a waker", 5_000_000, counts),
        wake("wake-due", "wake a task that is due", 5_000_000, counts),
        wake(
            "remote-parked",
            "wake from another thread, parked",
            1_000,
            None,
        )
        .measures(LATENCY),
        wake(
            "remote-running",
            "wake from another thread, flood of one task",
            1_000_000,
            None,
        ),
    ];
    scenarios.extend([10, 100, 1_000, 10_000].map(|tasks| {
        let title = format!("wake from another thread, {} tasks", thousands(tasks));
        wake(&format!("remote-fanout:{tasks}"), &title, 300_000, None)
    }));
    scenarios.extend([0, 1].map(|has_waited| {
        let waited = ["", " that has waited once"][has_waited];
        let title = format!("halves in two threads, sleeps of a writer{waited}");
        wake(&format!("halves:{has_waited}"), &title, 5_000, None).measures(&[WAKES])
    }));
    scenarios
}

fn timers() -> Vec<Scenario> {
    const FIRE: &[Metric] = &[CPU_NS, LATE_P50_US, LATE_P99_US, LATE_P999_US, LATE_MAX_US];
    const LATE: &[Metric] = &[P50_US, P99_US];
    let counts = Some(Counts {
        few: 5_000,
        many: 25_000,
    });
    let timer = |scenario: &str, title: &str, count, counts| {
        micro(Group::Timers, scenario, title, count, counts)
    };
    let mut scenarios = Vec::new();
    for pending in [0, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000] {
        let title = format!("make, poll, drop a timer, {} pending", thousands(pending));
        let is_shown = [0, 10_000, 1_000_000].contains(&pending);
        let counts = counts.filter(|_| [0, 10_000].contains(&pending));
        let life = timer(&format!("timer:{pending}"), &title, 500_000, counts);
        scenarios.push(if is_shown { life } else { life.scaling() });
    }
    for scenario in ["timeout-ready", "timeout-waiting"] {
        let title = scenario.replace("timeout-", "timeout around a future that is ");
        scenarios.push(timer(scenario, &title, 500_000, counts));
    }
    scenarios.extend([1_000, 10_000, 100_000].map(|timers| {
        let title = format!("{} timers over a second", thousands(timers));
        timer(&format!("timer-fire:{timers}"), &title, 1, None).measures(FIRE)
    }));
    let title = "100,000 timers over a second, up to 1 ms late where there is a choice";
    scenarios.push(timer("timer-fire-coarsely:100000", title, 1, None).measures(FIRE));
    scenarios.extend(
        [(50, 500), (500, 300), (1_300, 200), (10_000, 50)].map(|(micros, count)| {
            let title = format!("sleep {} µs, lateness", thousands(micros));
            timer(&format!("late:{micros}"), &title, count, None).measures(LATE)
        }),
    );
    scenarios
}

/// What happens to some beside many others.
fn busy() -> Vec<Scenario> {
    const LATE: &[Metric] = &[MAIN_MS, TASK_MS, EVENT_MS, THREAD_MS];
    let busy =
        |scenario: &str, title: &str, count| micro(Group::Busy, scenario, title, count, None);
    let mut scenarios = Vec::new();
    scenarios.extend([(0, 0), (8, 100), (256, 50)].map(|(tasks, work)| {
        let title = format!("accept 500 beside {tasks} tasks of {work} µs");
        busy(&format!("accept:{tasks}:{work}"), &title, 500).measures(&[MS])
    }));
    scenarios.extend([600, 6_000, 60_000].map(|tasks| {
        let title = format!(
            "lateness after 100 ms beside {} tasks of 20 µs",
            thousands(tasks)
        );
        busy(&format!("latency:{tasks}:20"), &title, 1).measures(LATE)
    }));
    scenarios.extend([1, 100, 10_000].map(|capacity| {
        let title = format!("1 ms timer beside a channel of {}", thousands(capacity));
        busy(&format!("channel:{capacity}"), &title, 1_000_000).measures(&[
            LATE_P99_US,
            LATE_MAX_US,
            NS,
        ])
    }));
    scenarios.extend([0, 1_000, 100_000].map(|polls| {
        let title = format!(
            "read that has to wait, after {} by ended tasks",
            thousands(polls)
        );
        busy(&format!("dead-waiters:{polls}"), &title, 10_000)
    }));
    scenarios.extend([1, 64, 1_024, 8_192].map(|waiters| {
        let title = format!("{} waiters of one socket", thousands(waiters));
        busy(&format!("waiters:{waiters}"), &title, 50).measures(&[CPU_BYTE_US])
    }));
    scenarios.extend([0, 1_000, 100_000].map(|idle| {
        let title = format!("round trip beside {} idle tasks", thousands(idle));
        busy(&format!("round-trip:{idle}"), &title, 1_000).in_debug()
    }));
    scenarios
}

fn memory() -> Vec<Scenario> {
    let other = |name: &str, title: &str, work| Scenario {
        name: name.to_owned(),
        title: title.to_owned(),
        group: Group::Memory,
        work,
    };
    let mut scenarios = vec![
        micro(Group::Memory, "task-memory", "idle task", 1_000_000, None).measures(&[BYTES]),
        other(
            "connection-memory",
            "idle connection, 64 B buffer",
            Work::Idle,
        ),
    ];
    scenarios.extend([10_000, 100_000, 1_000_000].map(|tasks| {
        let title = format!("kept after a burst of {} tasks", thousands(tasks));
        micro(Group::Memory, &format!("burst:{tasks}"), &title, 1, None)
            .measures(&[KEPT_MB, LATER_MB])
    }));
    scenarios.push(other(
        "clean-build",
        "clean build of a program that does nothing",
        Work::Build,
    ));
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
            is_debug: false,
        },
    }
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
