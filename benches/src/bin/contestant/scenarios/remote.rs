//! Wakes from another thread.
//!
//! What the two threads share is the same for all contestants: flags in memory and the task's waker. The
//! other thread runs on another processor, so the process must be allowed to use two.

use std::future::poll_fn;
use std::hint;
use std::mem;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};

use super::{nanoseconds, unsupported};
use crate::contestant::Runtime;
use crate::samples::Samples;

/// How long the other thread lets the runtime go to sleep.
const PAUSE: Duration = Duration::from_micros(200);

/// Why a lock is never poisoned.
const NO_PANIC: &str = "nobody panics with the lock";

/// How long a thread waits for a task to run before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the scenarios here may be impossible.
const ONE_PROCESSOR: &str = "the process may use only one processor";

/// Two processors, one for the runtime's thread and one for the other.
struct Processors {
    here: CpuSet,
    there: CpuSet,
}

impl Processors {
    /// The first two that the process may use; `None` when there is but one.
    fn two() -> Option<Self> {
        let allowed = sched_getaffinity(None).ok()?;
        let mut single = (0..CpuSet::MAX_CPU)
            .filter(|&number| allowed.is_set(number))
            .map(|number| {
                let mut set = CpuSet::new();
                set.set(number);
                set
            });
        let (here, there) = (single.next()?, single.next()?);
        Some(Self { here, there })
    }

    /// Runs `work` on the other processor; the process fails if it goes on for long after that.
    fn run_there(self, work: impl FnOnce() + Send + 'static) {
        let stay_on = |set: &CpuSet| {
            sched_setaffinity(None, set).expect("a thread may stay on one of its processors");
        };
        stay_on(&self.here);
        thread::spawn(move || {
            stay_on(&self.there);
            work();
            thread::sleep(PATIENCE);
            give_up();
        });
    }
}

/// Ends the process: a thread's panic would leave the other one waiting for ever.
fn give_up() -> ! {
    eprintln!("a task that was woken from another thread has not run");
    process::exit(1)
}

/// Spins until `condition` holds.
fn spin_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > PATIENCE {
            give_up();
        }
        hint::spin_loop();
    }
}

/// What the thread and the task of [`parked`] share.
struct Rendezvous {
    /// Where the task's waker lies while it waits.
    waker: Mutex<Option<Waker>>,
    /// When the latest wake was sent, in nanoseconds since `epoch`; 0 when the task has seen it.
    woken_at: AtomicU64,
    epoch: Instant,
}

impl Rendezvous {
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).expect("a run takes less than 584 years")
    }
}

/// Wakes a runtime that sleeps; measures from the wake to the task's poll.
pub(crate) async fn parked(count: u64) -> Value {
    let Some(processors) = Processors::two() else {
        return unsupported(ONE_PROCESSOR);
    };
    let shared = Arc::new(Rendezvous {
        waker: Mutex::default(),
        woken_at: AtomicU64::new(0),
        epoch: Instant::now(),
    });
    processors.run_there({
        let shared = Arc::clone(&shared);
        move || {
            for _ in 0..count {
                spin_until(|| shared.waker.lock().is_ok_and(|waker| waker.is_some()));
                pause();
                let waker = shared.waker.lock().ok().and_then(|mut waker| waker.take());
                shared.woken_at.store(shared.now(), Ordering::Release);
                waker.expect("only this thread takes it").wake();
            }
        }
    });
    let mut latencies = Samples::with_capacity(count);
    for _ in 0..count {
        latencies.push(latency(&shared).await);
    }
    let [p50, p99] = latencies.at([5_000, 9_900]);
    json!({ "p50_ns": p50, "p99_ns": p99 })
}

/// Spins for [`PAUSE`], so that the processor of this thread does not fall asleep.
fn pause() {
    let start = Instant::now();
    while start.elapsed() < PAUSE {
        hint::spin_loop();
    }
}

/// Waits for one wake; returns how long it took.
async fn latency(shared: &Rendezvous) -> u64 {
    poll_fn(|cx| {
        let woken_at = shared.woken_at.swap(0, Ordering::Acquire);
        if woken_at > 0 {
            return Poll::Ready(shared.now() - woken_at);
        }
        let mut waker = shared.waker.lock().expect(NO_PANIC);
        *waker = Some(cx.waker().clone());
        Poll::Pending
    })
    .await
}

/// Wakes one task as fast as another thread can; the time is that thread's.
pub(super) async fn flood(count: u64) -> Value {
    let Some(processors) = Processors::two() else {
        return unsupported(ONE_PROCESSOR);
    };
    let waker = waker().await;
    let nanos = Arc::new(AtomicU64::new(0));
    processors.run_there({
        let nanos = Arc::clone(&nanos);
        move || {
            let start = Instant::now();
            for _ in 0..count {
                waker.wake_by_ref();
            }
            let elapsed = u64::try_from(start.elapsed().as_nanos());
            nanos.store(elapsed.expect("a run is short").max(1), Ordering::Release);
            waker.wake();
        }
    });
    let mut polls = 0_u64;
    let elapsed = poll_fn(|_| {
        polls += 1;
        match nanos.load(Ordering::Acquire) {
            0 => Poll::Pending,
            elapsed => Poll::Ready(elapsed),
        }
    })
    .await;
    json!({ "ns": elapsed as f64 / count as f64, "polls": polls })
}

/// The running task's waker.
async fn waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

/// What the thread and the tasks of [`fan_out`] share.
#[derive(Default)]
struct Crowd {
    members: Mutex<Vec<Member>>,
    /// Wakes that the tasks have seen in the whole run; only the runtime's thread writes it.
    seen: AtomicU64,
}

/// A task of the crowd, as the other thread knows it.
struct Member {
    waker: Waker,
    /// The thread has woken it, and it has not run since.
    is_woken: Arc<AtomicBool>,
}

/// Wakes each of many tasks once per round from another thread; a round ends when all have run.
pub(super) async fn fan_out<R: Runtime>(tasks: u64, count: u64) -> Value {
    let Some(processors) = Processors::two() else {
        return unsupported(ONE_PROCESSOR);
    };
    let crowd = Arc::new(Crowd::default());
    for _ in 0..tasks {
        R::detach(member(Arc::clone(&crowd)));
    }
    let waker = waker().await;
    let nanos = Arc::new(AtomicU64::new(0));
    processors.run_there({
        let nanos = Arc::clone(&nanos);
        move || {
            let elapsed = crowd.run(tasks, count).as_nanos();
            nanos.store(
                u64::try_from(elapsed).expect("a run is short").max(1),
                Ordering::Release,
            );
            waker.wake();
        }
    });
    let elapsed = poll_fn(|_| match nanos.load(Ordering::Acquire) {
        0 => Poll::Pending,
        elapsed => Poll::Ready(Duration::from_nanos(elapsed)),
    });
    nanoseconds(elapsed.await, count)
}

/// A task that counts its wakes, for ever.
async fn member(crowd: Arc<Crowd>) {
    let is_woken = Arc::new(AtomicBool::new(false));
    let mut is_known = false;
    poll_fn(|cx| {
        if !is_known {
            is_known = true;
            crowd.members.lock().expect(NO_PANIC).push(Member {
                waker: cx.waker().clone(),
                is_woken: Arc::clone(&is_woken),
            });
        } else if is_woken.load(Ordering::Acquire) {
            is_woken.store(false, Ordering::Relaxed);
            let seen = crowd.seen.load(Ordering::Relaxed);
            crowd.seen.store(seen + 1, Ordering::Release);
        }
        Poll::Pending
    })
    .await
}

impl Crowd {
    /// Wakes all, round after round, until `count` wakes are done; returns how long that took.
    fn run(&self, tasks: u64, count: u64) -> Duration {
        let has_all = || self.members.lock().expect(NO_PANIC).len() as u64 == tasks;
        spin_until(has_all);
        let members = mem::take(&mut *self.members.lock().expect(NO_PANIC));
        let start = Instant::now();
        let mut done = 0;
        while done < count {
            // The last round may be a part of one.
            for member in (done..count).zip(&members).map(|(_, member)| member) {
                member.is_woken.store(true, Ordering::Release);
                member.waker.wake_by_ref();
            }
            done = count.min(done + tasks);
            spin_until(|| self.seen.load(Ordering::Acquire) == done);
        }
        start.elapsed()
    }
}
