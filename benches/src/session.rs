//! Sessions with a contestant: a server under load, or a run of a small scenario.
//!
//! Called by `callgrind` and by `compare`.

use std::collections::BTreeMap;
use std::io;

use serde_json::Value;

use crate::child::Running;
use crate::programs::Programs;

/// What one run has measured, by name.
pub type Metrics = BTreeMap<String, f64>;

/// The CPU that contestants run on.
pub const CONTESTANT_CPU: Option<u32> = Some(0);

/// The CPU that the load generator runs on.
pub const LOAD_CPU: Option<u32> = Some(1);

/// A contestant that serves echo connections.
#[derive(Debug)]
pub struct Server {
    running: Running,
    address: String,
}

impl Server {
    /// Starts `contestant` with `buffer` bytes a connection, through `tool` if that is not empty.
    ///
    /// With a `limit` it ends after so many connections.
    ///
    /// # Errors
    ///
    /// If it does not listen, with its last words.
    pub fn start(
        programs: &Programs,
        tool: &[&str],
        contestant: &str,
        buffer: usize,
        limit: usize,
    ) -> io::Result<Self> {
        let (buffer, limit) = (buffer.to_string(), limit.to_string());
        let serve = [
            &programs.contestant,
            contestant,
            "serve",
            "echo",
            &buffer,
            &limit,
        ];
        Self::await_listening(Running::start(&[tool, &serve].concat(), CONTESTANT_CPU)?)
    }

    /// Starts `contestant` with hyper.
    ///
    /// # Errors
    ///
    /// If it does not listen, or has no hyper.
    pub fn start_http(programs: &Programs, contestant: &str) -> io::Result<Self> {
        let serve = [&programs.streams, contestant, "serve", "http"];
        Self::await_listening(Running::start(&serve, CONTESTANT_CPU)?)
    }

    fn await_listening(mut running: Running) -> io::Result<Self> {
        let line = running.line()?.unwrap_or_default();
        match line.strip_prefix("listening on ") {
            Some(address) => Ok(Self {
                running,
                address: address.to_owned(),
            }),
            None => Err(io::Error::other(format!(
                "the server does not listen: {}",
                running.last_words()
            ))),
        }
    }

    /// Returns the server's process id.
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Waits until it has ended by itself; returns its standard error.
    ///
    /// # Errors
    ///
    /// If it fails or hangs.
    pub fn finish(self) -> io::Result<String> {
        Ok(self.running.finish()?.1)
    }

    /// Drives the server with `mode` of the load generator and what stands after its address; returns what that measures.
    ///
    /// `at_quiet` is called whenever no request is outstanding and both sides wait.
    ///
    /// # Errors
    ///
    /// If the load generator fails, or `at_quiet`.
    pub fn drive(
        &self,
        programs: &Programs,
        mode: &str,
        arguments: &[String],
        mut at_quiet: impl FnMut() -> io::Result<()>,
    ) -> io::Result<Metrics> {
        let mut line = vec![programs.load.as_str(), mode, &self.address];
        line.extend(arguments.iter().map(String::as_str));
        let mut load = Running::start(&line, LOAD_CPU)?;
        let mut metrics = None;
        while let Some(line) = load.line()? {
            if line == "quiet" {
                at_quiet()?;
                load.tell("")?;
            } else {
                metrics = Some(parse(&line)?);
            }
        }
        load.finish()?;
        metrics.ok_or_else(|| io::Error::other("the load generator reports nothing"))
    }
}

/// Lets `contestant` of `program` do `scenario` `count` times, on `cpu` if there is one.
///
/// # Errors
///
/// If it fails; `Unsupported` if it says that it cannot do that.
pub fn micro(
    program: &str,
    contestant: &str,
    scenario: &str,
    count: u64,
    cpu: Option<u32>,
) -> io::Result<Metrics> {
    let count = count.to_string();
    let line = [program, contestant, "micro", scenario, &count];
    parse(&Running::start(&line, cpu)?.finish()?.0)
}

/// Reads the object that a program has printed.
///
/// # Errors
///
/// `Unsupported`, with the reason, if the program says so; otherwise if it is no object of numbers.
pub fn parse(line: &str) -> io::Result<Metrics> {
    let value: Value = serde_json::from_str(line.trim())?;
    if let Some(reason) = value["unsupported"].as_str() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    Ok(serde_json::from_value(value)?)
}
