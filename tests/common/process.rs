//! Processes of a test's own, for what concerns a whole process: forks, signals, limits.
#![expect(unsafe_code, reason = "only libc forks, sends signals and sets limits")]

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::{LIMIT, within};

/// Names the test for which a process was started.
const ALONE: &str = "RUNTIME_TEST_ALONE";

/// Runs `test` in a process that runs nothing else, under a watchdog; fails if it fails.
pub fn alone(test: impl FnOnce()) {
    alone_within(LIMIT, test);
}

/// As [`alone`], for a test that takes long.
pub fn alone_within(limit: Duration, test: impl FnOnce()) {
    if is_alone() {
        within(limit, test);
    } else {
        run_alone(limit);
    }
}

/// As [`alone`], while what `prepare` returns lives in the process that waits; if it is `None`, not at all.
pub fn alone_under<G>(prepare: impl FnOnce() -> Option<G>, test: impl FnOnce()) {
    if is_alone() {
        within(LIMIT, test);
    } else if let Some(_guard) = prepare() {
        run_alone(LIMIT);
    }
}

/// Whether this process was started for the test that runs here.
fn is_alone() -> bool {
    env::var(ALONE).is_ok_and(|alone| thread::current().name() == Some(&alone))
}

/// Runs the test that calls this in another process, to its end.
fn run_alone(limit: Duration) {
    let name = thread::current().name().unwrap_or_default().to_owned();
    let process = Command::new(env::current_exe().unwrap())
        .args(["--exact", &name, "--include-ignored"])
        .args(["--nocapture", "--test-threads=1"])
        .env(ALONE, &name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let group = -libc::pid_t::try_from(process.id()).unwrap();
    let (done, watch) = mpsc::channel::<()>();
    // The process has a watchdog of its own; this one ends what it started and left.
    let watchdog = thread::spawn(move || {
        if watch.recv_timeout(limit + LIMIT) == Err(RecvTimeoutError::Timeout) {
            send(group, libc::SIGKILL);
        }
    });
    let output = process.wait_with_output().unwrap();
    drop(done);
    watchdog.join().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {text}", output.status);
    assert!(text.contains("1 passed"), "{text}");
}

/// Says why a test cannot be done here; not by `eprintln!`, which the test harness keeps to itself.
pub fn skip(reason: impl std::fmt::Display) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(io::stderr(), "{name} skipped: {reason}");
}

/// A process that this one forked; it is killed when dropped.
pub struct Child(libc::pid_t);

/// Splits this process, which must be [`alone`]; `None` is the child, which is to end by [`leave`].
pub fn fork() -> Option<Child> {
    // SAFETY: the other threads hold no lock that the child could need: the harness and the watchdogs
    // wait, and the allocator sees to its own.
    match unsafe { libc::fork() } {
        -1 => panic!("{}", io::Error::last_os_error()),
        0 => {
            let limit = u32::try_from(LIMIT.as_secs()).unwrap();
            // SAFETY: nothing is passed. A child has no watchdog; the alarm ends it.
            unsafe { libc::alarm(limit) };
            None
        }
        child => Some(Child(child)),
    }
}

/// Ends a child after `last`, without any destructor of its parent's.
pub fn leave(last: impl FnOnce()) -> ! {
    let result = catch_unwind(AssertUnwindSafe(last));
    // SAFETY: ends the process.
    unsafe { libc::_exit(i32::from(result.is_err())) }
}

/// Lets a child do `call` and leave.
pub fn in_a_child(call: impl FnOnce()) -> Child {
    fork().unwrap_or_else(|| leave(call))
}

impl Child {
    /// Waits until the child has left; panics if it panicked.
    #[track_caller]
    pub fn join(self) {
        let status = self.ended();
        assert!(status.success(), "the child failed: {status}");
    }

    /// Waits until the child has ended, and says how.
    pub fn ended(self) -> ExitStatus {
        let status = self.wait(0);
        std::mem::forget(self);
        ExitStatus::from_raw(status)
    }

    /// Stops the child, and returns when it stands still.
    pub fn stop(&self) {
        send(self.0, libc::SIGSTOP);
        let status = self.wait(libc::WUNTRACED);
        assert!(libc::WIFSTOPPED(status), "{status:#x}");
    }

    /// Lets a child that was stopped go on.
    pub fn resume(&self) {
        send(self.0, libc::SIGCONT);
    }

    fn wait(&self, options: libc::c_int) -> libc::c_int {
        let mut status = 0;
        loop {
            // SAFETY: the pointer must be valid for writing: it is the local above.
            let waited = unsafe { libc::waitpid(self.0, &raw mut status, options) };
            if waited == self.0 {
                return status;
            }
            let error = io::Error::last_os_error();
            assert_eq!(error.kind(), io::ErrorKind::Interrupted, "{error}");
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        send(self.0, libc::SIGKILL);
        self.wait(0);
    }
}

/// Sends a signal to a process of ours, or to a group of them.
fn send(process: libc::pid_t, signal: libc::c_int) {
    // SAFETY: no pointers are passed.
    unsafe { libc::kill(process, signal) };
}

/// What a process may have so much of.
#[derive(Clone, Copy)]
pub enum Resource {
    Descriptors,
    /// Threads of all processes of the user, who must not be the superuser.
    Threads,
    /// Bytes of address space.
    Memory,
    /// Bytes of a core dump.
    Core,
}

/// Sets a limit of this process; returns what it was.
pub fn limit(resource: Resource, value: u64) -> u64 {
    let resource = match resource {
        Resource::Descriptors => libc::RLIMIT_NOFILE,
        Resource::Threads => libc::RLIMIT_NPROC,
        Resource::Memory => libc::RLIMIT_AS,
        Resource::Core => libc::RLIMIT_CORE,
    };
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer must be valid for writing one `rlimit`: it is the local above.
    let result = unsafe { libc::getrlimit(resource, &raw mut limit) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    let before = std::mem::replace(&mut limit.rlim_cur, value);
    // SAFETY: the pointer must be valid for reading one `rlimit`: it is the local above.
    let result = unsafe { libc::setrlimit(resource, &raw const limit) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    before
}

/// A user with no process on a usual system.
const NOBODY_ELSE: libc::uid_t = 65_533;

/// Gives up the rights of the superuser, whom no limit binds, if this process has them.
pub fn become_nobody() {
    // SAFETY: no pointers are passed.
    let is_superuser = unsafe { libc::geteuid() } == 0;
    // SAFETY: no pointers are passed.
    if is_superuser && unsafe { libc::setuid(NOBODY_ELSE) } != 0 {
        panic!("{}", io::Error::last_os_error());
    }
}

/// How many threads of this process look names up.
pub fn resolving_threads() -> usize {
    let threads = fs::read_dir("/proc/self/task").expect("procfs is mounted");
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok())
        .filter(|name| name.trim() == "runtime-resolve")
        .count()
}

/// Waits until the threads that looked names up have ended: until then they take further ones.
pub fn wait_for_resolving_threads() {
    while resolving_threads() > 0 {
        thread::yield_now();
    }
}
