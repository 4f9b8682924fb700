//! A socket and its place in an epoll set, as the kernel keeps them: what the oracle of sources waits for.
//!
//! It promises as little as Linux does: an edge-triggered event comes only for what is new, what comes
//! together is reported together and as it is by then, and room is announced only to who ran out of it.

use std::collections::VecDeque;

use crate::reactor::source::Direction;
use crate::sys::epoll::Flags;

/// How much a socket holds of what was written.
const ROOM: usize = 9;
/// Room is announced when there is so much of it.
const ROOM_WORTH_TELLING: usize = ROOM / 3;

/// What an operation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// So many bytes; none at the end of the stream.
    Moved(usize),
    WouldBlock,
    Failed,
}

/// A socket, which epoll may watch.
#[derive(Debug)]
pub(super) struct Kernel {
    /// How many bytes (or connections) wait to be read, with urgent marks between.
    arrived: VecDeque<usize>,
    room: usize,
    /// Someone ran out of room since it was last announced.
    is_room_wanted: bool,
    is_shut: bool,
    is_reset: bool,
    has_error: bool,
    /// What epoll watches for, if the socket is in the set.
    interest: Option<Flags>,
    is_listed: bool,
}

impl Kernel {
    pub(super) fn new() -> Self {
        Self {
            arrived: VecDeque::from([0]),
            room: ROOM,
            is_room_wanted: false,
            is_shut: false,
            is_reset: false,
            has_error: false,
            interest: None,
            is_listed: false,
        }
    }

    /// Data come in, or connections.
    pub(super) fn arrive(&mut self, bytes: usize) {
        if !self.is_shut {
            *self.arrived.back_mut().expect("it is never empty") += bytes;
            self.report(Flags::IN);
        }
    }

    /// An urgent byte comes in.
    pub(super) fn mark(&mut self) {
        if !self.is_shut {
            self.arrived.push_back(0);
            self.report(Flags::IN.union(Flags::PRI));
        }
    }

    /// The peer shuts down its writing half.
    pub(super) fn shut(&mut self) {
        self.is_shut = true;
        self.report(TO_ALL);
    }

    /// The peer resets the connection.
    pub(super) fn reset(&mut self) {
        self.arrived = VecDeque::from([0]);
        (self.is_shut, self.is_reset, self.has_error) = (true, true, true);
        self.report(TO_ALL);
    }

    /// An error comes that leaves the connection as it is.
    pub(super) fn fail(&mut self) {
        self.has_error = true;
        self.report(Flags::ERR);
    }

    /// The peer has taken what was written.
    pub(super) fn make_room(&mut self, bytes: usize) {
        self.room = ROOM.min(self.room + bytes);
        if self.room >= ROOM_WORTH_TELLING && std::mem::take(&mut self.is_room_wanted) {
            self.report(Flags::OUT);
        }
    }

    pub(super) fn transfer(&mut self, direction: Direction, most: usize) -> Done {
        if std::mem::take(&mut self.has_error) {
            return Done::Failed;
        }
        match direction {
            Direction::Read => self.read(most),
            Direction::Write if self.is_reset => Done::Failed,
            Direction::Write => self.write(most),
        }
    }

    fn read(&mut self, most: usize) -> Done {
        while self.arrived[0] == 0 && self.arrived.len() > 1 {
            self.arrived.pop_front();
        }
        // A read stops at an urgent mark.
        let moved = most.min(self.arrived[0]);
        self.arrived[0] -= moved;
        match moved {
            0 if !self.is_shut => Done::WouldBlock,
            _ => Done::Moved(moved),
        }
    }

    fn write(&mut self, most: usize) -> Done {
        let moved = most.min(self.room);
        self.room -= moved;
        self.is_room_wanted |= moved < most;
        match moved {
            0 => Done::WouldBlock,
            _ => Done::Moved(moved),
        }
    }

    /// Watches for something else, also if it was not watched before.
    pub(super) fn control(&mut self, interest: Flags) {
        let always = Flags::HUP.union(Flags::ERR);
        self.interest = Some(interest.union(always));
        self.is_listed |= self.poll() != Flags::NONE;
    }

    /// Stops watching.
    pub(super) fn delete(&mut self) {
        self.interest = None;
        self.is_listed = false;
    }

    /// What a wait returns, if anything.
    pub(super) fn wait(&mut self) -> Option<Flags> {
        if !self.is_listed {
            return None;
        }
        let event = self.poll();
        let is_there = event != Flags::NONE;
        let is_edge = self
            .interest
            .is_some_and(|interest| interest.intersects(Flags::ET));
        self.is_listed = is_there && !is_edge;
        is_there.then_some(event)
    }

    /// Whether someone who waits for the direction has something to do.
    pub(super) fn is_ready(&self, direction: Direction) -> bool {
        self.state().intersects(meant_for(direction))
    }

    /// Whether the next wait will tell who waits for the direction.
    pub(super) fn will_tell(&self, direction: Direction) -> bool {
        let event = both(self.state(), self.interest.unwrap_or(Flags::NONE));
        self.is_listed && event.intersects(meant_for(direction))
    }

    /// Whether epoll watches the direction.
    pub(super) fn watches(&self, direction: Direction) -> bool {
        self.interest
            .is_some_and(|interest| both(interest, direction.interest()) == direction.interest())
    }

    /// How many bytes wait to be read.
    pub(super) fn unread(&self) -> usize {
        self.arrived.iter().sum()
    }

    /// Puts the socket on the list of what the next wait looks at, if it is watched for one of these.
    fn report(&mut self, news: Flags) {
        self.is_listed |= self
            .interest
            .is_some_and(|interest| interest.intersects(news));
    }

    /// What there is of what is watched for; who finds no room will be told of it.
    fn poll(&mut self) -> Flags {
        let interest = self.interest.unwrap_or(Flags::NONE);
        self.is_room_wanted |= self.room < ROOM_WORTH_TELLING;
        both(self.state(), interest)
    }

    fn state(&self) -> Flags {
        let states = [
            (Flags::IN, self.is_shut || self.unread() > 0),
            (Flags::PRI, self.arrived.len() > 1),
            (Flags::RDHUP, self.is_shut),
            (Flags::OUT, self.is_reset || self.room >= ROOM_WORTH_TELLING),
            (Flags::HUP, self.is_reset),
            (Flags::ERR, self.has_error),
        ];
        let set = states.into_iter().filter(|&(_, is_set)| is_set);
        set.fold(Flags::NONE, |set, (flag, _)| set.union(flag))
    }
}

/// All that can happen.
const EACH: [Flags; 6] = [
    Flags::IN,
    Flags::PRI,
    Flags::RDHUP,
    Flags::OUT,
    Flags::HUP,
    Flags::ERR,
];
/// Of this all are told who are in the set.
const TO_ALL: Flags = Flags::HUP;

/// What lets an operation of the direction go on.
fn meant_for(direction: Direction) -> Flags {
    let gone = Flags::HUP.union(Flags::ERR);
    match direction {
        Direction::Read => gone.union(Flags::IN).union(Flags::RDHUP),
        Direction::Write => gone.union(Flags::OUT),
    }
}

/// What is in both sets.
fn both(one: Flags, other: Flags) -> Flags {
    let common = EACH
        .into_iter()
        .filter(|&flag| one.intersects(flag) && other.intersects(flag));
    common.fold(Flags::NONE, Flags::union)
}
