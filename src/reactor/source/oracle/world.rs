//! A source in its world: the reactor, played by its rules (`Reactor::wait`), and what must always be so.
//!
//! # Invariants
//!
//! Checked after each step:
//!
//! 1. While someone waits for a direction that is ready in the kernel, an event, the end of a rest or a letter
//!    is still to come.
//! 2. Nobody waits for a direction that the source takes for ready.
//! 3. A waker is woken by what is meant for it, once, and by nothing else; then, or when it is replaced or its
//!    wait ends, no clone of it is left.
//! 4. A direction is final when an event has said so, and from then on.
//! 5. A direction that is watched is not worth trying after it was found empty, or before its first event.
//! 6. What nobody waits for ends no more than three waits.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::kernel::{Done, Kernel};
use super::{DIRECTIONS, Step};
use crate::reactor::source::{Direction, Round, Source, Ticket, Trigger, Waiter};
use crate::sys::epoll::Flags;

/// How often a task goes on at most when it may.
const PATIENCE: usize = 100;

/// Where a direction is registered, as `Places` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Nowhere,
    Drained,
    Here,
}

/// Who waits, so that a later wait of the same takes the place of the earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Only,
    Ticket(u8),
    Anyone(u8),
}

impl Place {
    pub(super) fn of(task: u8) -> Self {
        match task {
            0 => Self::Only,
            1 | 2 => Self::Ticket(task),
            _ => Self::Anyone(task),
        }
    }

    pub(super) fn waiter(self) -> Waiter {
        match self {
            Self::Only => Waiter::Only,
            Self::Ticket(number) => Waiter::Ticket(Ticket(number.into())),
            Self::Anyone(_) => Waiter::Anyone(Round(0)),
        }
    }
}

/// How often the waker of one wait was woken.
#[derive(Debug, Default)]
pub(super) struct Wakes(pub(super) AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) type Waits = BTreeMap<Place, Arc<Wakes>>;

/// A source, the kernel beneath it, and what is known of those who wait.
#[derive(Debug)]
pub(super) struct World {
    pub(super) source: Source,
    pub(super) kernel: Kernel,
    pub(super) trigger: Trigger,
    pub(super) words: [Word; 2],
    pub(super) waits: [Waits; 2],
    /// Who was woken, and has not polled since.
    pub(super) awake: Vec<(Place, Direction)>,
    pub(super) is_resting: [bool; 2],
    /// How many ends of rests are to come.
    pub(super) rests: [usize; 2],
    pub(super) is_final: [bool; 2],
    /// Nothing has come since an operation found the end, or since the direction is watched.
    pub(super) is_empty: [bool; 2],
    /// An event has told of urgent data.
    pub(super) is_marked: bool,
    pub(super) has_letter: bool,
    /// The entry that the letter will free, and who waits there.
    pub(super) leaving: Option<(Source, [Waits; 2])>,
    pub(super) is_refused: bool,
}

impl World {
    pub(super) fn new(trigger: Trigger) -> Self {
        Self {
            source: Source::new(0),
            kernel: Kernel::new(),
            trigger,
            words: [Word::Nowhere; 2],
            waits: Default::default(),
            awake: Vec::new(),
            is_resting: [false; 2],
            rests: [0; 2],
            is_final: [false; 2],
            is_empty: [false; 2],
            is_marked: false,
            has_letter: false,
            leaving: None,
            is_refused: false,
        }
    }

    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Arrive(bytes) => self.kernel.arrive(bytes),
            Step::Mark => self.kernel.mark(),
            Step::Shut => self.kernel.shut(),
            Step::Reset => self.kernel.reset(),
            Step::Fail => self.kernel.fail(),
            Step::MakeRoom(bytes) => self.kernel.make_room(bytes),
            Step::Turn { waits, others } => drop(self.turn(waits, others)),
            Step::Idle => self.idle(),
            Step::Poll(task, direction, most) => drop(self.poll(Place::of(task), direction, most)),
            Step::PollReady(task, direction) => self.poll_ready(task, direction),
            Step::Try(direction, most) => self.try_once(direction, most),
            Step::Crowd(direction) => (100..140).for_each(|task| self.poll_ready(task, direction)),
            Step::Cancel(task, direction) => self.cancel(task, direction),
            Step::Exhaust(task) => self.exhaust(Place::of(task)),
            Step::Resume(direction) => self.resume(direction),
            Step::Displace(direction) => self.displace(direction),
            Step::ReadLetter => self.read_letter(),
            Step::Refuse => self.is_refused = true,
        }
    }
}

/// The reactor.
impl World {
    /// Takes an event, if there is one.
    fn turn(&mut self, waits: bool, others: usize) -> Option<Flags> {
        let event = self.kernel.wait()?;
        let wakes = self.on_event(event);
        if self.source.is_level_triggered() {
            self.source.share(wakes.max(1 + others));
            if wakes == 0 && waits && !self.has_letter {
                let (_, interest) = self.source.mute().expect("it is level-triggered");
                self.kernel.control(interest);
            }
        }
        Some(event)
    }

    /// Hands an event to the source; returns how many it woke.
    pub(super) fn on_event(&mut self, event: Flags) -> usize {
        let gone = Flags::HUP.union(Flags::ERR);
        let read_gone = gone.union(Flags::RDHUP);
        self.is_final[0] |= event.intersects(read_gone);
        self.is_final[1] |= event.intersects(gone);
        self.is_marked |= event.intersects(Flags::PRI);
        let is_concerned = [
            event.intersects(read_gone.union(Flags::IN).union(Flags::PRI)),
            event.intersects(gone.union(Flags::OUT)),
        ];
        self.is_empty = [0, 1].map(|side| self.is_empty[side] && !is_concerned[side]);
        let told = DIRECTIONS.into_iter().filter(|&direction| {
            is_concerned[direction as usize] && !self.is_resting[direction as usize]
        });
        let told = Vec::from_iter(told);
        let mut woken = Vec::new();
        self.source.on_event(event, &mut woken);
        let wakes = woken.len();
        self.tell(&told, woken);
        wakes
    }

    /// Waits as often as nobody waits for the source.
    fn idle(&mut self) {
        if self.has_letter || self.waits.iter().any(|waits| !waits.is_empty()) {
            return;
        }
        for _ in 0..3 {
            self.turn(true, 0);
        }
        assert_eq!(self.turn(true, 0), None, "the loop cannot wait: {self:?}");
    }

    fn resume(&mut self, direction: Direction) {
        if self.rests[direction as usize] > 0 {
            self.rests[direction as usize] -= 1;
            self.is_resting[direction as usize] = false;
            self.is_empty[direction as usize] = false;
            let mut woken = Vec::new();
            self.source.resume(direction, &mut woken);
            self.tell(&[direction], woken);
        }
    }

    fn displace(&mut self, direction: Direction) {
        if self.words[direction as usize] != Word::Here || self.has_letter {
            return;
        }
        self.kernel.delete();
        self.words[direction as usize] = Word::Nowhere;
        self.has_letter = true;
        if !self.words.contains(&Word::Here) {
            // Whoever comes back before the letter is read gets an entry of its own.
            let new = Self {
                kernel: mem::replace(&mut self.kernel, Kernel::new()),
                awake: mem::take(&mut self.awake),
                words: self.words,
                has_letter: true,
                is_refused: self.is_refused,
                ..Self::new(self.trigger)
            };
            let Self { source, waits, .. } = mem::replace(self, new);
            self.leaving = Some((source, waits));
        }
    }

    fn read_letter(&mut self) {
        if !mem::take(&mut self.has_letter) {
            return;
        }
        let mut woken = Vec::new();
        let Some((mut source, mut waits)) = self.leaving.take() else {
            self.is_empty = [false; 2];
            self.source.forget_watched(&mut woken);
            return self.tell(&DIRECTIONS, woken);
        };
        source.forget_watched(&mut woken);
        mem::swap(&mut waits, &mut self.waits);
        self.tell(&DIRECTIONS, woken);
        self.waits = waits;
    }

    /// Wakes whom the source gave up, which must be all who wait for these directions.
    fn tell(&mut self, directions: &[Direction], woken: Vec<Waker>) {
        let mut expected = Vec::new();
        for &direction in directions {
            let waits = mem::take(&mut self.waits[direction as usize]);
            self.awake
                .extend(waits.keys().map(|&place| (place, direction)));
            expected.extend(waits.into_values());
        }
        assert_woken(expected, woken);
    }
}

/// The checks.
impl World {
    /// How many wait for a direction.
    pub(super) fn waits(&self, direction: Direction) -> usize {
        self.waits[direction as usize].len()
    }

    pub(super) fn check(&self) {
        for direction in DIRECTIONS {
            let side = direction as usize;
            let is_waited_for = !self.waits[side].is_empty();
            let will_be_told = self.kernel.will_tell(direction)
                || self.is_resting[side] && self.rests[side] > 0
                || self.has_letter && self.leaving.is_none();
            assert!(
                will_be_told || !(is_waited_for && self.kernel.is_ready(direction)),
                "{direction:?} is ready, and nobody will tell who waits: {self:?}"
            );
            assert!(
                self.has_letter
                    || !self.source.reports(direction)
                    || self.kernel.watches(direction),
                "{direction:?} is not watched: {self:?}"
            );
            assert_eq!(self.source.is_final(direction), self.is_final[side]);
            let is_worth_trying = self.source.is_ready(direction);
            let is_known_empty = self.is_empty[side] && self.source.watches(direction);
            assert!(
                !(is_worth_trying && is_known_empty),
                "{direction:?}: {self:?}"
            );
            for wakes in self.waits[side].values() {
                assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
                assert_eq!(Arc::strong_count(wakes), 2);
            }
        }
        assert!(!self.source.has_lost_a_wake(), "{self:?}");
    }

    /// Lets everything happen that is to come, and the tasks go on as far as they can.
    pub(super) fn settle_down(&mut self) {
        self.is_refused = false;
        self.awake
            .extend(DIRECTIONS.map(|direction| (Place::Only, direction)));
        for _ in 0..PATIENCE {
            self.read_letter();
            for direction in DIRECTIONS {
                self.resume(direction);
            }
            let awake = mem::take(&mut self.awake);
            let is_quiet = awake.is_empty() && self.rests == [0; 2];
            for (place, direction) in awake {
                self.go_on(place, direction);
            }
            if self.turn(true, 0).is_none() && is_quiet && self.awake.is_empty() {
                return self.check_all_is_read();
            }
            self.check();
        }
        panic!("it goes on and on: {self:?}");
    }

    /// Moves what can be moved.
    fn go_on(&mut self, place: Place, direction: Direction) {
        for _ in 0..PATIENCE {
            let most = if self.trigger == Trigger::Level { 1 } else { 4 };
            match self.poll(place, direction, most) {
                Some(Done::Moved(1..)) => {}
                Some(Done::Failed) if direction == Direction::Read => {}
                _ => return,
            }
        }
        panic!("{place:?} never waits: {self:?}");
    }

    fn check_all_is_read(&self) {
        assert_eq!(self.kernel.unread(), 0, "{self:?}");
    }

    /// Drops the source, and its wakers with it.
    pub(super) fn end(self) {
        let Self { source, waits, .. } = self;
        drop(source);
        for wakes in waits.into_iter().flat_map(BTreeMap::into_values) {
            assert_eq!(Arc::strong_count(&wakes), 1);
        }
    }
}

pub(super) fn assert_woken(expected: Vec<Arc<Wakes>>, woken: Vec<Waker>) {
    assert_eq!(woken.len(), expected.len());
    woken.into_iter().for_each(Waker::wake);
    for wakes in expected {
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!(Arc::strong_count(&wakes), 1);
    }
}
