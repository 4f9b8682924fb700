//! How a runtime is set up.
//!
//! Called by users and by the attribute macros.

use std::ffi::CString;
use std::io;
use std::time::Duration;

use super::Runtime;
use crate::clock;
use crate::executor::{DEFAULT_BUDGET, Limits};
use crate::sys;

/// Sets up a [`Runtime`].
///
/// | knob | meaning | default | range |
/// |---|---|---|---|
/// | [`event_interval`](Self::event_interval) | polls between looks at events and timers while tasks are due | 61 | 1 and up |
/// | [`time_slice`](Self::time_slice) | time between looks at events and timers while tasks are due | 1 ms | any |
/// | [`budget`](Self::budget) | units that a task may use in one poll; twice as many in a tick | 128 | 1 and up |
/// | [`max_events`](Self::max_events) | events that one look takes | 1,024 | 1 to 1,048,576 |
/// | [`timer_slack`](Self::timer_slack) | how much later timers may fire, to fire together | none | any |
/// | [`thread_name`](Self::thread_name) | name of the building thread | unchanged | no NUL; 15 bytes are kept |
///
/// The first three bound a tick: the polls between two looks. Whichever limit comes first ends it.
///
/// # Examples
///
/// ```
/// let runtime = runtime::Builder::new()
///     .event_interval(31)
///     .thread_name("shard-0")
///     .build()?;
/// assert_eq!(runtime.block_on(async { 6 * 7 }), 42);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    event_interval: u32,
    pub(super) max_events: usize,
    budget: u32,
    time_slice: Duration,
    pub(super) timer_slack: Duration,
    thread_name: Option<String>,
}

impl Builder {
    /// Starts with the defaults.
    pub fn new() -> Self {
        Self {
            event_interval: 61,
            max_events: 1024,
            budget: DEFAULT_BUDGET,
            time_slice: Duration::from_millis(1),
            timer_slack: Duration::ZERO,
            thread_name: None,
        }
    }

    /// Sets after how many polls the runtime looks for events and timers, while tasks are
    /// due. Without due tasks it looks at once. If the last look was less than 5 µs ago, another tick follows
    /// first; the main future and the wakes of other threads get their turns between ticks all the same.
    ///
    /// Fewer polls shorten the delay of sockets and timers, and cost more time (each look is a system call).
    /// Polls that use up their [`budget`](Self::budget) end the tick after two, and time ends it after a
    /// [`time_slice`](Self::time_slice). Default 61.
    ///
    /// # Panics
    ///
    /// When `polls` is 0.
    #[track_caller]
    pub fn event_interval(&mut self, polls: u32) -> &mut Self {
        assert!(polls > 0, "`event_interval` must be at least 1");
        self.event_interval = polls;
        self
    }

    /// Sets how many events one look at the kernel takes; the rest come with the next look.
    ///
    /// Each takes 12 to 16 bytes of memory. Default 1,024.
    ///
    /// # Panics
    ///
    /// When `events` is 0 or above 1,048,576.
    #[track_caller]
    pub fn max_events(&mut self, events: usize) -> &mut Self {
        assert!(
            (1..=1 << 20).contains(&events),
            "`max_events` must be between 1 and 1,048,576"
        );
        self.max_events = events;
        self
    }

    /// Sets how much a task may use up in one poll before it must let others run.
    ///
    /// An operation on a socket costs one unit and one more for each KiB that it moved; a timer, or a
    /// join handle that returns, costs one. A task without units yields at its next operation and continues in its
    /// next turn; see [`unconstrained`](crate::task::unconstrained). Default 128.
    ///
    /// # Panics
    ///
    /// When `units` is 0.
    #[track_caller]
    pub fn budget(&mut self, units: u32) -> &mut Self {
        assert!(units > 0, "`budget` must be at least 1");
        self.budget = units;
        self
    }

    /// Sets for how long due tasks may run before the runtime looks for events and timers.
    ///
    /// Without it, 61 polls ([`event_interval`](Self::event_interval)) of 1 ms each would delay a timer by
    /// 61 ms. The clock is read between polls, so one long poll is not cut short; it can ask
    /// [`should_yield`](crate::task::should_yield). A tick lasts up to 1¼ slices and one poll. Default 1 ms; with zero the runtime
    /// looks after every few polls.
    pub fn time_slice(&mut self, slice: Duration) -> &mut Self {
        self.time_slice = slice;
        self
    }

    /// The limits of the executor.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            units_per_poll: self.budget,
            polls_per_tick: self.event_interval,
            time_slice: clock::duration_ns(self.time_slice),
        }
    }

    /// Sets how much later than its deadline a timer may fire, so that several fire together.
    ///
    /// An idle runtime then wakes up for timers only at multiples of `slack` on the monotonic clock, so at
    /// most once in that time, however many they are; those that are due when something else wakes it fire
    /// then. Each wake-up takes microseconds, so 1 ms saves most of what thousands of short timers cost.
    /// Never early, as without; with [`Duration::MAX`] never at all while nothing else wakes the runtime.
    /// Default zero: as exact as the kernel can.
    pub fn timer_slack(&mut self, slack: Duration) -> &mut Self {
        self.timer_slack = slack;
        self
    }

    /// Names the thread that calls [`build`](Self::build), as `ps` and debuggers show it
    /// (`prctl(2)`, `PR_SET_NAME`). The kernel keeps 15 bytes. The name stays when the runtime is gone.
    pub fn thread_name(&mut self, name: impl Into<String>) -> &mut Self {
        self.thread_name = Some(name.into());
        self
    }

    /// Makes the runtime, which belongs to this thread.
    ///
    /// # Errors
    ///
    /// Three descriptors are opened (epoll, eventfd, timerfd): those of `epoll_create1(2)`,
    /// `eventfd(2)` and `timerfd_create(2)`, above all `EMFILE`. `QuotaExceeded` when 4,095 runtimes
    /// are alive in this process, or 2^31 were made in it. `InvalidInput` when the thread name contains a NUL.
    pub fn build(&mut self) -> io::Result<Runtime> {
        if let Some(name) = &self.thread_name {
            sys::thread::set_name(&CString::new(name.as_str())?)?;
        }
        Runtime::with(self)
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}
