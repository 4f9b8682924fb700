//! A socket and its place in an epoll set, as the kernel keeps them: what the oracle of sources waits for.
//!
//! It promises as little as Linux does. An edge-triggered event comes only for what is new. What comes together
//! is reported together, as it is by then. Room is announced only after someone ran out of it.

use std::mem;

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

/// Something that happens to a socket beside the operations of the tasks that wait for it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happening {
    /// Data come in, or connections.
    Arrive(usize),
    /// An urgent byte comes in.
    Mark,
    /// The peer shuts down its writing half.
    Shut,
    /// The peer resets the connection.
    Reset,
    /// An error comes that leaves the connection as it is.
    Fail,
    /// Something comes into the error queue: a time stamp, say.
    QueueError,
    /// The user reads the error queue.
    ReadErrors,
    /// The peer has taken what was written.
    MakeRoom(usize),
    /// Another runtime, or another process, does an operation.
    Elsewhere(Direction, usize),
}

/// A socket, which epoll may watch.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    /// How many bytes (or connections) wait to be read: up to an urgent mark, and behind it.
    arrived: [usize; 2],
    has_mark: bool,
    /// How many bytes wait to be sent.
    written: usize,
    /// Someone ran out of room since it was last announced.
    is_room_wanted: bool,
    is_shut: bool,
    is_reset: bool,
    /// The next operation fails.
    has_error: bool,
    /// Something is in the error queue, which operations leave alone.
    is_error_queued: bool,
    /// What epoll watches for, if the socket is in the set.
    interest: Option<Flags>,
    is_listed: bool,
}

impl Kernel {
    pub(super) fn happen(&mut self, what: Happening) {
        let news = match what {
            Happening::Arrive(_) | Happening::Mark if self.is_shut => Flags::NONE,
            Happening::Arrive(bytes) => {
                self.arrived[usize::from(self.has_mark)] += bytes;
                Flags::IN
            }
            Happening::Mark => {
                self.arrived = [self.unread(), 0];
                self.has_mark = true;
                Flags::IN.union(Flags::PRI)
            }
            Happening::Shut => {
                self.is_shut = true;
                Flags::HUP // All are told who are in the set.
            }
            Happening::Reset => {
                (self.arrived, self.has_mark) = ([0; 2], false);
                (self.is_shut, self.is_reset, self.has_error) = (true, true, true);
                Flags::HUP
            }
            Happening::Fail => {
                self.has_error = true;
                Flags::ERR
            }
            Happening::QueueError => {
                self.is_error_queued = true;
                Flags::ERR
            }
            Happening::ReadErrors => {
                self.is_error_queued = false;
                Flags::NONE
            }
            Happening::MakeRoom(bytes) => {
                self.written = self.written.saturating_sub(bytes);
                match self.has_room() && mem::take(&mut self.is_room_wanted) {
                    true => Flags::OUT,
                    false => Flags::NONE,
                }
            }
            Happening::Elsewhere(direction, most) => {
                self.transfer(direction, most);
                Flags::NONE
            }
        };
        self.is_listed |= self
            .interest
            .is_some_and(|interest| interest.intersects(news));
    }

    pub(super) fn transfer(&mut self, direction: Direction, most: usize) -> Done {
        match direction {
            Direction::Read => self.read(most),
            Direction::Write if mem::take(&mut self.has_error) || self.is_reset => Done::Failed,
            Direction::Write => self.write(most),
        }
    }

    /// What there is comes first, then an error, then the end.
    fn read(&mut self, most: usize) -> Done {
        // A read stops at an urgent mark.
        if self.arrived[0] == 0 && mem::take(&mut self.has_mark) {
            self.arrived = [self.arrived[1], 0];
        }
        let moved = most.min(self.arrived[0]);
        self.arrived[0] -= moved;
        match moved {
            0 if mem::take(&mut self.has_error) => Done::Failed,
            0 if !self.is_shut => Done::WouldBlock,
            _ => Done::Moved(moved),
        }
    }

    fn write(&mut self, most: usize) -> Done {
        let moved = most.min(ROOM - self.written);
        self.written += moved;
        self.is_room_wanted |= moved < most;
        match moved {
            0 => Done::WouldBlock,
            _ => Done::Moved(moved),
        }
    }

    /// Watches for these, from now on.
    pub(super) fn control(&mut self, interest: Option<Flags>) {
        self.interest = interest.map(with_hang_ups_and_errors);
        self.is_listed = interest.is_some() && (self.is_listed || self.poll() != Flags::NONE);
    }

    /// Whether epoll watches for these.
    pub(super) fn watches_for(&self, interest: Option<Flags>) -> bool {
        self.interest == interest.map(with_hang_ups_and_errors)
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

    /// Whether an operation of the direction has something to do, which may be to fail.
    pub(super) fn is_ready(&self, direction: Direction, or_fail: bool) -> bool {
        or_fail && self.has_error || self.state(meant_for(direction)) != Flags::NONE
    }

    /// Whether the next wait will tell who waits for the direction.
    pub(super) fn will_tell(&self, direction: Direction) -> bool {
        let event = self.state(self.interest.unwrap_or(Flags::NONE));
        self.is_listed && event.intersects(meant_for(direction).union(Flags::ERR))
    }

    /// How many bytes wait to be read.
    pub(super) fn unread(&self) -> usize {
        self.arrived.iter().sum()
    }

    fn has_room(&self) -> bool {
        ROOM - self.written >= ROOM_WORTH_TELLING
    }

    /// What there is of what is watched for. If there is no room, that will be announced.
    fn poll(&mut self) -> Flags {
        self.is_room_wanted |= !self.has_room();
        self.state(self.interest.unwrap_or(Flags::NONE))
    }

    /// What there is of these.
    fn state(&self, of: Flags) -> Flags {
        let states = [
            (Flags::IN, self.is_shut || self.unread() > 0),
            (Flags::PRI, self.has_mark),
            (Flags::RDHUP, self.is_shut),
            (Flags::OUT, self.is_reset || self.has_room()),
            (Flags::HUP, self.is_reset),
            (Flags::ERR, self.has_error || self.is_error_queued),
        ];
        let set = states
            .into_iter()
            .filter(|&(flag, is_set)| is_set && of.intersects(flag));
        set.fold(Flags::NONE, |set, (flag, _)| set.union(flag))
    }
}

/// What lets an operation of the direction go on; an error lets both.
fn meant_for(direction: Direction) -> Flags {
    match direction {
        Direction::Read => Flags::HUP.union(Flags::IN).union(Flags::RDHUP),
        Direction::Write => Flags::HUP.union(Flags::OUT),
    }
}

fn with_hang_ups_and_errors(interest: Flags) -> Flags {
    interest.union(Flags::HUP).union(Flags::ERR)
}
