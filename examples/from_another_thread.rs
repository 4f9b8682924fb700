//! Wakes from other threads: workers compute, a task on the runtime waits for what they find.
//!
//! Run it with `cargo run --release --example from_another_thread`.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread;

use async_channel::Sender;
use runtime::time::{Duration, interval};

/// What a worker has found.
struct Found {
    worker: u64,
    prime: u64,
}

#[runtime::main]
async fn main() {
    let (sender, found) = async_channel::bounded(4);
    let workers = [0, 1, 2].map(|worker| {
        let sender = sender.clone();
        thread::spawn(move || search(worker, &sender))
    });
    // The channel is closed when the last worker is done.
    drop(sender);

    // The runtime's thread stays free for other tasks: it sleeps until a worker, or a timer, wakes it.
    let waiting = runtime::spawn(async {
        let mut ticks = interval(Duration::from_millis(10));
        loop {
            ticks.tick().await;
            println!("  still searching");
        }
    });

    // What lives on this thread needs no lock, though other threads lead to it.
    let primes = Rc::new(RefCell::new(Vec::new()));
    while let Ok(Found { worker, prime }) = found.recv().await {
        println!("worker {worker} found {prime}");
        primes.borrow_mut().push(prime);
    }
    waiting.abort();

    for worker in workers {
        worker.join().expect("no worker panics");
    }
    primes.borrow_mut().sort_unstable();
    println!("all: {:?}", primes.borrow());
}

/// Looks for large primes, and sends each; a full channel makes it wait.
fn search(worker: u64, found: &Sender<Found>) {
    let first = 100_000_000_001 + worker * 1000;
    let primes = (first..).step_by(2).filter(|&number| is_prime(number));
    for prime in primes.take(3) {
        if found.send_blocking(Found { worker, prime }).is_err() {
            return;
        }
    }
}

fn is_prime(number: u64) -> bool {
    let mut divisors = (3..)
        .step_by(2)
        .take_while(|divisor| divisor * divisor <= number);
    divisors.all(|divisor| !number.is_multiple_of(divisor))
}
