//! Every contestant of the comparison in one program: its echo server and its small operations.
//!
//! `contestant list` prints the names of the contestants that are compiled in, one a line.
//!
//! `contestant NAME serve echo BUFFER LIMIT` listens on a port of 127.0.0.1, prints
//! `listening on ADDRESS` and sends back whatever comes, through a buffer of BUFFER bytes for each
//! connection. It exits when LIMIT connections have ended; with a LIMIT of 0 it never does.
//!
//! `contestant NAME micro SCENARIO COUNT` does one small operation COUNT times and prints one line of
//! JSON: an object that gives each metric its value, or says why it is `unsupported`. Whatever else a
//! scenario does is independent of COUNT, so the slope between two counts is the cost of an operation.
//!
//! The echo servers are the only ones here to read and write, as the optimizer inlines what has one caller: other
//! scenarios with streams are in the program `streams`.

mod contestant;
mod ours;
#[cfg(feature = "peers")]
mod peers;
mod raw;
mod samples;
mod scenarios;
mod server;

use std::env;
use std::process::ExitCode;

use contestant::Contestant;
use ours::Ours;
use raw::Raw;
use scenarios::Scenario;
use server::Echo;

/// What a contestant is told to do.
enum Job {
    Echo { buffer: usize, limit: u64 },
    Micro { scenario: Scenario, count: u64 },
}

/// A contestant's name and what makes it do a job.
type Entry = (&'static str, fn(Job));

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if arguments == ["list"] {
        for (name, _) in contestants() {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    }
    let Some((run, job)) = parse(&arguments) else {
        eprintln!(
            "usage: contestant list\n       \
             contestant NAME serve echo BUFFER LIMIT\n       \
             contestant NAME micro SCENARIO COUNT\n\
             SCENARIO is one of {}",
            scenarios::NAMES.join(", ")
        );
        return ExitCode::FAILURE;
    };
    run(job);
    ExitCode::SUCCESS
}

/// The contestants that are compiled in.
fn contestants() -> Vec<Entry> {
    let ours: [Entry; 2] = [("raw", run::<Raw>), ("runtime", run::<Ours>)];
    #[cfg(feature = "peers")]
    return ours.into_iter().chain(peers::contestants()).collect();
    #[cfg(not(feature = "peers"))]
    ours.into()
}

fn parse(arguments: &[&str]) -> Option<(fn(Job), Job)> {
    let (name, job) = arguments.split_first()?;
    let (_, run) = contestants()
        .into_iter()
        .find(|(candidate, _)| candidate == name)?;
    let job = match *job {
        ["serve", "echo", buffer, limit] => Job::Echo {
            buffer: buffer.parse().ok().filter(|&bytes| bytes > 0)?,
            limit: limit.parse().ok()?,
        },
        ["micro", scenario, count] => Job::Micro {
            scenario: scenario.parse().ok()?,
            count: count.parse().ok().filter(|&count| count > 0)?,
        },
        _ => return None,
    };
    Some((run, job))
}

/// Makes one contestant do a job.
fn run<C: Contestant>(job: Job) {
    match job {
        Job::Echo { buffer, limit } => C::serve_echo(Echo::listen(buffer, limit)),
        Job::Micro { scenario, count } => println!("{}", C::measure(scenario, count)),
    }
}
