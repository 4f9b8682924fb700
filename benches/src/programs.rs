//! Builds the programs that are measured, and those that measure them, as they are meant to run.
//!
//! Called first of all by `compare` and `guard`.

use std::cell::OnceCell;
use std::env;
use std::io;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Where the built programs are.
#[derive(Debug)]
pub struct Programs {
    /// The contestants.
    pub contestant: String,
    /// What else contestants do with streams.
    pub streams: String,
    /// The load generator.
    pub load: String,
    /// `streams` without the other runtimes, built as users build while they write their program.
    debug_streams: OnceCell<String>,
}

impl Programs {
    /// Builds them with the profile `measure`, with or without the other runtimes.
    ///
    /// # Errors
    ///
    /// If cargo fails; it has said why.
    pub fn build(with_peers: bool) -> io::Result<Self> {
        let mut arguments = vec![
            "--profile",
            "measure",
            "--bin",
            "contestant",
            "--bin",
            "load",
        ];
        if with_peers {
            arguments.extend(["--features", "peers"]);
        }
        let messages = cargo(&arguments)?;
        Ok(Self {
            contestant: executable(&messages, "contestant")?,
            streams: executable(&messages, "streams")?,
            load: executable(&messages, "load")?,
            debug_streams: OnceCell::new(),
        })
    }

    /// Builds `streams` for debugging, the first time, and says where it is.
    ///
    /// # Errors
    ///
    /// If cargo fails; `Unsupported` for other contestants than this runtime.
    pub fn debug_streams(&self, contestant: &str) -> io::Result<&str> {
        if contestant != "runtime" {
            let kind = io::ErrorKind::Unsupported;
            return Err(io::Error::new(kind, "it is not built for debugging"));
        }
        if self.debug_streams.get().is_none() {
            let program = executable(&cargo(&[])?, "streams")?;
            self.debug_streams.get_or_init(|| program);
        }
        Ok(self.debug_streams.get().expect("it was just built"))
    }

    /// The program that knows `scenario`.
    pub fn of(&self, scenario: &str) -> &str {
        let name = scenario.split(':').next().unwrap_or_default();
        if ["round-trip", "dead-waiters", "waiters", "halves"].contains(&name) {
            &self.streams
        } else {
            &self.contestant
        }
    }
}

/// Builds `streams` and what else is asked for; returns cargo's messages.
fn cargo(arguments: &[&str]) -> io::Result<String> {
    let mut command = Command::new(env::var("CARGO").unwrap_or("cargo".into()));
    command.args(["build", "-p", "runtime-benches", "--bin", "streams"]);
    command.args(arguments);
    command.arg("--message-format=json-render-diagnostics");
    command.args([
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    // TARGET/PROFILE/PROGRAM: what started this one may have been told another folder than the usual.
    if let Some(target) = env::current_exe()?.ancestors().nth(2) {
        command.arg("--target-dir").arg(target);
    }
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other("cargo cannot build the programs"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Finds where cargo says it put the program `name`.
fn executable(messages: &str, name: &str) -> io::Result<String> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(str::to_owned))
        .ok_or_else(|| io::Error::other(format!("cargo does not say where {name} is")))
}
