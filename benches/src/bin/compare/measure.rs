//! Runs one scenario with one contestant.
//!
//! Called by `main`, once per round and once more to count what does not vary; calls `session` for the programs,
//! `perf` for system calls and `callgrind` for instructions.

use std::fs;
use std::io;

use runtime_benches::callgrind;
use runtime_benches::programs::Programs;
use runtime_benches::session::{self, CONTESTANT_CPU, Metrics, Server};

use crate::build;
use crate::metrics::{CALLS, INSTRUCTIONS};
use crate::perf::Perf;
use crate::scenarios::{Scenario, Work};

/// Bytes that a server reads at most at once: enough for all that one connection has outstanding, so that a read
/// is short and proves that the socket is drained.
const BUFFER: usize = 4 * 1024;
const LARGE_BUFFER: usize = 32 * 1024;

/// The same where clients flood: what they write at once.
const FLOOD_BUFFER: usize = 16 * 1024;

/// How many connections are opened before memory is looked at, and how many are then counted.
const FIRST_IDLE: usize = 1_000;
const COUNTED_IDLE: usize = 8_000;

/// How many connections `load active` keeps busy.
const ACTIVE: usize = 10;

const CHURNING: usize = 32;

/// Measures contestants.
pub(crate) struct Measure<'a> {
    pub(crate) programs: &'a Programs,
    /// Measures for a short time only, to see whether everything runs.
    pub(crate) is_quick: bool,
}

impl Measure<'_> {
    /// Runs a scenario once, and measures what the clock shows.
    pub(crate) fn round(&self, scenario: &Scenario, contestant: &str) -> io::Result<Metrics> {
        match &scenario.work {
            Work::Micro {
                scenario,
                count,
                is_debug,
                ..
            } => {
                let count = if self.is_quick {
                    (count / 10).max(1)
                } else {
                    *count
                };
                // The other thread of these needs the other CPU.
                let is_remote = ["remote", "latency", "halves"];
                let is_remote = is_remote.iter().any(|name| scenario.starts_with(name));
                let cpu = CONTESTANT_CPU.filter(|_| !is_remote);
                let program = if *is_debug {
                    self.programs.debug_streams(contestant)?
                } else {
                    self.programs.of(scenario)
                };
                session::micro(program, contestant, scenario, count, cpu)
            }
            Work::Idle => self.idle_connections(contestant),
            Work::Build => build::measure(contestant, self.is_quick),
            work => {
                let server = self.serve(work, contestant)?;
                let mut cpu = Vec::new();
                let outcome = self.drive(work, &server, || {
                    cpu.push(cpu_time(server.id())?);
                    Ok(())
                });
                let mut metrics = outcome?;
                if let ([before, after], Some(requests)) = (&cpu[..], metrics.remove("requests")) {
                    metrics.insert("cpu_us".into(), (after - before) as f64 / 1e3 / requests);
                }
                Ok(metrics)
            }
        }
    }

    /// Counts the system calls of a request.
    pub(crate) fn calls(&self, scenario: &Scenario, contestant: &str) -> io::Result<Metrics> {
        let server = self.serve(&scenario.work, contestant)?;
        let mut perf = Perf::attach(server.id())?;
        let mut is_counting = false;
        let metrics = self.drive(&scenario.work, &server, || {
            is_counting = !is_counting;
            if is_counting {
                perf.enable()
            } else {
                perf.disable()
            }
        })?;
        let requests = metrics.get("requests").copied().unwrap_or(f64::NAN);
        let counts = perf.counts()?.into_iter();
        // What happens once in a hundred requests belongs to the server's turns, less is chance.
        let counts = counts.filter(|(_, count)| count / requests >= 0.001);
        Ok(counts
            .map(|(call, count)| {
                let separator = if call.is_empty() { "" } else { ":" };
                (format!("{CALLS}{separator}{call}"), count / requests)
            })
            .collect())
    }

    /// Counts the instructions of an operation, if the scenario says between which counts.
    pub(crate) fn instructions(
        &self,
        scenario: &Scenario,
        contestant: &str,
    ) -> io::Result<Metrics> {
        let Some(counts) = scenario.counts() else {
            return Ok(Metrics::new());
        };
        let instructions = match &scenario.work {
            Work::Echo { connections, .. } => {
                callgrind::echo(self.programs, contestant, *connections, counts)?
            }
            _ => callgrind::micro(self.programs, contestant, &scenario.name, counts)?,
        };
        Ok([(INSTRUCTIONS.to_owned(), instructions)].into())
    }

    fn serve(&self, work: &Work, contestant: &str) -> io::Result<Server> {
        let buffer = match work {
            Work::Echo { size, depth, .. } if size * depth >= BUFFER => LARGE_BUFFER,
            Work::Http { .. } => return Server::start_http(self.programs, contestant),
            Work::Fair { .. } => FLOOD_BUFFER,
            _ => BUFFER,
        };
        Server::start(self.programs, &[], contestant, buffer, 0)
    }

    fn drive(
        &self,
        work: &Work,
        server: &Server,
        at_quiet: impl FnMut() -> io::Result<()>,
    ) -> io::Result<Metrics> {
        let (mode, arguments) = match *work {
            Work::Echo {
                connections,
                size,
                depth,
                ..
            } => {
                // Thousands of connections take longer to come round.
                let seconds = self.seconds(if connections > 1_000 { 1.0 } else { 0.6 });
                let [connections, size, depth] =
                    [connections, size, depth].map(|number| number.to_string());
                ("echo", vec![connections, seconds, size, depth])
            }
            Work::Active { registered } => {
                let idle = registered - ACTIVE;
                ("active", vec![idle.to_string(), self.seconds(0.3)])
            }
            Work::Churn => ("churn", vec![self.seconds(0.5), CHURNING.to_string()]),
            Work::Http { connections } => {
                ("http", vec![connections.to_string(), self.seconds(0.6)])
            }
            Work::Fair { flooders } => ("fair", vec![flooders.to_string(), self.seconds(1.2)]),
            Work::Idle | Work::Micro { .. } | Work::Build => {
                unreachable!("these are driven in their own ways")
            }
        };
        server.drive(self.programs, mode, &arguments, at_quiet)
    }

    fn seconds(&self, seconds: f64) -> String {
        let share = if self.is_quick { 0.2 } else { 1.0 };
        (seconds * share).to_string()
    }

    /// Measures by how much a server grows with each idle connection, when the first ones have paid for what all share.
    fn idle_connections(&self, contestant: &str) -> io::Result<Metrics> {
        let server = Server::start(self.programs, &[], contestant, 64, 0)?;
        let (first, more) = ([FIRST_IDLE.to_string()], [COUNTED_IDLE.to_string()]);
        let mut memory = (0, 0);
        server.drive(self.programs, "idle", &first, || {
            memory.0 = resident(server.id())?;
            server.drive(self.programs, "idle", &more, || {
                memory.1 = resident(server.id())?;
                Ok(())
            })?;
            Ok(())
        })?;
        let bytes = (memory.1 - memory.0) as f64 / COUNTED_IDLE as f64;
        Ok([("bytes".to_owned(), bytes)].into())
    }
}

/// Reads the CPU time of all threads of a process, in ns.
fn cpu_time(process: u32) -> io::Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let account = fs::read_to_string(thread?.path().join("schedstat"))?;
        let time = account.split(' ').next().and_then(|time| time.parse().ok());
        sum += time.unwrap_or(0_u64);
    }
    Ok(sum)
}

/// Reads the resident memory of a process, in bytes: exactly, where `status` lags by some pages per CPU.
fn resident(process: u32) -> io::Result<i64> {
    let status = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<i64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::Error::other("the kernel does not say how much memory is resident"))
}
