//! The regression guard: fails if a main path executes more instructions than it did.
//!
//! It needs neither peers nor a quiet machine: instructions are counted (`callgrind`), not timed.
//! `docs/benchmarks.md` says when CI runs it and how a new number is accepted.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::process::ExitCode;

use runtime_benches::callgrind::{self, Counts};
use runtime_benches::programs::Programs;

const USAGE: &str = "\
usage: guard            compare with the numbers in benches/instructions.json
       guard --accept   write the numbers there";

const ACCEPT: &str = "cargo run --release -p runtime-benches --bin guard -- --accept";

/// The numbers that were accepted.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json");

/// The share by which a number may differ. Two kinds depend on time: beside many timers, deadlines lie in real time, so the
/// heaps differ from run to run; and how many of a thousand connections one wait reports depends on the load.
fn tolerance(scenario: &str) -> f64 {
    match scenario {
        "timer:100" | "timer:10000" | "timer:100000" => 0.4,
        "echo:1000" | "echo:1100" => 0.15,
        _ => 0.05,
    }
}

/// The name of the echo scenarios, before the number of connections.
const ECHO: &str = "echo:";

/// How often an echo is counted. The least counts: it varies only if events come in other batches than they could.
const REPEATS: usize = 2;

/// Tasks: batches of spawns, and sizes of futures in bytes.
///
/// A cost that jumps between two of them is a defect; `docs/decisions.md` lists the capacities and thresholds that each of
/// these lies below or beyond.
const SPAWNED: [(u64, u64); 25] = [
    (1, 16),
    (10, 16),
    (100, 16),
    (127, 16),
    (129, 16),
    (1_000, 16),
    (10_000, 16),
    // Where blocks of a size begin to be rounded up by more, and one class ends.
    (100, 200),
    (100, 208),
    (100, 216),
    (100, 224),
    (100, 232),
    (100, 408),
    (100, 416),
    (100, 424),
    (100, 432),
    (100, 440),
    (100, 480),
    (100, 1_000),
    (100, 5_000),
    (1_000, 200),
    (1_000, 1_000),
    (1_000, 5_000),
    (10_000, 1_000),
    // Where a pool may leave tasks to the allocator.
    (100, 8_000),
];

/// Other small scenarios, on either side of what caches, capacities and thresholds there are.
const SMALL: [&str; 24] = [
    "yield:1",
    "yield:10",
    "yield:60",
    "yield:62",
    "yield:100",
    "yield:10000",
    "self-wake:1",
    "self-wake:100",
    "ping-pong:1",
    "ping-pong:10",
    "ping-pong:1000",
    "oneshot:1",
    "oneshot:1000",
    "waker-clone",
    "wake-due",
    "timer:0",
    "timer:1",
    "timer:100",
    "timer:10000",
    "timer:100000",
    "timeout-waiting",
    "dead-waiters:31",
    "dead-waiters:33",
    "dead-waiters:10000",
];

/// Connections of an echo server, on either side of what one wait takes (1,024 events).
const CONNECTIONS: [u64; 5] = [1, 10, 100, 1_000, 1_100];

/// What is guarded: the contestant's scenario or `echo:CONNECTIONS`, and the counts to find the slope between.
fn guarded() -> Vec<(String, Counts)> {
    let spawns = SPAWNED.map(|(batch, bytes)| {
        // Whole batches, the first of which makes room.
        let few = batch.max(if bytes > 1_000 { 1_000 } else { 10_000 });
        let few = few.next_multiple_of(batch);
        let many = 3 * few;
        (format!("spawn-join:{batch}:{bytes}"), Counts { few, many })
    });
    let small = SMALL.map(|scenario| {
        // Each of 10,000 tasks yields four times at least; a scan of 10,000 takes its time.
        let is_slow = scenario.starts_with("dead-waiters");
        let (few, many) = if is_slow {
            (1_000, 2_000)
        } else {
            (40_000, 80_000)
        };
        (scenario.to_owned(), Counts { few, many })
    });
    let echoes = CONNECTIONS.map(|connections| {
        let (few, many) = ((2 * connections).max(500), (10 * connections).max(5_000));
        (format!("{ECHO}{connections}"), Counts { few, many })
    });
    spawns.into_iter().chain(small).chain(echoes).collect()
}

/// Instructions per operation, by scenario.
type Numbers = BTreeMap<String, f64>;

fn main() -> ExitCode {
    let words: Vec<_> = env::args().skip(1).collect();
    let outcome = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => check(),
        ["--accept"] => accept(),
        _ => Err(io::Error::other(USAGE)),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("guard: {error}");
        ExitCode::FAILURE
    })
}

/// Counts, prints, and fails if a number has grown.
fn check() -> io::Result<ExitCode> {
    let kept: Numbers = serde_json::from_str(&fs::read_to_string(KEPT)?)?;
    let numbers = count()?;
    let (mut grown, mut shrunk) = (0, 0);
    println!("{:<24}{:>12}{:>12}{:>9}", "", "accepted", "now", "change");
    for (scenario, now) in numbers {
        let Some(&accepted) = kept.get(&scenario) else {
            println!("{scenario:<24}{:>12}{now:>12.1}   new: accept it", "–");
            grown += 1;
            continue;
        };
        let change = now / accepted - 1.0;
        let tolerance = tolerance(&scenario);
        let verdict = if change > tolerance {
            grown += 1;
            "has grown"
        } else if change < -tolerance {
            shrunk += 1;
            "has shrunk"
        } else {
            ""
        };
        let percent = 100.0 * change;
        println!("{scenario:<24}{accepted:>12.1}{now:>12.1}{percent:>+8.1}%  {verdict}");
    }
    if shrunk > 0 {
        println!("So that what has been won stays won, accept the numbers: {ACCEPT}");
    }
    if grown > 0 {
        println!(
            "If what was gained for this is worth it, accept the numbers and say why: {ACCEPT}"
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts, and keeps the numbers.
fn accept() -> io::Result<ExitCode> {
    let numbers = count()?;
    fs::write(KEPT, serde_json::to_string_pretty(&numbers)? + "\n")?;
    for (scenario, now) in numbers {
        println!("{scenario:<24}{now:>12.1}");
    }
    Ok(ExitCode::SUCCESS)
}

fn count() -> io::Result<Numbers> {
    if let Some(reason) = callgrind::missing() {
        return Err(io::Error::other(reason));
    }
    let programs = Programs::build(false)?;
    let mut numbers = Numbers::new();
    for (scenario, counts) in guarded() {
        let mut least = f64::INFINITY;
        for _ in 0..if scenario.starts_with(ECHO) {
            REPEATS
        } else {
            1
        } {
            least = least.min(slope(&programs, &scenario, counts)?);
        }
        // The slope's fraction beyond this is chance.
        numbers.insert(scenario, (least * 10.0).round() / 10.0);
    }
    Ok(numbers)
}

fn slope(programs: &Programs, scenario: &str, counts: Counts) -> io::Result<f64> {
    let outcome = match scenario.strip_prefix(ECHO) {
        Some(connections) => {
            let connections = connections.parse().expect("the table has numbers");
            callgrind::echo(programs, "runtime", connections, counts)
        }
        None => callgrind::micro(programs, "runtime", scenario, counts),
    };
    outcome.map_err(|error| io::Error::new(error.kind(), format!("{scenario}: {error}")))
}
