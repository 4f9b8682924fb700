//! What results depend on but contestants do not differ in: the machine, the compiler, the versions.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The other runtimes' packages.
const PEERS: [&str; 5] = ["tokio", "async-executor", "async-io", "monoio", "compio"];

/// Where measurements were made, and of what.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) kernel: String,
    pub(crate) compiler: String,
    /// The peers' versions, by package.
    pub(crate) versions: BTreeMap<String, String>,
}

impl Setting {
    /// Looks up what holds now; `lock` is the workspace's `Cargo.lock`.
    pub(crate) fn detect(lock: &Path) -> io::Result<Self> {
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let models = processors
            .lines()
            .filter_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
        Ok(Self {
            processor: models.clone().next().unwrap_or("unknown").to_owned(),
            processors: models.count(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            compiler: say("rustc", &["--version"])?,
            versions: versions(&fs::read_to_string(lock)?),
        })
    }
}

/// Today, as year, month and day.
pub(crate) fn today() -> io::Result<String> {
    say("date", &["--utc", "+%Y-%m-%d"])
}

fn say(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn versions(lock: &str) -> BTreeMap<String, String> {
    let field = |line: &str, name: &str| {
        let value = line.strip_prefix(name)?.strip_prefix(" = \"")?;
        Some(value.trim_end_matches('"').to_owned())
    };
    let mut versions = BTreeMap::new();
    let mut package = String::new();
    for line in lock.lines() {
        if let Some(name) = field(line, "name") {
            package = name;
        } else if let Some(version) = field(line, "version")
            && PEERS.contains(&package.as_str())
        {
            versions.insert(package.clone(), version);
        }
    }
    versions
}
