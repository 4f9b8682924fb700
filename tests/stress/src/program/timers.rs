//! Timers in registers, polled by hand: none early, none forgotten, and in the order of deadlines.

use std::task::{Context, Poll};

use runtime::time::{Duration, Instant, Timer, sleep_until};

use super::machine::{self, Caller, Machine, index};
use super::model::{HomeNo, Watcher, Who};
use super::op::{Op, Place};

/// Nobody waits that long here.
pub(super) const FAR: Duration = Duration::from_secs(60);

/// A timer, and who waits for it.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: Timer,
    armed: Option<Armed>,
}

#[derive(Clone, Copy, Debug)]
struct Armed {
    home: HomeNo,
    deadline: Instant,
    watcher: Watcher,
    /// It may be out of order: foreign code set it while others fired, or another runtime did.
    is_apart: bool,
}

/// The deadline that a byte stands for.
pub(super) fn instant(when: u8) -> Instant {
    let now = Instant::now();
    let step = u64::from(when / 8);
    match when % 8 {
        0 => now - Duration::from_micros(step),
        1 => now,
        2 => now + Duration::from_nanos(step),
        3..=5 => now + Duration::from_nanos(700 * step),
        6 => now + FAR * 2,
        _ => now + Duration::MAX,
    }
}

/// Polls a timer, which must not be early.
pub(super) fn poll(timer: &mut Timer, cx: &mut Context<'_>) -> Poll<()> {
    let deadline = timer.deadline();
    let polled = machine::poll(timer, cx);
    assert!(
        polled.is_pending() || deadline <= Instant::now(),
        "a timer was early"
    );
    polled
}

impl Machine {
    pub(super) fn perform_on_timer(&self, op: Op, place: Place, caller: Caller<'_>) {
        match op {
            Op::NewTimer { timer, when } => {
                let made = Alarm {
                    timer: sleep_until(instant(when)),
                    armed: None,
                };
                drop(self.timers[index(timer)].replace(Some(made)));
            }
            Op::PollTimer {
                timer,
                place: ahead,
            } if self.is_in_open_runtime() => {
                let (who, waker) = self.waker(caller, timer, place + usize::from(ahead));
                let Some(alarm) = self.timers[index(timer)].take() else {
                    return;
                };
                let alarm = self.poll_timer(alarm, who, &mut Context::from_waker(&waker));
                drop(self.timers[index(timer)].replace(Some(alarm)));
            }
            Op::ResetTimer { timer, when } => {
                if let Some(alarm) = self.timers[index(timer)].take() {
                    let alarm = self.reset_timer(alarm, instant(when));
                    drop(self.timers[index(timer)].replace(Some(alarm)));
                }
            }
            Op::DropTimer { timer } => drop(self.timers[index(timer)].take()),
            _ => {}
        }
    }

    fn poll_timer(&self, mut alarm: Alarm, who: Who, cx: &mut Context<'_>) -> Alarm {
        self.model(|model| model.let_be_woken(who));
        let home = self.current().expect("the caller has looked");
        let watcher = self.model(|model| model.watch(who));
        alarm.armed = None;
        if poll(&mut alarm.timer, cx).is_pending() {
            alarm.armed = Some(Armed {
                home,
                deadline: alarm.timer.deadline(),
                watcher,
                is_apart: self.is_nested(),
            });
        }
        alarm
    }

    fn reset_timer(&self, mut alarm: Alarm, deadline: Instant) -> Alarm {
        alarm.timer.reset(deadline);
        if let Some(armed) = &mut alarm.armed {
            // One that is overdue when it is set queues behind the others that are due.
            armed.is_apart |= self.is_nested() || deadline <= Instant::now();
            if self.current() == Some(armed.home) {
                armed.deadline = deadline;
            } else {
                // Its runtime gets a letter, and tells who waits that it is not there any more.
                armed.is_apart = true;
                armed.deadline = Instant::now();
            }
        }
        alarm
    }

    /// Checks, when a foreign waker is woken, that no earlier timer should have been first.
    pub(super) fn check_order(&self, number: usize) {
        let armed: Vec<_> = self.armed().collect();
        let fires = |armed: &&Armed| armed.watcher.who == Who::Foreign(number);
        let Some(fired) = armed.iter().find(fires) else {
            return;
        };
        let is_expected = self.is_open(fired.home)
            && self.current() == Some(fired.home)
            && fired.deadline <= Instant::now();
        if !is_expected || fired.is_apart || self.is_nested() || self.is_served(fired) {
            return;
        }
        for other in armed.iter().filter(|other| other.home == fired.home) {
            let is_late = other.deadline < fired.deadline && !self.is_served(other);
            let is_foreign = matches!(other.watcher.who, Who::Foreign(_));
            assert!(
                !is_late || !is_foreign || other.is_apart,
                "{fired:?} fired before {other:?}"
            );
        }
    }

    /// The runtime has come to rest: what was due by `time` has fired.
    pub(super) fn check_timers(&self, home: HomeNo, time: Instant) {
        for armed in self.armed().filter(|armed| armed.home == home) {
            let is_fired = armed.deadline > time || self.is_served(&armed);
            assert!(is_fired, "{armed:?} has not fired");
        }
    }

    /// A runtime was dropped: whoever waited there was told.
    pub(super) fn end_timers(&self, home: HomeNo) {
        for armed in self.armed().filter(|armed| armed.home == home) {
            assert!(self.is_served(&armed), "{armed:?} was not told of the end");
        }
        for alarm in &self.timers {
            if let Some(alarm) = &mut *alarm.borrow_mut() {
                alarm.armed.take_if(|armed| armed.home == home);
            }
        }
    }

    /// The latest deadline that is near, so that waiting for it is no burden.
    pub(super) fn latest_deadline(&self, home: HomeNo) -> Option<Instant> {
        let limit = Instant::now() + FAR;
        let armed = self.armed().filter(|armed| armed.home == home);
        let armed = armed.map(|armed| armed.deadline);
        let asleep = self.model(|model| model.deadlines(home));
        armed.chain(asleep).filter(|&it| it < limit).max()
    }

    fn armed(&self) -> impl Iterator<Item = Armed> + '_ {
        self.timers
            .iter()
            .filter_map(|alarm| alarm.borrow().as_ref()?.armed)
    }

    /// Whether a timer may be polled: in a runtime whose end has begun that may panic, as it could never fire.
    fn is_in_open_runtime(&self) -> bool {
        self.current().is_some_and(|home| self.is_open(home))
    }

    fn is_served(&self, armed: &Armed) -> bool {
        self.model(|model| model.is_served(armed.watcher))
    }

    fn is_open(&self, home: HomeNo) -> bool {
        self.model(|model| model.homes[home].is_open())
    }
}
