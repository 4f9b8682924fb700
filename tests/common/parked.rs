//! Whether a thread waits in `epoll_wait`, and until when, as the kernel tells it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// A wait in `epoll_wait` that no time limit ends.
#[derive(Debug, PartialEq, Eq)]
pub struct Park {
    /// How often the thread has gone to sleep in its life.
    pub sleeps: u64,
    /// How far away the alarm is; `None` if the timer descriptor will not expire.
    pub alarm: Option<Duration>,
}

/// The directory in procfs that describes this thread.
pub fn this_thread() -> PathBuf {
    Path::new("/proc").join(fs::read_link("/proc/thread-self").expect("procfs is mounted"))
}

/// Waits until `thread` sleeps in `epoll_wait` without a time limit.
pub fn wait_until_parked(thread: &Path) -> Park {
    loop {
        if let Some(park) = park(thread) {
            return park;
        }
        thread::yield_now();
    }
}

/// How `thread` sleeps in `epoll_wait`; `None` if it does not, or has a time limit, or moved meanwhile.
pub fn park(thread: &Path) -> Option<Park> {
    let sleeps = sleeps(thread)?;
    let call = fs::read_to_string(thread.join("syscall")).ok()?;
    let mut arguments = call.split_whitespace().skip(1);
    let fd = hexadecimal(arguments.next()?)?;
    let timeout = hexadecimal(arguments.nth(2)?)?;
    let is_endless = timeout & 0xffff_ffff == 0xffff_ffff;
    if !is_endless || kind(fd)? != "anon_inode:[eventpoll]" {
        return None;
    }
    let alarm = alarm(fd);
    (self::sleeps(thread)? == sleeps).then_some(Park { sleeps, alarm })
}

fn sleeps(thread: &Path) -> Option<u64> {
    let status = fs::read_to_string(thread.join("status")).ok()?;
    let is_asleep = field(&status, "State:")?.starts_with('S');
    sleeps_in(&status).filter(|_| is_asleep)
}

fn sleeps_in(status: &str) -> Option<u64> {
    field(status, "voluntary_ctxt_switches:")?.parse().ok()
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim())
}

/// When the timer descriptor that an epoll instance watches expires.
fn alarm(epoll: u64) -> Option<Duration> {
    let watched = fs::read_to_string(format!("/proc/self/fdinfo/{epoll}")).ok()?;
    let watched = watched.lines().filter_map(|line| {
        let fd = line.strip_prefix("tfd:")?.split_whitespace().next()?;
        fd.parse().ok()
    });
    let timer = watched
        .into_iter()
        .find(|&fd| kind(fd).as_deref() == Some("anon_inode:[timerfd]"))?;
    let timer = fs::read_to_string(format!("/proc/self/fdinfo/{timer}")).ok()?;
    let rest = timer
        .lines()
        .find_map(|line| line.strip_prefix("it_value:"))?;
    let rest = rest.trim().trim_matches(['(', ')']);
    let (seconds, nanos) = rest.split_once(',')?;
    let rest = Duration::new(seconds.trim().parse().ok()?, nanos.trim().parse().ok()?);
    (!rest.is_zero()).then_some(rest)
}

fn kind(fd: u64) -> Option<String> {
    let link = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

fn hexadecimal(argument: &str) -> Option<u64> {
    u64::from_str_radix(argument.strip_prefix("0x")?, 16).ok()
}
