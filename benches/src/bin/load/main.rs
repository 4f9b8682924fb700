//! The load generator: drives an echo or HTTP server from another process.
//!
//! It stands on epoll alone, so that no contestant measures itself, and prints one JSON object. Wherever the
//! server is quiet, before and after what is measured, it says so and waits (`mark`). A connection that
//! fails ends it: a rate with failures in it measures nothing.

mod churn;
mod clients;
mod connection;
mod fair;
mod http;
mod mark;

use std::env;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use runtime_benches::percentile::percentile;
use serde_json::{Value, json};

use crate::clients::Clients;

const USAGE: &str = "\
usage: load echo ADDRESS CONNECTIONS SECONDS SIZE DEPTH   keep DEPTH requests outstanding on each connection
       load active ADDRESS IDLE SECONDS                   10 active connections among IDLE idle ones
       load churn ADDRESS SECONDS CONCURRENCY             connect, 64 B to and fro, close
       load http ADDRESS CONNECTIONS SECONDS              keep a request outstanding on each connection
       load fair ADDRESS FLOODERS SECONDS                 64 B to and fro beside flooding connections
       load idle ADDRESS CONNECTIONS                      open them, and hold until a line of input
       load requests ADDRESS CONNECTIONS REQUESTS SIZE    so many in all, each connection one at a time, in step";

/// How long the server is driven before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);

/// How many connections are active among idle ones.
const ACTIVE: usize = 10;

/// The size of a request where it is not said.
const SIZE: usize = 64;

fn main() -> ExitCode {
    let words: Vec<_> = env::args().skip(1).collect();
    match run(&Arguments(&words)) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments<'_>) -> io::Result<Value> {
    let seconds = |place| arguments.get(place).map(Duration::from_secs_f64);
    match arguments.0.first().map(String::as_str) {
        Some("echo") => {
            let (connections, size) = (arguments.get(2)?, arguments.get(4)?);
            let clients = Clients::open(arguments.get(1)?, connections, size)?;
            echo(clients, connections, arguments.get(5)?, seconds(3)?)
        }
        Some("active") => {
            let idle: usize = arguments.get(2)?;
            let clients = Clients::open(arguments.get(1)?, idle + ACTIVE, SIZE)?;
            echo(clients, ACTIVE, 1, seconds(3)?)
        }
        Some("churn") => churn(arguments.get(1)?, arguments.get(3)?, seconds(2)?),
        Some("http") => http::http(arguments.get(1)?, arguments.get(2)?, seconds(3)?),
        Some("fair") => fair::fair(arguments.get(1)?, arguments.get(2)?, WARM_UP, seconds(3)?),
        Some("idle") => {
            let clients = Clients::open(arguments.get(1)?, arguments.get(2)?, SIZE)?;
            mark::quiet()?;
            drop(clients);
            Ok(json!({}))
        }
        Some("requests") => {
            let connections = arguments.get(2)?;
            let clients = Clients::open(arguments.get(1)?, connections, arguments.get(4)?)?;
            requests(clients, connections, arguments.get(3)?)
        }
        _ => Err(io::Error::other(USAGE)),
    }
}

fn echo(
    mut clients: Clients,
    active: usize,
    depth: usize,
    duration: Duration,
) -> io::Result<Value> {
    clients.run(active, depth, WARM_UP)?;
    mark::quiet()?;
    let mut tally = clients.run(active, depth, duration)?;
    mark::quiet()?;
    let in_time = tally.latencies.len();
    let mut micros = |fraction| percentile(&mut tally.latencies, fraction) as f64 / 1e3;
    Ok(json!({
        "requests": tally.requests,
        "per_second": in_time as f64 / duration.as_secs_f64(),
        "p50_us": micros(0.5),
        "p99_us": micros(0.99),
        "p999_us": micros(0.999),
    }))
}

fn churn(address: SocketAddr, concurrency: usize, duration: Duration) -> io::Result<Value> {
    // Shorter than elsewhere: every connection leaves its port unusable for a second, and there are 28,000.
    churn::churn(address, concurrency, WARM_UP / 3)?;
    mark::quiet()?;
    let start = Instant::now();
    let requests = churn::churn(address, concurrency, duration)?;
    let seconds = start.elapsed().as_secs_f64();
    mark::quiet()?;
    Ok(json!({ "requests": requests, "per_second": requests as f64 / seconds }))
}

/// Makes each connection's next request when all have their answers, so that the server's turns vary as
/// little as possible: this is for counting instructions.
fn requests(mut clients: Clients, connections: usize, requests: usize) -> io::Result<Value> {
    for _ in 0..requests / connections {
        clients.run(connections, 1, Duration::ZERO)?;
    }
    Ok(json!({ "requests": requests / connections * connections }))
}

/// The words after the program's name.
struct Arguments<'a>(&'a [String]);

impl Arguments<'_> {
    fn get<T: FromStr>(&self, place: usize) -> io::Result<T> {
        let word = self.0.get(place).ok_or_else(|| io::Error::other(USAGE))?;
        word.parse()
            .map_err(|_| io::Error::other(format!("cannot understand {word:?}\n{USAGE}")))
    }
}
