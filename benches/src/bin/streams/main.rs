//! What contestants do with streams besides echoing: one socket in many tasks or two threads, and hyper.
//!
//! `streams NAME serve http` listens on a port of 127.0.0.1, prints `listening on ADDRESS` and answers requests with a few
//! words. `streams NAME micro SCENARIO COUNT` is as in the program `contestant`, whose runtimes these are.

#[path = "../contestant/contestant.rs"]
#[expect(dead_code, reason = "the other program uses more of it")]
mod contestant;
mod halves;
#[cfg(feature = "peers")]
mod http;
#[path = "../contestant/ours.rs"]
mod ours;
#[path = "ours.rs"]
mod ours_streams;
#[cfg(feature = "peers")]
#[path = "../contestant/peers"]
mod peers {
    pub(crate) mod smol;
    pub(crate) mod tokio;
}
#[path = "../contestant/samples.rs"]
mod samples;
#[path = "../contestant/scenarios/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the other program uses more of it"
)]
mod scenarios;
#[path = "../contestant/server.rs"]
#[cfg_attr(
    not(feature = "peers"),
    expect(dead_code, reason = "only hyper's server listens through it")
)]
mod server;
mod shared;
#[cfg(feature = "peers")]
#[path = "smol.rs"]
mod smol_streams;
#[cfg(feature = "peers")]
#[path = "tokio.rs"]
mod tokio_streams;

use std::cell::Cell;
use std::env;
#[cfg(feature = "peers")]
use std::io;
use std::process::ExitCode;
use std::rc::Rc;

use ours::Ours;
use scenarios::unsupported;
use serde_json::Value;
use shared::Streams;

const USAGE: &str = "\
usage: streams NAME micro SCENARIO COUNT
       streams NAME serve http
SCENARIO is round-trip:IDLE, dead-waiters:POLLS, waiters:TASKS or halves:HAS_WAITED";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let is_done = match words[..] {
        [name, "micro", scenario, count] => micro(name, scenario, count),
        #[cfg(feature = "peers")]
        [name, "serve", "http"] => serve_http(name),
        _ => None,
    };
    if is_done.is_none() {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Measures and prints; `None` if that is not understood.
fn micro(name: &str, scenario: &str, count: &str) -> Option<()> {
    let (scenario, number) = scenario.split_once(':')?;
    let (number, count) = (number.parse().ok()?, count.parse().ok()?);
    let metrics = match (name, scenario) {
        ("runtime", "halves") => halves::measure::<Ours>(number > 0, count),
        #[cfg(feature = "peers")]
        ("tokio", "halves") => halves::measure::<peers::tokio::Tokio>(number > 0, count),
        (_, "halves") => unsupported("its connections have no halves for two threads"),
        ("runtime", _) => measure::<Ours>(scenario, number, count)?,
        #[cfg(feature = "peers")]
        ("tokio", _) => measure::<peers::tokio::Tokio>(scenario, number, count)?,
        #[cfg(feature = "peers")]
        ("smol", _) => measure::<peers::smol::Smol>(scenario, number, count)?,
        _ => unsupported("its streams are not read through references"),
    };
    println!("{metrics}");
    Some(())
}

/// Runs a scenario in a task of a new runtime.
fn measure<R: Streams>(scenario: &str, number: u64, count: u64) -> Option<Value> {
    let scenario = match scenario {
        "round-trip" => 0,
        "dead-waiters" => 1,
        "waiters" => 2,
        _ => return None,
    };
    R::block_on(async {
        let metrics = Rc::new(Cell::new(None));
        let slot = Rc::clone(&metrics);
        R::spawn(async move {
            slot.set(Some(match scenario {
                0 => shared::round_trip::<R>(number, count).await,
                1 => shared::dead_waiters::<R>(number, count).await,
                _ => shared::waiters::<R>(number, count).await,
            }));
        })
        .await;
        metrics.take()
    })
}

/// Serves for ever; `None` if there is no adapter.
#[cfg(feature = "peers")]
fn serve_http(name: &str) -> Option<()> {
    let served = match name {
        "runtime" => serve_with::<Ours>(),
        "tokio" => serve_with::<peers::tokio::Tokio>(),
        "smol" => serve_with::<peers::smol::Smol>(),
        _ => {
            eprintln!("hyper has no adapter for it here");
            return Some(());
        }
    };
    served.expect("the listener accepts");
    Some(())
}

#[cfg(feature = "peers")]
fn serve_with<R: Streams>() -> io::Result<()> {
    let listener = server::Echo::listen(0, 0).nonblocking();
    R::block_on(R::serve_http(listener))
}
