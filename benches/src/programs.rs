//! Builds the programs that are measured, and those that measure them, as they are meant to run.
//!
//! Called first of all by `compare` and `guard`.

use std::env;
use std::io;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Where the built programs are.
#[derive(Debug)]
pub struct Programs {
    /// The contestants.
    pub contestant: String,
    /// The load generator.
    pub load: String,
}

impl Programs {
    /// Builds them with the profile `measure`, with or without the other runtimes.
    ///
    /// # Errors
    ///
    /// If cargo fails; it has said why.
    pub fn build(with_peers: bool) -> io::Result<Self> {
        let mut command = Command::new(env::var("CARGO").unwrap_or("cargo".into()));
        command.args(["build", "--profile", "measure", "-p", "runtime-benches"]);
        command.args(["--bin", "contestant", "--bin", "load"]);
        command.arg("--message-format=json-render-diagnostics");
        command.args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ]);
        if with_peers {
            command.args(["--features", "peers"]);
        }
        // TARGET/PROFILE/PROGRAM: what started this one may have been told another folder than the usual.
        if let Some(target) = env::current_exe()?.ancestors().nth(2) {
            command.arg("--target-dir").arg(target);
        }
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(io::Error::other("cargo cannot build the programs"));
        }
        let messages = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Self {
            contestant: executable(&messages, "contestant")?,
            load: executable(&messages, "load")?,
        })
    }
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
