//! Timers that fire: how late, and at what cost.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::contestant::Runtime;
use crate::samples::{Random, Samples};

/// The time over which the timers of [`fire`] are spread.
pub(crate) const SPREAD: Duration = Duration::from_secs(1);

/// The time for spawning each task of [`fire`], several times what any runtime needs.
pub(crate) const LEAD: Duration = Duration::from_micros(10);

/// Sleeps one after the other; the metrics are how late they end.
pub(super) async fn sleeps<R: Runtime>(micros: u64, count: u64) -> Value {
    let duration = Duration::from_micros(micros);
    let mut samples = Samples::with_capacity(count);
    for _ in 0..count {
        let deadline = Instant::now() + duration;
        R::sleep(duration).await;
        samples.push(nanoseconds_since(deadline));
    }
    lateness(samples)
}

/// The metrics of [`sleeps`].
pub(crate) fn lateness(samples: Samples) -> Value {
    let [p50, p99] = samples.at([5_000, 9_900]);
    json!({ "p50_us": p50 / 1e3, "p99_us": p99 / 1e3 })
}

/// How long ago something was due; 0 if it is yet to come.
pub(crate) fn nanoseconds_since(deadline: Instant) -> u64 {
    let late = deadline.elapsed().as_nanos();
    u64::try_from(late).expect("a run takes less than 584 years")
}

/// What the tasks of [`fire`] share.
struct Volley {
    /// When the first timer is due.
    start: Instant,
    samples: RefCell<Samples>,
    left: Cell<u64>,
}

/// Fires timers that are spread evenly over a second and made in random order, each awaited by its own task.
pub(super) async fn fire<R: Runtime>(count: u64) -> Value {
    let count_32 = u32::try_from(count).expect("there are fewer than 4 billion timers");
    let start = Instant::now() + Duration::from_millis(100) + LEAD * count_32;
    let volley = Rc::new(Volley {
        start,
        samples: RefCell::new(Samples::with_capacity(count)),
        left: Cell::new(count),
    });
    for number in shuffled(count_32) {
        let volley = Rc::clone(&volley);
        R::detach(async move {
            let deadline = volley.start + SPREAD * number / count_32;
            R::sleep(deadline - Instant::now()).await;
            volley
                .samples
                .borrow_mut()
                .push(nanoseconds_since(deadline));
            volley.left.set(volley.left.get() - 1);
        });
    }
    // The clock of the processor starts a little early and stops a little late: these few wakes are
    // nothing beside the timers.
    R::sleep(start - Duration::from_millis(5) - Instant::now()).await;
    let before = processor_time();
    R::sleep(start + SPREAD - Instant::now()).await;
    while volley.left.get() > 0 {
        R::sleep(Duration::from_millis(1)).await;
    }
    let used = processor_time() - before;
    volley_metrics(volley.samples.take(), used, count)
}

/// The numbers below `count` in an order that is random and always the same: in the order of deadlines, memory
/// is in order, too, and hides what a structure that moves timers costs.
pub(crate) fn shuffled(count: u32) -> Vec<u32> {
    let mut numbers: Vec<_> = (0..count).collect();
    let mut random = Random::default();
    for end in (1..numbers.len()).rev() {
        let place = random.below(end as u64 + 1);
        numbers.swap(
            end,
            usize::try_from(place).expect("it is a place in the list"),
        );
    }
    numbers
}

/// The metrics of [`fire`].
pub(crate) fn volley_metrics(samples: Samples, used: Duration, count: u64) -> Value {
    let [p50, p99, p999, most] = samples.at([5_000, 9_900, 9_990, 10_000]);
    json!({
        "late_p50_us": p50 / 1e3,
        "late_p99_us": p99 / 1e3,
        "late_p999_us": p999 / 1e3,
        "late_max_us": most / 1e3,
        "cpu_ns": used.as_secs_f64() * 1e9 / count as f64,
    })
}

/// The processor time that this process has used.
pub(crate) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("a clock of the processor starts at zero")
}
