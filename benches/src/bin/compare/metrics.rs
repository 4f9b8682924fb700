//! What the numbers of a run are called, there and in the tables.

/// A number that a run brings.
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

/// The name of the number of system calls that a request takes.
pub(crate) const CALLS: &str = "calls";

/// The name of the number of instructions that an operation takes.
pub(crate) const INSTRUCTIONS: &str = "instructions";
