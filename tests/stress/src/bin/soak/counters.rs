//! What the process and its runtimes hold, as the kernel and the runtimes tell it.

use std::fmt;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use runtime::Runtime;

use super::memory;

/// How much more memory than after the first phase is none: a tenth.
const TOLERANCE: usize = 10;

/// How long descriptors may take to be closed after their last use: by threads of the resolver.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    descriptors: usize,
    /// Of all epoll instances together.
    epoll_entries: usize,
    pub(crate) memory: Memory,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// In bytes.
    allocated: usize,
    /// In KiB.
    resident: usize,
}

impl Process {
    pub(crate) fn now() -> Self {
        let descriptors: Vec<_> = fs::read_dir("/proc/self/fdinfo")
            .expect("procfs is mounted")
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        let watched = |text: String| {
            let lines = text.lines();
            lines.filter(|line| line.starts_with("tfd:")).count()
        };
        Self {
            descriptors: descriptors.len(),
            // The descriptor of the directory itself is gone.
            epoll_entries: descriptors
                .iter()
                .filter_map(|path| fs::read_to_string(path).ok().map(watched))
                .sum(),
            memory: Memory {
                allocated: memory::allocated(),
                resident: memory::resident(),
            },
        }
    }

    /// What is held once nothing changes any more, or patience ends.
    pub(crate) fn settled(start: &Self) -> Self {
        let limit = Instant::now() + PATIENCE;
        loop {
            let now = Self::now();
            let is_back = now.descriptors == start.descriptors;
            if is_back || Instant::now() > limit {
                return now;
            }
            thread::yield_now();
        }
    }

    /// # Panics
    ///
    /// When more is held than at the start, or more memory than once warm.
    pub(crate) fn check(&self, start: &Self, warm: &Memory) {
        let (now, before) = (self.descriptors, start.descriptors);
        assert_eq!(now, before, "descriptors have leaked");
        let (now, before) = (self.epoll_entries, start.epoll_entries);
        assert_eq!(now, before, "entries of epoll have leaked");
        check_memory(self.memory.allocated, warm.allocated, "bytes");
        check_memory(self.memory.resident, warm.resident, "KiB");
    }
}

fn check_memory(now: usize, warm: usize, unit: &str) {
    let most = warm + warm / TOLERANCE;
    assert!(now <= most, "{now} {unit} are more than {most}");
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Memory {
            allocated,
            resident,
        } = self.memory;
        write!(
            f,
            "{} descriptors, {} entries of epoll, {allocated} bytes allocated, {resident} KiB resident",
            self.descriptors, self.epoll_entries
        )
    }
}

/// Whether a runtime holds no task, no source and no timer.
pub(crate) fn is_empty(runtime: &Runtime) -> bool {
    let text = format!("{runtime:?}");
    ["tasks: 0,", "sources: 0,", "timers: 0,"]
        .iter()
        .all(|nothing| text.contains(nothing))
}
