//! Child processes that end with whoever started them.
//!
//! `session`, `callgrind`, `compare` and `guard` start all programs through this.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// No program of the suite is silent for longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A started program; dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    complaints: Option<JoinHandle<String>>,
}

impl Running {
    /// Starts the program `line[0]` with the other words of `line` as its arguments, bound to `cpu` if there is one.
    ///
    /// # Errors
    ///
    /// If it, or `setpriv` and `taskset` (of util-linux), cannot be started.
    pub fn start(line: &[&str], cpu: Option<u32>) -> io::Result<Self> {
        // Without this, what a killed `compare` started would run on.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if let Some(cpu) = cpu {
            command.args(["taskset", "--cpu-list", &cpu.to_string()]);
        }
        command
            .args(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let output = child.stdout.take().expect("standard output is piped");
        let errors = child.stderr.take().expect("standard error is piped");
        Ok(Self {
            child,
            lines: read_lines(output),
            complaints: Some(thread::spawn(move || read_all(errors))),
        })
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the program's next line of output; `None` if it will print no more.
    ///
    /// # Errors
    ///
    /// `TimedOut` if it says nothing for a minute.
    pub fn line(&mut self) -> io::Result<Option<String>> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Ok(Some(line)),
            Err(mpsc::RecvTimeoutError::Disconnected) => Ok(None),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(hangs()),
        }
    }

    /// Gives the program a line to read.
    ///
    /// # Errors
    ///
    /// If it reads no more.
    pub fn tell(&mut self, word: &str) -> io::Result<()> {
        let input = self.child.stdin.as_mut().expect("standard input is piped");
        writeln!(input, "{word}")
    }

    /// Ends the program's input and waits until it has ended; returns what else it printed, and its standard error.
    ///
    /// # Errors
    ///
    /// If it fails, with its last words, or if it hangs.
    pub fn finish(mut self) -> io::Result<(String, String)> {
        drop(self.child.stdin.take());
        let (status, output, complaints) = self.wait()?;
        if status.success() {
            return Ok((output, complaints));
        }
        let reason = reason(&complaints);
        Err(io::Error::other(format!("{status}: {reason}")))
    }

    /// Sends SIGINT, at which `perf` prints and ends; returns its standard error.
    ///
    /// # Errors
    ///
    /// If it hangs. That it ends by the signal is as it should be.
    pub fn interrupt(mut self) -> io::Result<String> {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::INT)?;
        Ok(self.wait()?.2)
    }

    /// Kills the program and returns its last words: why it did not do what it should.
    pub fn last_words(&mut self) -> String {
        let _ = self.child.kill(); // it may have ended by itself
        reason(&self.complaints())
    }

    fn wait(&mut self) -> io::Result<(ExitStatus, String, String)> {
        let mut output = String::new();
        while let Some(line) = self.line()? {
            writeln!(output, "{line}").expect("a string takes everything");
        }
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, output, self.complaints()));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(hangs())
    }

    fn complaints(&mut self) -> String {
        let reader = self.complaints.take();
        reader.map_or_else(String::new, |reader| reader.join().unwrap_or_default())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}

/// Reads lines in a thread of their own: a pipe cannot be read with a time limit.
fn read_lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

fn read_all(mut errors: impl Read) -> String {
    let mut text = Vec::new();
    let _ = errors.read_to_end(&mut text); // what was read until then is better than nothing
    String::from_utf8_lossy(&text).into_owned()
}

/// Finds what says why a program ended: `perf` says it before its usage, a panic before its note, all else at last.
fn reason(text: &str) -> String {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let error = lines.clone().find(|line| line.starts_with("Error:"));
    let last = lines.rfind(|line| !line.starts_with("note:"));
    error
        .or(last)
        .unwrap_or("it says nothing")
        .replace('\t', " ")
}

fn hangs() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("no sign of life for {} s", PATIENCE.as_secs()),
    )
}
