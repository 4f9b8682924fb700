//! Counting the system calls of a running server by the kernel's tracepoints.
//!
//! They cost the server next to nothing. `strace` would slow it so much that the next request has always come
//! when it reads once more, and the reads that find nothing (`EAGAIN`) disappear from the count.

use std::collections::BTreeMap;
use std::io;

use runtime_benches::child::Running;

/// The calls that are told apart; attaching takes 35 ms for each.
const CALLS: [&str; 15] = [
    "accept4",
    "close",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_wait",
    "futex",
    "io_uring_enter",
    "ioctl",
    "read",
    "recvfrom",
    "recvmsg",
    "sendmsg",
    "sendto",
    "timerfd_settime",
    "write",
];

/// The calls whose failures with `EAGAIN` are counted.
const RETRIED: [&str; 3] = ["accept4", "read", "recvfrom"];

/// All calls, also the others.
const SUM: &str = "raw_syscalls:sys_enter";

/// `perf stat`, attached to a process.
pub(crate) struct Perf(Running);

impl Perf {
    /// Attaches to a process, and counts nothing yet.
    pub(crate) fn attach(process: u32) -> io::Result<Self> {
        let mut line = vec!["perf", "stat", "-x", ",", "--delay", "-1"];
        // The commands come by standard input, the acknowledgements by standard output.
        line.extend(["--control", "fd:0,1"]);
        let process = process.to_string();
        line.extend(["-p", &process, "-e", SUM]);
        let entered = CALLS.map(|call| format!("syscalls:sys_enter_{call}"));
        let left = RETRIED.map(|call| format!("syscalls:sys_exit_{call}"));
        for event in &entered {
            line.extend(["-e", event]);
        }
        for event in &left {
            line.extend(["-e", event, "--filter", "ret == -11"]);
        }
        Ok(Self(Running::start(&line, None)?))
    }

    /// Begins to count; it does when this returns.
    pub(crate) fn enable(&mut self) -> io::Result<()> {
        self.command("enable")
    }

    /// Ends counting.
    pub(crate) fn disable(&mut self) -> io::Result<()> {
        self.command("disable")
    }

    /// Returns how often each call was made and, as `EAGAIN:` and its name, failed so; the sum as an empty name.
    pub(crate) fn counts(self) -> io::Result<BTreeMap<String, f64>> {
        let table = self.0.interrupt()?;
        Ok(table.lines().filter_map(row).collect())
    }

    fn command(&mut self, command: &str) -> io::Result<()> {
        let told = self.0.tell(command);
        if told.is_ok() && self.0.line()?.is_some() {
            return Ok(());
        }
        let reason = self.0.last_words();
        Err(io::Error::other(format!(
            "perf cannot count; tracepoints take root, or the rights that it names: {reason}"
        )))
    }
}

/// Reads one line of `perf stat -x,`: the count, nothing, and the event.
fn row(line: &str) -> Option<(String, f64)> {
    let mut fields = line.split(',');
    let count = fields.next()?.parse().ok()?;
    let event = fields.nth(1)?;
    let name = if let Some(call) = event.strip_prefix("syscalls:sys_enter_") {
        call.to_owned()
    } else if let Some(call) = event.strip_prefix("syscalls:sys_exit_") {
        format!("EAGAIN:{call}")
    } else if event == SUM {
        String::new()
    } else {
        return None;
    };
    Some((name, count))
}
