//! Which charts there are, and the figures that they show.
//!
//! Called by `document`; calls `plot` to draw.

use std::fs;
use std::path::Path;

use crate::metrics::{CALLS, INSTRUCTIONS};
use crate::plot::{self, PlotError, Series};
use crate::results::Results;

/// A chart that has been drawn.
pub(crate) struct Drawn {
    /// The file, without folder and ending.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
}

/// A chart of bars: in each group one for each contestant.
struct Bars {
    name: &'static str,
    title: &'static str,
    metric: &'static str,
    /// The ratios to `raw`, not the figures themselves.
    is_relative: bool,
    /// Scenarios, and what stands below them; lines end at `\n`.
    groups: &'static [(&'static str, &'static str)],
}

/// A chart of lines: the cost against a number that stands in the scenarios' names.
struct Lines {
    name: &'static str,
    title: &'static str,
    metric: &'static str,
    cost: &'static str,
    against: &'static str,
    /// The scenarios' names, up to the number.
    prefix: &'static str,
}

const ECHOES: &[(&str, &str)] = &[
    ("echo-1", "64 B\n1 conn."),
    ("echo-100", "64 B\n100 conns"),
    ("echo-1000", "64 B\n1,000 conns"),
    ("echo-8000", "64 B\n8,000 conns"),
    ("echo-16k", "16 KiB\n100 conns"),
    ("echo-pipelined", "16 deep\n100 conns"),
    ("churn", "connect,\necho, close"),
];

const BARS: &[Bars] = &[
    Bars {
        name: "echo-cpu",
        title: "Server CPU per request, raw epoll = 1",
        metric: "cpu_us",
        is_relative: true,
        groups: ECHOES,
    },
    Bars {
        name: "system-calls",
        title: "System calls per request",
        metric: CALLS,
        is_relative: false,
        groups: ECHOES,
    },
    Bars {
        name: "instructions",
        title: "Instructions in user space per operation",
        metric: INSTRUCTIONS,
        is_relative: false,
        groups: &[
            ("echo-1", "echo\n1 conn."),
            ("echo-100", "echo\n100 conns"),
            ("spawn-join:100:16", "spawn,\njoin"),
            ("yield:1", "yield\n1 task"),
            ("yield:100", "yield\n100 tasks"),
            ("ping-pong:1", "ping-pong\nof tasks"),
            ("timer:10000", "timer,\n10,000 more"),
        ],
    },
    Bars {
        name: "tasks",
        title: "Tasks: ns per operation",
        metric: "ns",
        is_relative: false,
        groups: &[
            ("spawn-join:1:16", "spawn 1,\njoin it"),
            ("spawn-join:100:16", "spawn 100,\njoin them"),
            ("spawn-join:10000:16", "spawn 10,000,\njoin them"),
            ("yield:1", "yield\n1 task"),
            ("yield:100", "yield\n100 tasks"),
            ("yield:10000", "yield\n10,000 tasks"),
            ("ping-pong:1", "ping-pong"),
        ],
    },
    Bars {
        name: "wakes",
        title: "Wakes: ns per operation",
        metric: "ns",
        is_relative: false,
        groups: &[
            ("waker-clone", "clone, drop\na waker"),
            ("wake-due", "wake a task\nthat is due"),
            ("remote-running", "from a thread:\none task"),
            ("remote-fanout:1000", "from a thread:\n1,000 tasks"),
        ],
    },
    Bars {
        name: "lateness",
        title: "Sleeps: µs late, median",
        metric: "p50_us",
        is_relative: false,
        groups: &[
            ("late:50", "50 µs"),
            ("late:500", "500 µs"),
            ("late:1300", "1.3 ms"),
            ("late:10000", "10 ms"),
        ],
    },
    Bars {
        name: "memory",
        title: "Memory: bytes",
        metric: "bytes",
        is_relative: false,
        groups: &[
            ("task-memory", "idle task"),
            ("connection-memory", "idle connection"),
        ],
    },
    Bars {
        name: "fairness",
        title: "Fairness: p99 of a round trip beside 8 flooding connections, µs",
        metric: "p99_us",
        is_relative: false,
        groups: &[("fairness-8", "64 B round trip")],
    },
];

const LINES: &[Lines] = &[
    Lines {
        name: "scaling-descriptors",
        title: "Cost of an event against registered descriptors (10 active)",
        metric: "cpu_us",
        cost: "server CPU, µs per request",
        against: "registered descriptors",
        prefix: "active:",
    },
    Lines {
        name: "scaling-tasks",
        title: "Cost of a task switch against live tasks",
        metric: "ns",
        cost: "ns per yield",
        against: "live tasks",
        prefix: "yield:",
    },
    Lines {
        name: "scaling-timers",
        title: "Cost of a timer's life against pending timers",
        metric: "ns",
        cost: "ns to make, poll and drop",
        against: "pending timers",
        prefix: "timer:",
    },
];

/// Draws every chart that there are figures for into `folder`.
///
/// # Errors
///
/// If a file cannot be written.
pub(crate) fn draw(folder: &Path, results: &Results) -> Result<Vec<Drawn>, PlotError> {
    fs::create_dir_all(folder)?;
    let mut drawn = Vec::new();
    for chart in BARS {
        let (groups, series) = chart.figures(results);
        if series.is_empty() {
            continue;
        }
        let path = folder.join(chart.name).with_extension("svg");
        plot::bars(&path, chart.title, !chart.is_relative, &groups, &series)?;
        drawn.push(Drawn {
            name: chart.name,
            title: chart.title,
        });
    }
    for chart in LINES {
        let series = chart.figures(results);
        if series.is_empty() {
            continue;
        }
        let path = folder.join(chart.name).with_extension("svg");
        plot::lines(&path, chart.title, chart.against, chart.cost, &series)?;
        drawn.push(Drawn {
            name: chart.name,
            title: chart.title,
        });
    }
    Ok(drawn)
}

impl Bars {
    /// The labels of the groups that were measured, and for each contestant the number of a group and its figure.
    fn figures(&self, results: &Results) -> (Vec<&'static str>, Vec<Series>) {
        let measured = |scenario: &str| results.cells.contains_key(scenario);
        let groups: Vec<_> = self
            .groups
            .iter()
            .filter(|group| measured(group.0))
            .collect();
        let series = results.contestants.iter().map(|contestant| Series {
            contestant: contestant.clone(),
            figures: groups
                .iter()
                .enumerate()
                .filter_map(|(place, group)| {
                    Some((place as f64, self.figure(results, group.0, contestant)?))
                })
                .collect(),
        });
        let series = series.filter(|series| !series.figures.is_empty()).collect();
        (groups.iter().map(|group| group.1).collect(), series)
    }

    fn figure(&self, results: &Results, scenario: &str, contestant: &str) -> Option<f64> {
        let figure = if self.is_relative {
            results.ratio(scenario, self.metric, contestant, "raw")?
        } else {
            results
                .cell(scenario, contestant)?
                .spread(self.metric)?
                .median
        };
        // A logarithmic axis has no place for 0.
        (figure > 0.0).then_some(figure)
    }
}

impl Lines {
    /// For each contestant the number that costs depend on, and the cost.
    fn figures(&self, results: &Results) -> Vec<Series> {
        let series = results.contestants.iter().map(|contestant| {
            let points = results.cells.iter().filter_map(|(scenario, cells)| {
                let number: f64 = scenario.strip_prefix(self.prefix)?.parse().ok()?;
                let cost = cells.get(contestant)?.spread(self.metric)?.median;
                // Nor has one for no timers.
                (number > 0.0 && cost > 0.0).then_some((number, cost))
            });
            let mut figures: Vec<_> = points.collect();
            figures.sort_by(|one, other| one.0.total_cmp(&other.0));
            Series {
                contestant: contestant.clone(),
                figures,
            }
        });
        series.filter(|series| !series.figures.is_empty()).collect()
    }
}
