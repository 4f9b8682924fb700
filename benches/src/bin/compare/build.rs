//! How much processor time it takes to compile a runtime, by a program that depends on it and does nothing.
//!
//! Called by `measure`. The versions are those of the workspace's `Cargo.lock`, whose packages cargo has fetched by then.

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use runtime_benches::session::Metrics;
use rustix::param::clock_ticks_per_second;

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Builds in a new folder, for debugging and for release.
///
/// # Errors
///
/// If cargo fails; `Unsupported` of `raw`, which is no package.
pub(crate) fn measure(contestant: &str, is_quick: bool) -> io::Result<Metrics> {
    let package = env::temp_dir().join(format!("clean-build-{}", std::process::id()));
    fs::create_dir_all(package.join("src"))?;
    let outcome = in_folder(&package, contestant, is_quick);
    fs::remove_dir_all(&package)?;
    outcome
}

fn in_folder(package: &Path, contestant: &str, is_quick: bool) -> io::Result<Metrics> {
    let manifest = format!(
        "[package]\nname = \"program\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n{}",
        dependencies(contestant)?
    );
    fs::write(package.join("Cargo.toml"), manifest)?;
    fs::write(package.join("src/main.rs"), "fn main() {}\n")?;
    fs::copy(
        format!("{WORKSPACE}/Cargo.lock"),
        package.join("Cargo.lock"),
    )?;
    let mut metrics = Metrics::from([("cpu_s".into(), build(package, "dev")?)]);
    if !is_quick {
        metrics.insert("release_cpu_s".into(), build(package, "release")?);
    }
    Ok(metrics)
}

/// What corresponds to this runtime without its default features: tasks, TCP, timers and macros.
fn dependencies(contestant: &str) -> io::Result<String> {
    let lines = match contestant {
        "runtime" => {
            format!("runtime = {{ path = {WORKSPACE:?}, default-features = false }}\n")
        }
        "tokio" => "tokio = { version = \"1\", features = [\"macros\", \"net\", \"rt\", \"time\"] }\n".into(),
        "smol" => "async-executor = \"1\"\nasync-io = \"2\"\nfutures-lite = \"2\"\n".into(),
        "monoio-epoll" => {
            "monoio = { version = \"0.2\", default-features = false, features = [\"legacy\", \"macros\"] }\n".into()
        }
        "compio-poll" => {
            "compio = { version = \"0.19\", default-features = false, features = [\"macros\", \"net\", \"polling\", \"runtime\", \"time\"] }\n".into()
        }
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "it is no package, or one that another contestant stands for",
            ));
        }
    };
    Ok(lines)
}

/// Returns the processor time of a build from nothing, in seconds.
fn build(package: &Path, profile: &str) -> io::Result<f64> {
    let before = time_of_children()?;
    let mut command = Command::new(env::var("CARGO").unwrap_or("cargo".into()));
    command.args(["build", "--offline", "--quiet", "--profile", profile]);
    // What cargo sets for the program that runs this one is not for another package.
    command
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS");
    let output = command
        .current_dir(package)
        .stdout(Stdio::null())
        .output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let reason = words
            .lines()
            .find(|line| line.starts_with("error"))
            .unwrap_or_default();
        return Err(io::Error::other(format!("cargo cannot build it: {reason}")));
    }
    Ok(time_of_children()? - before)
}

/// The processor time of this process's children that have ended, and of theirs, in seconds.
fn time_of_children() -> io::Result<f64> {
    let status = fs::read_to_string("/proc/self/stat")?;
    // The program's name, in brackets, may contain spaces; user and system time are fields 16 and 17 of all.
    let fields = status.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: u64 = fields
        .skip(13)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(ticks as f64 / clock_ticks_per_second() as f64)
}
