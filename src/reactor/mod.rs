//! The reactor: waits on epoll and wakes whoever waits for the descriptors and timers that are ready.
//!
//! Called by `runtime` once per loop round, and by sockets and timers when they are polled; calls
//! `sys::epoll` and `sys::timer_fd` and, through `Waker`, whoever waits.
//!
//! # Invariants
//!
//! 1. A token names a source exactly while its descriptor may be in the epoll set; a stale generation
//!    finds nobody.
//! 2. No borrow is held while a waker is cloned, woken or dropped.
//! 3. Readiness is only set here (by events, at the end of a rest, and where epoll no longer watches), and
//!    only cleared by the operation that saw it end.
//! 4. While the thread waits, the timer descriptor is armed for the earliest deadline or before it; with a
//!    slack, for the multiple of it that follows.
//!
//! # Not here
//!
//! The states of one descriptor (`source`), the order of deadlines (`timers`), polling tasks
//! (`executor`), any call of libc (`sys`).

mod alarms;
pub(crate) mod source;
mod timers;
#[cfg(test)]
mod timers_oracle;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use self::alarms::Alarm;
use self::source::{Direction, Directions, Dismissed, Round, Source, Ticket, Trigger, Waiter};
pub(crate) use self::timers::Key as TimerKey;
use self::timers::Timers;
use crate::quiet;
use crate::remote::{Message, RegistryEntry, Remote, RuntimeId};
use crate::sync::Arc;
use crate::sys::clock;
use crate::sys::epoll::{Epoll, Events, Flags, RawToken, Wait};
use crate::sys::event_fd::EventFd;
use crate::sys::timer_fd::TimerFd;

/// The token of the notifier: it only has to end the wait.
const NOTIFY_TOKEN: RawToken = RawToken(u64::MAX);
/// The token of the timer descriptor.
const ALARM: RawToken = RawToken(u64::MAX - 1);
/// Stands for a timer descriptor that will not expire.
const UNARMED: u64 = u64::MAX;

/// Waits for descriptors and deadlines on behalf of one runtime.
pub(crate) struct Reactor {
    id: RuntimeId,
    remote: &'static Remote,
    epoll: Arc<Epoll>,
    sources: RefCell<Slab<Source>>,
    next_generation: Cell<u32>,
    next_ticket: Cell<u64>,
    /// How often the thread has waited.
    round: Cell<u64>,
    events: RefCell<Events>,
    timers: RefCell<Timers<Alarm>>,
    timer_fd: TimerFd,
    /// When the timer descriptor will next expire.
    armed: Cell<u64>,
    /// It expires at multiples of so many nanoseconds; not zero.
    timer_grain: u64,
    /// Room for the wakers of one turn.
    woken: Cell<Vec<Waker>>,
    stage: Cell<Stage>,
    /// The warning about the timer descriptor was given and it has not worked since.
    is_warned: Cell<bool>,
}

/// What a reactor still does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// It registers no more descriptors.
    Refusing,
    /// Nothing: whoever waited has been woken.
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
    ) -> io::Result<Self> {
        let notifier = EventFd::new()?;
        let epoll = Arc::new(Epoll::new()?);
        let timer_fd = TimerFd::new()?;
        epoll.add(notifier.as_fd(), Flags::IN.union(Flags::ET), NOTIFY_TOKEN)?;
        epoll.add(timer_fd.as_fd(), Flags::IN.union(Flags::ET), ALARM)?;
        entry.remote().set_notifier(notifier, Arc::clone(&epoll));
        Ok(Self {
            id: entry.id(),
            remote: entry.remote(),
            epoll,
            sources: RefCell::default(),
            next_generation: Cell::new(0),
            next_ticket: Cell::new(0),
            round: Cell::new(0),
            events: RefCell::new(Events::with_capacity(max_events)),
            timers: RefCell::new(Timers::new(clock::monotonic())),
            timer_fd,
            armed: Cell::new(UNARMED),
            timer_grain: clock::nanoseconds(timer_slack).max(1),
            woken: Cell::default(),
            stage: Cell::new(Stage::Open),
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
    pub(crate) fn turn(&self, wait: Wait) -> io::Result<()> {
        let mut woken = self.woken.take();
        let result = self.collect(wait, &mut woken);
        quiet::wake_all(&mut woken);
        self.woken.set(woken);
        result
    }

    #[inline]
    fn collect(&self, wait: Wait, woken: &mut Vec<Waker>) -> io::Result<()> {
        let wait = match wait {
            Wait::Forever => self.arm(),
            _ => wait,
        };
        let result = self.wait(wait, woken);
        if wait != Wait::Forever || self.may_be_due() {
            self.fire(woken);
        }
        result
    }

    fn wait(&self, wait: Wait, woken: &mut Vec<Waker>) -> io::Result<()> {
        debug_assert!(
            wait == Wait::Never || !self.has_lost_a_wake(),
            "somebody waits for a source that is ready, and would wait for ever"
        );
        debug_assert!(
            wait != Wait::Forever || self.is_armed_in_time(),
            "a timer is due before the wait will end"
        );
        if wait != Wait::Never {
            self.round.set(self.round.get() + 1);
        }
        let mut events = self.events.borrow_mut();
        self.epoll.wait(&mut events, wait)?;
        let mut sources = self.sources.borrow_mut();
        for (token, flags) in events.iter() {
            match token {
                NOTIFY_TOKEN => {}
                ALARM => self.armed.set(UNARMED),
                _ => {
                    if let Some(source) = named(&mut sources, token) {
                        let before = woken.len();
                        source.on_event(flags, woken);
                        if source.is_level_triggered() {
                            let wakes = woken.len() - before;
                            source.share(events.len().max(wakes));
                            if wakes == 0 && wait != Wait::Never {
                                self.mute(source, token);
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn has_lost_a_wake(&self) -> bool {
        let sources = self.sources.borrow();
        sources.iter().any(|(_, source)| source.has_lost_a_wake())
    }

    /// Silences a level-triggered source for which nobody waits: its event would end the next wait as well.
    fn mute(&self, source: &mut Source, token: RawToken) {
        // A message may say that the descriptor is closed, and its number another's.
        if !self.remote.has_messages()
            && let Some((fd, interest)) = source.mute()
            && !self.epoll.modify_if_there(fd, interest, token)
        {
            // If it is there, its next event tries again.
            source.unmute();
        }
    }

    /// Does what other threads have asked for since the last time.
    ///
    /// The caller does this before it decides whether to wait: the drop of a waker may make tasks due.
    #[cold]
    pub(crate) fn take_messages(&self) {
        let mut woken = Vec::new();
        for message in self.remote.drain_inbox() {
            match message {
                Message::ReleaseSource(key) => self.on_deregistered(key, &mut woken),
                Message::CancelWait(key, direction, ticket) => {
                    self.cancel_wait(key, direction, Ticket(ticket));
                }
                Message::ReleaseTimer(key) => self.remove_timer(TimerKey(key)),
                Message::WakeTimer(key) => {
                    let removed = self.timers.borrow_mut().remove(TimerKey(key));
                    if let Some(Alarm::Wake(waker)) = removed {
                        woken.push(waker);
                    }
                }
            }
        }
        quiet::wake_all(&mut woken);
    }

    /// Registers no more descriptors: whoever would have to wait for one gets an error.
    pub(crate) fn refuse(&self) {
        self.stage.set(Stage::Refusing);
    }

    /// Frees everything and wakes whoever still waited, here or elsewhere.
    pub(crate) fn close(&self) {
        self.stage.set(Stage::Closed);
        let mut woken = self.woken.take();
        self.remote.close_inbox();
        for (_, mut source) in std::mem::take(&mut *self.sources.borrow_mut()) {
            source.take_waiters(&mut woken);
        }
        for alarm in self.timers.borrow_mut().take_items() {
            if let Alarm::Wake(waker) = alarm {
                woken.push(waker);
            }
        }
        quiet::wake_all(&mut woken);
    }
}

/// Descriptors.
impl Reactor {
    /// Makes room for a source; nothing is watched yet.
    ///
    /// # Errors
    ///
    /// When the runtime is being dropped.
    pub(crate) fn insert_source(&self) -> io::Result<u32> {
        if self.stage.get() != Stage::Open {
            return Err(ended());
        }
        let generation = self.next_generation.get();
        self.next_generation.set(generation.wrapping_add(1));
        let source = Source::new(generation);
        let key = self.sources.borrow_mut().insert(source);
        Ok(u32::try_from(key).expect("a process has fewer than 2^32 descriptors"))
    }

    /// Stops watching a descriptor that goes on living elsewhere.
    pub(crate) fn unwatch(&self, fd: BorrowedFd<'_>) {
        // It may not be watched at all: then there is nothing to stop.
        let _ = self.epoll.delete(fd);
    }

    /// Takes one claim on a source back, and frees its entry with the last one; its waiters are forgotten.
    pub(crate) fn release(&self, key: u32) {
        let mut wakers = Vec::new();
        let mut sources = self.sources.borrow_mut();
        if let Some(source) = sources.get_mut(key as usize)
            && source.release()
        {
            source.take_waiters(&mut wakers);
            sources.remove(key as usize);
        }
        drop(sources);
        for waker in wakers {
            quiet::quietly(|| drop(waker));
        }
    }

    /// Takes one claim back of a source that another thread has taken out of the epoll set.
    fn on_deregistered(&self, key: u32, woken: &mut Vec<Waker>) {
        let mut sources = self.sources.borrow_mut();
        if let Some(source) = sources.get_mut(key as usize) {
            source.forget_watched(woken);
            if source.release() {
                sources.remove(key as usize);
            }
        }
    }

    /// Names a new wait.
    pub(crate) fn ticket(&self) -> Ticket {
        let next = self.next_ticket.get();
        self.next_ticket.set(next + 1);
        Ticket(next)
    }

    /// How often the thread has waited in the kernel by now.
    pub(crate) fn round(&self) -> Round {
        Round(self.round.get())
    }

    /// Watches these directions too; what is ready already comes as an event.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`: `EPERM` for a descriptor that cannot be watched, `ENOSPC` at the limit
    /// `/proc/sys/fs/epoll/max_user_watches`, `ENOMEM`; and that the reactor is another process's.
    pub(crate) fn watch(
        &self,
        key: u32,
        fd: BorrowedFd<'_>,
        directions: Directions,
        trigger: Trigger,
    ) -> io::Result<()> {
        let mut sources = self.sources.borrow_mut();
        let Some(source) = sources.get_mut(key as usize) else {
            return Err(ended());
        };
        let before = source.watched();
        let was_muted = source.unmute();
        if before.contains(directions) && !was_muted {
            return Ok(());
        }
        if before == Directions::default() && trigger == Trigger::Level {
            source.report_levels(fd.as_raw_fd());
        }
        let token = token(key, source);
        let interest = source.watch(before.union(directions));
        let result = if before == Directions::default() {
            self.epoll.add(fd, interest, token)
        } else {
            self.epoll.modify(fd, interest, token)
        };
        if result.is_err() {
            if was_muted {
                source.mute();
            }
            source.watch(before);
        }
        result
    }

    /// Calls `call` with a source.
    #[inline]
    pub(crate) fn with_source<R>(
        &self,
        key: u32,
        call: impl FnOnce(&mut Source) -> R,
    ) -> Option<R> {
        self.sources.borrow_mut().get_mut(key as usize).map(call)
    }

    /// Whether an operation is worth trying; for a source of a closed reactor it is.
    #[inline]
    pub(crate) fn is_ready(&self, key: u32, direction: Direction) -> bool {
        self.with_source(key, |source| source.is_ready(direction))
            .unwrap_or(true)
    }

    /// Takes note that an operation moved less than it could have.
    #[inline]
    pub(crate) fn on_short(&self, key: u32, direction: Direction) {
        self.with_source(key, |source| source.on_short(direction));
    }

    /// Lets `waiter` wait for the next event of a direction.
    #[inline]
    pub(crate) fn wait_for(&self, key: u32, direction: Direction, waiter: Waiter, waker: &Waker) {
        let waker = waker.clone();
        let mut sources = self.sources.borrow_mut();
        let Some(source) = sources.get_mut(key as usize) else {
            // The clone, which is foreign code, has closed the reactor: there is nothing to wait for.
            drop(sources);
            return quiet::quietly(|| waker.wake());
        };
        let left = source.wait(direction, waiter, waker);
        drop(sources);
        if let Some(left) = left {
            dismiss(left);
        }
    }

    /// Ends a wait before its event.
    pub(crate) fn cancel_wait(&self, key: u32, direction: Direction, ticket: Ticket) {
        let waker = self.with_source(key, |source| source.cancel(direction, ticket));
        quiet::quietly(|| drop(waker));
    }

    /// Lets a direction rest for a while, whatever events come.
    pub(crate) fn back_off(&self, key: u32, direction: Direction, rest: Duration) {
        let mut sources = self.sources.borrow_mut();
        if let Some(source) = sources.get_mut(key as usize) {
            source.back_off(direction);
            let deadline = clock::monotonic().saturating_add(clock::nanoseconds(rest));
            let alarm = Alarm::Resume(token(key, source), direction);
            self.timers.borrow_mut().insert(deadline, alarm);
        }
    }
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

/// Ends the waits of wakers that a source has let go.
fn dismiss(left: Dismissed) {
    match left {
        Dismissed::Replaced(waker) => quiet::quietly(|| drop(waker)),
        Dismissed::ToBeWoken(mut wakers) => quiet::wake_all(&mut wakers),
    }
}

/// What those are told who would wait in a runtime that is being dropped.
#[cold]
fn ended() -> io::Error {
    io::Error::other("the runtime is being dropped, so nothing can wait in it any more")
}

/// The token of a source: its place in the slab, and its generation.
fn token(key: u32, source: &Source) -> RawToken {
    RawToken(u64::from(source.generation()) << 32 | u64::from(key))
}

/// The source that a token names, if it is still there.
#[inline]
fn named(sources: &mut Slab<Source>, token: RawToken) -> Option<&mut Source> {
    let key = usize::try_from(token.0 & u64::from(u32::MAX)).ok()?;
    let source = sources.get_mut(key)?;
    (u64::from(source.generation()) == token.0 >> 32).then_some(source)
}
