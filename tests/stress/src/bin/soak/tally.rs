//! What was done, by kind.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Kinds of operations, in the order of the summary.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Echo,
    Upload,
    Download,
    Reset,
    Exchange,
    Refusal,
    Resolution,
    Storm,
    Set,
    Abort,
    Panic,
    Channel,
    Wake,
    Question,
    Timers,
    Interval,
    Errand,
    Runtime,
}

const NAMES: [&str; 18] = [
    "echoes",
    "uploads",
    "downloads",
    "resets",
    "exchanges",
    "refusals",
    "resolutions",
    "storms",
    "sets",
    "aborts",
    "panics",
    "channels",
    "wakes",
    "questions",
    "timers",
    "intervals",
    "errands",
    "runtimes",
];

#[derive(Debug, Default)]
pub(crate) struct Tally {
    begun: [AtomicU64; NAMES.len()],
    ended: [AtomicU64; NAMES.len()],
    bytes: AtomicU64,
}

impl Tally {
    pub(crate) fn begin(&self, kind: Kind) {
        self.begun[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self, kind: Kind) {
        self.ended[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes whose checksum was right.
    pub(crate) fn count_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many operations have ended.
    pub(crate) fn total(&self) -> u64 {
        let counts = self.ended.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, (begun, ended)) in NAMES.iter().zip(self.begun.iter().zip(&self.ended)) {
            let ended = ended.load(Ordering::Relaxed);
            write!(f, "{ended} {name}")?;
            match begun.load(Ordering::Relaxed).wrapping_sub(ended) {
                0 => write!(f, ", ")?,
                rest => write!(f, " ({rest} under way), ")?,
            }
        }
        let bytes = self.bytes.load(Ordering::Relaxed);
        write!(f, "{} operations, {bytes} bytes checked", self.total())
    }
}
