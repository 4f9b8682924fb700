//! What the numbers of a run are called, there and in the tables.

/// A number that a run brings.
#[derive(PartialEq, Eq)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
}

const fn metric(name: &'static str, title: &'static str) -> Metric {
    Metric { name, title }
}

pub(crate) const NS: Metric = metric("ns", "ns");
pub(crate) const P50_US: Metric = metric("p50_us", "p50 µs");
pub(crate) const P99_US: Metric = metric("p99_us", "p99 µs");
pub(crate) const CPU_US: Metric = metric("cpu_us", "server CPU µs per request");
pub(crate) const PER_SECOND: Metric = metric("per_second", "requests/s");
pub(crate) const BYTES: Metric = metric("bytes", "bytes");
pub(crate) const P999_US: Metric = metric("p999_us", "p99.9 µs");
pub(crate) const MAX_US: Metric = metric("max_us", "longest µs");
pub(crate) const FLOOD_RATE: Metric = metric("flood_mb_per_s", "flood MB/s");
pub(crate) const P50_NS: Metric = metric("p50_ns", "p50 ns");
pub(crate) const P99_NS: Metric = metric("p99_ns", "p99 ns");
pub(crate) const CPU_NS: Metric = metric("cpu_ns", "CPU ns per timer");
pub(crate) const LATE_P50_US: Metric = metric("late_p50_us", "late p50 µs");
pub(crate) const LATE_P99_US: Metric = metric("late_p99_us", "late p99 µs");
pub(crate) const LATE_P999_US: Metric = metric("late_p999_us", "late p99.9 µs");
pub(crate) const LATE_MAX_US: Metric = metric("late_max_us", "latest µs");
pub(crate) const CPU_BYTE_US: Metric = metric("cpu_us", "CPU µs a byte");
pub(crate) const MS: Metric = metric("ms", "ms");
pub(crate) const MAIN_MS: Metric = metric("main_ms", "late ms, main future");
pub(crate) const TASK_MS: Metric = metric("task_ms", "sleeping task");
pub(crate) const EVENT_MS: Metric = metric("event_ms", "event");
pub(crate) const THREAD_MS: Metric = metric("thread_ms", "wake by a thread");
pub(crate) const WAKES: Metric = metric("wakes", "per 1,000 segments");
pub(crate) const KEPT_MB: Metric = metric("kept_mb", "MB at once");
pub(crate) const LATER_MB: Metric = metric("later_mb", "MB after 2 s");
pub(crate) const CPU_S: Metric = metric("cpu_s", "CPU s");
pub(crate) const RELEASE_CPU_S: Metric = metric("release_cpu_s", "CPU s, release");

/// The name of the number of system calls that a request takes.
pub(crate) const CALLS: &str = "calls";

/// The name of the number of instructions that an operation takes.
pub(crate) const INSTRUCTIONS: &str = "instructions";
