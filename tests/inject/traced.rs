//! An example under `strace`, which makes some of its system calls fail.
#![expect(
    unsafe_code,
    reason = "only libc ties a process to the life of its parent"
)]

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long anything may take before it counts as hung.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A running example. It is killed when dropped.
pub(crate) struct Traced {
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

/// How an example ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    /// The lines of its output that were not read before.
    pub(crate) output: Vec<String>,
    /// Its error output, and among it what `strace` has seen.
    pub(crate) errors: String,
}

impl Traced {
    /// Starts an example with faults in the notation of `strace -e inject`.
    pub(crate) fn start(example: &str, arguments: &[&str], faults: &[&str]) -> Self {
        let calls = faults.iter().filter_map(|fault| fault.split(':').next());
        let mut command = Command::new("strace");
        // With `-D` the example, not `strace`, is the child of this process; its other threads count, too.
        command.args(["-D", "-f", "-qq", "-e"]);
        command.arg(format!("trace={}", Vec::from_iter(calls).join(",")));
        for fault in faults {
            command.args(["-e", &format!("inject={fault}")]);
        }
        command.arg(path_of(example)).args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // SAFETY: between `fork` and `exec` only functions that are async-signal-safe may be called: it is one
        // system call.
        unsafe { command.pre_exec(die_with_parent) };
        let mut child = command.spawn().expect("`strace` is installed");
        let output = child.stdout.take().expect("it is a pipe");
        let errors = child.stderr.take().expect("it is a pipe");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            for line in lines {
                let _ = sender.send(line);
            }
        });
        Self {
            child,
            lines,
            errors: Some(thread::spawn(move || text_of(errors))),
        }
    }

    /// Waits for the next line of output; `None` if there will be none.
    pub(crate) fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing was printed within {LIMIT:?}"),
        }
    }

    /// Writes to its input, and says that there is no more.
    pub(crate) fn input(&mut self, text: &str) {
        let mut input = self.child.stdin.take().expect("input is given once");
        input.write_all(text.as_bytes()).unwrap();
    }

    /// How many descriptors it has open.
    pub(crate) fn open_fds(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        fs::read_dir(folder).expect("it runs").count()
    }

    /// Its number, while it runs.
    pub(crate) fn pid(&self) -> libc::pid_t {
        self.child.id().cast_signed()
    }

    /// Waits until it ends by itself.
    pub(crate) fn end(mut self) -> End {
        let output = Vec::from_iter(std::iter::from_fn(|| self.line()));
        self.ended(output)
    }

    /// Ends it.
    pub(crate) fn kill(mut self) -> End {
        self.child.kill().expect("it is a child of this process");
        let output = self.lines.iter().collect();
        self.ended(output)
    }

    fn ended(&mut self, output: Vec<String>) -> End {
        // The output has ended, so the process has, or is about to.
        let status = self.child.wait().expect("it is a child of this process");
        let errors = self.errors.take().expect("it ends once");
        End {
            status,
            output,
            errors: errors.join().expect("reading does not panic"),
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // It may have ended, and then both say so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal that is ignored. Where a process is traced, it interrupts system calls all the same.
pub(crate) fn interrupt(pid: libc::pid_t) {
    // SAFETY: no pointers are passed.
    let result = unsafe { libc::kill(pid, libc::SIGURG) };
    assert_eq!(result, 0, "the process is there");
}

/// The example that was built with the profile of this test.
fn path_of(example: &str) -> PathBuf {
    let test = env::current_exe().expect("this test is a file");
    let profile = test.ancestors().nth(2).expect("it is in `deps`");
    let path = profile.join("examples").join(example);
    let flag = match profile.file_name() == Some(OsStr::new("release")) {
        true => " --release",
        false => "",
    };
    assert!(
        path.exists(),
        "build the examples first: cargo build{flag} --examples"
    );
    path
}

fn text_of(mut pipe: impl Read) -> String {
    let mut text = Vec::new();
    pipe.read_to_end(&mut text).expect("a pipe can be read");
    String::from_utf8_lossy(&text).into_owned()
}

/// Ends this process when the thread that made it ends, in whatever way.
fn die_with_parent() -> io::Result<()> {
    // SAFETY: no pointers are passed.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
