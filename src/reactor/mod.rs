//! The reactor: waits on epoll and wakes the tasks that wait for ready descriptors and timers.
//!
//! Called by `runtime` once per loop round, and by sockets and timers when they are polled; calls
//! `sys::epoll` and `sys::timer_fd`, and wakes through wake targets and foreign wakers.
//!
//! # Invariants
//!
//! 1. A token names a source exactly while its descriptor may be in the epoll set; a stale generation
//!    leads to no source.
//! 2. No borrow is held while a foreign waker is cloned, woken or dropped, nor while code of users runs. (A wake
//!    of this runtime's tasks and a system call cannot come back here.)
//! 3. Readiness is only set here (by events, at the end of a back-off, and where epoll no longer watches), and
//!    only cleared by the operation that saw it end.
//! 4. While the thread waits, the timer descriptor is armed for the earliest deadline or before it; with a
//!    slack, for the multiple of it that follows.
//!
//! # Not here
//!
//! The states of one descriptor (`source`), the order of deadlines (`timer_heaps`), polling tasks
//! (`executor`), any call of libc (`sys`).

pub(crate) mod source;
mod sources;
mod timer_driver;
mod timer_heaps;
#[cfg(test)]
mod timer_heaps_oracle;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use self::source::{Source, StoredWaker, Ticket};
use self::sources::{KnownKey, named};
pub(crate) use self::sources::{RuntimeList, cancel};
use self::timer_driver::TimerAction;
pub(crate) use self::timer_heaps::Key as TimerKey;
use self::timer_heaps::TimerHeaps;
use crate::clock;
use crate::quiet;
use crate::remote::{Message, RegistryEntry, Remote, RuntimeId, WakeTarget};
use crate::sync::Arc;
use crate::sys::epoll::{Epoll, Events, Flags, RawToken, Wait};
use crate::sys::event_fd::EventFd;
use crate::sys::timer_fd::TimerFd;

/// The token of the notifier: it only has to end the wait.
const NOTIFY_TOKEN: RawToken = RawToken(u64::MAX);
/// The token of the timer descriptor.
const TIMER_TOKEN: RawToken = RawToken(u64::MAX - 1);
/// Memory for so many foreign wakers is kept from one turn to the next: 16 KiB.
const FOREIGN_KEPT: usize = 1024;
/// Stands for a timer descriptor that will not expire.
const UNARMED: u64 = u64::MAX;

/// Waits for descriptors and deadlines on behalf of one runtime.
pub(crate) struct Reactor {
    id: RuntimeId,
    remote: &'static Remote,
    epoll: Arc<Epoll>,
    sources: RefCell<Slab<Source>>,
    /// When no more sources than these are left, memory is given back.
    trim_at: Cell<usize>,
    next_generation: Cell<u32>,
    next_ticket: Cell<u64>,
    /// By the index of the list: what is known of descriptors for which several runtimes wait.
    lists: RefCell<Vec<KnownKey>>,
    tasks: Tasks,
    /// Where the check for lost wakes goes on.
    #[cfg(debug_assertions)]
    checked: Cell<usize>,
    events: RefCell<Events>,
    timers: RefCell<TimerHeaps<TimerAction>>,
    timer_fd: TimerFd,
    /// When the timer descriptor will next expire.
    armed: Cell<u64>,
    /// The timer descriptor expires at multiples of so many nanoseconds; not zero.
    granularity_ns: u64,
    /// Room for the foreign wakers of one turn.
    foreign: RefCell<Vec<Waker>>,
    state: Cell<State>,
    /// The warning about the timer descriptor was given and it has not worked since.
    is_warned: Cell<bool>,
}

/// What a reactor still does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// It registers no more descriptors.
    Draining,
    /// Nothing: all waiters have been woken.
    Closed,
}

impl Reactor {
    /// Makes a reactor whose wait other threads can end.
    ///
    /// # Errors
    ///
    /// Those of making the epoll instance, the timer descriptor and the eventfd, above all `EMFILE`.
    pub(crate) fn new(
        entry: &RegistryEntry,
        max_events: usize,
        timer_slack: Duration,
        tasks: Tasks,
    ) -> io::Result<Self> {
        let notifier = EventFd::new()?;
        let epoll = Arc::new(Epoll::new()?);
        let timer_fd = TimerFd::new()?;
        epoll.add(notifier.as_fd(), Flags::IN.union(Flags::ET), NOTIFY_TOKEN)?;
        epoll.add(timer_fd.as_fd(), Flags::IN.union(Flags::ET), TIMER_TOKEN)?;
        entry.remote().set_notifier(notifier, Arc::clone(&epoll));
        Ok(Self {
            id: entry.id(),
            remote: entry.remote(),
            epoll,
            sources: RefCell::default(),
            trim_at: Cell::new(0),
            next_generation: Cell::new(0),
            next_ticket: Cell::new(0),
            lists: RefCell::default(),
            tasks,
            #[cfg(debug_assertions)]
            checked: Cell::new(0),
            events: RefCell::new(Events::with_capacity(max_events)),
            timers: RefCell::new(TimerHeaps::new(clock::now_ns())),
            timer_fd,
            armed: Cell::new(UNARMED),
            granularity_ns: clock::duration_ns(timer_slack).max(1),
            foreign: RefCell::default(),
            state: Cell::new(State::Open),
            is_warned: Cell::new(false),
        })
    }

    /// The runtime's id.
    #[inline]
    pub(crate) fn id(&self) -> RuntimeId {
        self.id
    }

    /// Whether it is that of the process which this one was forked from; then it must not be turned.
    #[inline]
    pub(crate) fn is_foreign(&self) -> bool {
        self.epoll.is_foreign()
    }

    /// Takes kernel events, waiting for one if `wait` says so, then wakes the tasks they concern.
    ///
    /// Wakers are collected while the tables are borrowed and woken after the borrows end: a wake may
    /// run any code, also code that drops a source. A signal (`EINTR`) counts as no events.
    ///
    /// # Errors
    ///
    /// Those of `epoll_wait` itself. A failing descriptor tells its own task, not this caller; wakers
    /// already collected are woken before an error returns.
    pub(crate) fn turn(&self, wait: Wait, mut wake: impl FnMut(WakeTarget)) -> io::Result<()> {
        let result = self.collect(wait, &mut wake);
        if !self.foreign.borrow().is_empty() {
            self.wake_foreign();
        }
        result
    }

    /// Wakes the foreign wakers of this turn.
    #[cold]
    fn wake_foreign(&self) {
        let mut wakers = self.foreign.take();
        quiet::wake_all(&mut wakers);
        wakers.shrink_to(FOREIGN_KEPT);
        self.foreign.replace(wakers);
    }

    /// Wakes a waker of ours, and keeps a foreign one for later: a table is borrowed.
    #[inline(never)]
    fn wake_or_keep(&self, waker: StoredWaker, wake: &mut impl FnMut(WakeTarget)) {
        match waker {
            StoredWaker::Target(target) => wake(target),
            StoredWaker::Foreign(waker) => self.foreign.borrow_mut().push(waker),
        }
    }

    #[inline]
    fn collect(&self, wait: Wait, wake: &mut impl FnMut(WakeTarget)) -> io::Result<()> {
        let wait = match wait {
            Wait::Never => wait,
            _ if self.timers.borrow().is_empty() => wait,
            _ if self.is_armed() => wait,
            _ => Wait::Briefly,
        };
        let result = self.wait_for_events(wait, wake);
        if wait != Wait::Forever || self.may_be_due() {
            self.fire(&mut |waker| self.wake_or_keep(waker, wake));
        }
        result
    }

    #[inline]
    fn wait_for_events(&self, wait: Wait, wake: &mut impl FnMut(WakeTarget)) -> io::Result<()> {
        #[cfg(debug_assertions)]
        self.check_before(wait);
        let mut events = self.events.borrow_mut();
        self.epoll.wait(&mut events, wait)?;
        let mut sources = self.sources.borrow_mut();
        for (token, flags) in events.iter() {
            match token {
                NOTIFY_TOKEN => {}
                TIMER_TOKEN => self.armed.set(UNARMED),
                _ => match named(&mut sources, token) {
                    Some(source) if !source.may_leave() => match source.on_plain_event(flags) {
                        Some(WakeTarget::NONE) => {}
                        Some(target) => wake(target),
                        None => self.on_event(source, flags, wake),
                    },
                    Some(source) => {
                        let alone = events.len() == 1;
                        self.on_event_of_many(source, token, flags, wait, alone, wake);
                    }
                    None => {}
                },
            }
        }
        Ok(())
    }

    /// Takes in an event that says, or wakes, more than most do.
    #[cold]
    fn on_event(&self, source: &mut Source, flags: Flags, wake: &mut impl FnMut(WakeTarget)) {
        source.on_event(flags, |waker| self.wake_or_keep(waker, wake));
    }

    /// Takes in an event of a source that is level-triggered, or that other runtimes wait for, too.
    #[cold]
    fn on_event_of_many(
        &self,
        source: &mut Source,
        token: RawToken,
        flags: Flags,
        wait: Wait,
        is_alone: bool,
        wake: &mut impl FnMut(WakeTarget),
    ) {
        let unneeded = source.unneeded(flags);
        let mut wakes = 0;
        source.on_event(flags, |waker| {
            wakes += 1;
            self.wake_or_keep(waker, wake);
        });
        // A loop that has nothing else to do learns by the next event whether there is more. A busy one takes all
        // that is there in one go.
        let is_idle = is_alone && wait != Wait::Never;
        source.set_credit(is_idle.then_some(wakes.max(1)));
        if wait != Wait::Never {
            self.leave(source, unneeded, token);
        }
    }

    /// Does what other threads have asked for since the last time.
    ///
    /// The caller does this before it decides whether to wait: the drop of a waker may make tasks due.
    #[cold]
    pub(crate) fn take_messages(&self) {
        let mut wakers = Vec::new();
        for message in self.remote.drain_inbox() {
            match message {
                Message::ReleaseSource(key) => {
                    self.on_deregistered(key, |waker| wakers.push(waker));
                }
                Message::NowShared(key, list) => self.set_key_in_list(list.into(), Some(key)),
                Message::CancelWait(key, direction, ticket) => {
                    self.cancel_ticket(key, direction, Ticket(ticket));
                }
                Message::ReleaseTimer(key) => self.remove_timer(TimerKey(key)),
                Message::WakeTimer(key) => {
                    let removed = self.timers.borrow_mut().remove(TimerKey(key));
                    if let Some(TimerAction::Wake(waker)) = removed {
                        wakers.push(waker);
                    }
                }
            }
        }
        self.wake_all(wakers);
    }

    /// Registers no more descriptors: operations that would have to wait for one get an error.
    pub(crate) fn refuse(&self) {
        self.state.set(State::Draining);
    }

    /// Frees everything and wakes all waiters, here and in other runtimes.
    pub(crate) fn close(&self) {
        self.state.set(State::Closed);
        self.remote.close_inbox();
        let mut wakers = Vec::new();
        for (_, mut source) in std::mem::take(&mut *self.sources.borrow_mut()) {
            source.take_waiters(|waker| wakers.push(waker));
        }
        for action in self.timers.borrow_mut().take_items() {
            if let TimerAction::Wake(waker) = action {
                wakers.push(waker);
            }
        }
        self.wake_all(wakers);
    }

    /// Wakes outside of a turn, with nothing borrowed.
    fn wake_all(&self, wakers: Vec<StoredWaker>) {
        for waker in wakers {
            match waker {
                StoredWaker::Target(target) => (self.tasks.wake)(target),
                StoredWaker::Foreign(waker) => quiet::quietly(|| waker.wake()),
            }
        }
    }
}

/// The check before each wait of a debug build, which turns a lost wake into a panic.
#[cfg(debug_assertions)]
impl Reactor {
    /// How many sources are looked at each time, so that a turn costs the same however many there are.
    const CHECKED_AT_ONCE: usize = match cfg!(runtime_full_checks) {
        true => usize::MAX,
        false => 8,
    };

    fn check_before(&self, wait: Wait) {
        assert!(
            wait == Wait::Never || !self.has_lost_a_wake(),
            "a task waits for a source that is ready, and would not be woken"
        );
        assert!(
            wait != Wait::Forever || self.is_armed_in_time(),
            "a timer is due before the wait will end"
        );
    }

    /// Looks at the next sources, round after round.
    fn has_lost_a_wake(&self) -> bool {
        let sources = self.sources.borrow();
        let first = self.checked.get();
        let last = sources
            .capacity()
            .min(first.saturating_add(Self::CHECKED_AT_ONCE));
        self.checked
            .set(if last < sources.capacity() { last } else { 0 });
        (first..last)
            .filter_map(|key| sources.get(key))
            .any(Source::has_lost_a_wake)
    }
}

/// What a reactor asks of the tasks that its wake targets name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tasks {
    /// Wakes a task.
    pub(crate) wake: fn(WakeTarget),
    /// Whether a target that names a task of the current runtime names one that lives.
    pub(crate) is_live: fn(WakeTarget) -> bool,
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("id", &self.id)
            .field("sources", &self.sources.borrow().len())
            .field("timers", &self.timers.borrow().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::context;
    use crate::time::{Instant, sleep};
    use std::task::{Context, Wake};

    struct Foreign;

    impl Wake for Foreign {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn memory_of_many_foreign_wakers_is_given_back() {
        crate::block_on(async {
            let waker = Arc::new(Foreign).into();
            let mut cx = Context::from_waker(&waker);
            let mut timers: Vec<_> = (0..5 * FOREIGN_KEPT)
                .map(|_| sleep(Duration::MAX))
                .collect();
            for timer in &mut timers {
                assert!(std::pin::Pin::new(&mut *timer).poll(&mut cx).is_pending());
                timer.reset(Instant::now());
            }
            sleep(Duration::from_millis(1)).await;
            let foreign = context::expect(|current| current.reactor.foreign.take());
            assert!((1..=FOREIGN_KEPT).contains(&foreign.capacity()));
        });
    }
}
