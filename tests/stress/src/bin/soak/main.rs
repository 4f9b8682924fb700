//! The soak: mixes everything for a while, checks every byte, and that nothing is left behind.
//!
//! ```text
//! cargo run --release -p runtime-stress --bin soak -- SECONDS [SEED]
//! ```
//!
//! Two runtimes on two threads (`shard`) serve each other's clients, move sockets to each other, and fill what is
//! left of their time with tasks and timers; a third thread makes and drops runtimes (`passing`), others hold
//! wakers (`wakers`). After each phase of a few seconds everything comes to an end: then tasks, sources, timers,
//! descriptors and entries of epoll have to be what they were before the first (`counters`), and memory within a
//! tenth of what it was after the first.
//!
//! The same seed makes the same choices. It does not make the same run: which thread comes first, and how far a
//! choice gets before its phase ends, is up to the machine.

mod client;
mod counters;
mod memory;
mod mix;
mod passing;
mod reading;
mod server;
mod shard;
mod stream;
mod tally;
mod tasks;
mod timers;
mod wakers;
mod watchdog;

use std::env;
use std::panic;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::counters::Process;
use self::passing::Passing;
use self::shard::{Phase, SHARDS, Shard, Shared};
use self::tally::Tally;

const USAGE: &str = "usage: soak SECONDS [SEED]";

/// How long everything is mixed before it has to come to an end.
const PHASE: Duration = Duration::from_secs(5);

fn main() {
    let mut words = env::args().skip(1).map(|word| word.parse::<u64>().ok());
    let (Some(Some(seconds)), seed) = (words.next(), words.next()) else {
        eprintln!("{USAGE}");
        process::exit(2);
    };
    let seed = seed.flatten().unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    fail_on_panic(seed);
    let tally = Arc::new(Tally::default());
    watchdog::start(seed, Arc::clone(&tally));
    soak(Duration::from_secs(seconds), seed, &tally);
    println!("seed {seed}: {seconds} s, {tally}");
}

/// Ends the process with the seed at any panic: those that the soak wants do not come to the hook.
fn fail_on_panic(seed: u64) {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        default(info);
        eprintln!("the soak failed; seed {seed}");
        process::exit(1);
    }));
}

fn soak(length: Duration, seed: u64, tally: &Arc<Tally>) {
    memory::keep_together();
    let shared = Arc::new(Shared::new(Arc::clone(tally)));
    let shards: Vec<_> = (0..SHARDS)
        .map(|number| Shard::start(number, Arc::clone(&shared)))
        .collect();
    let passing = Passing::start(Arc::clone(&shared));
    let start = Process::now();
    let mut warm = None;
    let end = Instant::now() + length;
    // At least two, since the first one only tells how much memory is needed.
    let phase = PHASE.min(length / 2);
    let mut seeds = fastrand::Rng::with_seed(seed);
    while warm.is_none() || Instant::now() + phase / 2 < end {
        let deadline = Instant::now() + phase;
        let listeners = shared.begin_phase(&mut seeds);
        passing.begin(seeds.u64(..), deadline);
        for (shard, listener) in shards.iter().zip(listeners) {
            shard.begin(Phase {
                listener,
                seed: seeds.u64(..),
                deadline,
            });
        }
        passing.join();
        shards.iter().for_each(Shard::join);
        let now = Process::settled(&start);
        println!("{now}, {} operations", tally.total());
        now.check(&start, warm.get_or_insert(now.memory));
    }
}
