//! Counting the instructions that a contestant executes, which neither a clock nor a busy machine disturbs.
//!
//! Called by `compare` and `guard`. A count is a slope: what a long run executes more than a short one, for
//! each operation that it does more. Starting, warming up and ending thus do not count.

use std::io;
use std::process::{Command, Stdio};

use crate::child::Running;
use crate::programs::Programs;
use crate::session::{self, Server};

const CALLGRIND: [&str; 3] = [
    "valgrind",
    "--tool=callgrind",
    // Only the sum is wanted.
    "--callgrind-out-file=/dev/null",
];

/// Bytes that an echo server reads at most at once: more than a request, so that a read is short.
const BUFFER: usize = 4096;

/// Bytes an echo request.
const SIZE: usize = 64;

/// How many operations the short and the long run do.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// The short run.
    pub few: u64,
    /// The long run.
    pub many: u64,
}

/// Says why instructions cannot be counted, if so.
pub fn missing() -> Option<String> {
    let mut command = Command::new("valgrind");
    let command = command.arg("--version").stdout(Stdio::null());
    let error = match command.status() {
        Ok(status) if status.success() => return None,
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    Some(format!(
        "counting instructions takes valgrind, which cannot be run ({error}); install the package `valgrind`"
    ))
}

/// Counts the instructions of one operation of `scenario`.
///
/// # Errors
///
/// If a run fails; `Unsupported` if the contestant cannot do it.
pub fn micro(
    programs: &Programs,
    contestant: &str,
    scenario: &str,
    counts: Counts,
) -> io::Result<f64> {
    let start = |count: u64| {
        let count = count.to_string();
        let program = programs.of(scenario);
        let micro = [program, contestant, "micro", scenario, &count];
        Running::start(&[&CALLGRIND[..], &micro].concat(), None)
    };
    // Side by side: there are CPUs for both.
    let (few, many) = (start(counts.few)?, start(counts.many)?);
    let count = |run: Running| {
        let (output, complaints) = run.finish()?;
        session::parse(&output)?;
        collected(&complaints)
    };
    Ok(slope(counts, count(few)?, count(many)?))
}

/// Counts the instructions of one request of 64 B to the echo server, with `connections` in step.
///
/// # Errors
///
/// If a run fails.
pub fn echo(
    programs: &Programs,
    contestant: &str,
    connections: usize,
    counts: Counts,
) -> io::Result<f64> {
    let count = |requests: u64| {
        let server = Server::start(programs, &CALLGRIND, contestant, BUFFER, connections)?;
        let arguments = [
            connections.to_string(),
            requests.to_string(),
            SIZE.to_string(),
        ];
        server.drive(programs, "requests", &arguments, || Ok(()))?;
        collected(&server.finish()?)
    };
    Ok(slope(counts, count(counts.few)?, count(counts.many)?))
}

/// Finds the sum in what callgrind prints.
fn collected(complaints: &str) -> io::Result<u64> {
    let line = complaints.lines().find(|line| line.contains("Collected :"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .ok_or_else(|| io::Error::other("callgrind says no sum"))
}

fn slope(counts: Counts, few: u64, many: u64) -> f64 {
    (many as f64 - few as f64) / (counts.many - counts.few) as f64
}
