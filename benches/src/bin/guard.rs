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

/// The share by which a number may differ.
const TOLERANCE: f64 = 0.05;

/// The name of the echo scenarios, before the number of connections.
const ECHO: &str = "echo:";

/// How often each number is taken. The least counts: it varies only if events come in other batches than they could.
const REPEATS: usize = 2;

/// What is guarded: the contestant's scenario or `echo:CONNECTIONS`, and the counts to find the slope between.
const GUARDED: [(&str, Counts); 8] = [
    ("spawn-join", counts(10_000, 60_000)),
    ("yield:1", counts(10_000, 60_000)),
    ("yield:100", counts(10_000, 60_000)),
    ("ping-pong", counts(10_000, 60_000)),
    ("timer:0", counts(10_000, 60_000)),
    ("timer:10000", counts(10_000, 60_000)),
    ("echo:1", counts(500, 4_500)),
    ("echo:100", counts(1_000, 11_000)),
];

const fn counts(few: u64, many: u64) -> Counts {
    Counts { few, many }
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
    println!("{:<14}{:>12}{:>12}{:>9}", "", "accepted", "now", "change");
    for (scenario, now) in numbers {
        let Some(&accepted) = kept.get(&scenario) else {
            println!("{scenario:<14}{:>12}{now:>12.1}   new: accept it", "–");
            grown += 1;
            continue;
        };
        let change = now / accepted - 1.0;
        let verdict = if change > TOLERANCE {
            grown += 1;
            "has grown"
        } else if change < -TOLERANCE {
            shrunk += 1;
            "has shrunk"
        } else {
            ""
        };
        let percent = 100.0 * change;
        println!("{scenario:<14}{accepted:>12.1}{now:>12.1}{percent:>+8.1}%  {verdict}");
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
        println!("{scenario:<14}{now:>12.1}");
    }
    Ok(ExitCode::SUCCESS)
}

fn count() -> io::Result<Numbers> {
    if let Some(reason) = callgrind::missing() {
        return Err(io::Error::other(reason));
    }
    let programs = Programs::build(false)?;
    let mut numbers = Numbers::new();
    for (scenario, counts) in GUARDED {
        let mut least = f64::INFINITY;
        for _ in 0..REPEATS {
            least = least.min(slope(&programs, scenario, counts)?);
        }
        // The slope's fraction beyond this is chance.
        numbers.insert(scenario.to_owned(), (least * 10.0).round() / 10.0);
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
