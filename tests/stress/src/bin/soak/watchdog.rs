//! The watchdog: ends the process when nothing gets on any more.

use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::tally::Tally;

/// How long no operation may end.
const LIMIT: Duration = Duration::from_secs(20);

/// Watches from a thread of its own until the process ends.
pub(crate) fn start(seed: u64, tally: Arc<Tally>) {
    thread::spawn(move || {
        let mut before = u64::MAX;
        loop {
            let total = tally.total();
            if total == before {
                eprintln!("nothing has ended in {LIMIT:?}: was a wake lost? seed {seed}: {tally}");
                process::abort();
            }
            before = total;
            thread::sleep(LIMIT);
        }
    });
}
