//! What to wait for, and what came: sets of directions.

use std::ops::{BitOr, BitOrAssign};

use crate::reactor::source::Directions;

/// What [`TcpStream::ready`](crate::net::TcpStream::ready) waits for.
///
/// # Examples
///
/// ```
/// use runtime::io::Interest;
///
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert!(both.is_readable() && both.is_writable());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interest {
    readable: bool,
    writable: bool,
}

impl Interest {
    /// Wait until reading may succeed, or the peer has shut down its writing half.
    pub const READABLE: Self = Self {
        readable: true,
        writable: false,
    };
    /// Wait until writing may succeed, or has become impossible.
    pub const WRITABLE: Self = Self {
        readable: false,
        writable: true,
    };

    /// Whether the set holds [`READABLE`](Self::READABLE).
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.readable
    }

    /// Whether the set holds [`WRITABLE`](Self::WRITABLE).
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.writable
    }

    /// The directions of the set.
    pub(crate) fn directions(self) -> Directions {
        match (self.readable, self.writable) {
            (true, true) => Directions::BOTH,
            (true, false) => Directions::READ,
            (false, _) => Directions::WRITE,
        }
    }

    /// The union of two sets, as `|` makes it.
    #[must_use]
    pub const fn add(self, other: Self) -> Self {
        Self {
            readable: self.readable || other.readable,
            writable: self.writable || other.writable,
        }
    }
}

impl BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.add(other)
    }
}

impl BitOrAssign for Interest {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.add(other);
    }
}

/// What is known to be ready.
///
/// A hint: the operation itself may still say `WouldBlock`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ready {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) read_closed: bool,
    pub(crate) write_closed: bool,
}

impl Ready {
    /// Whether nothing is ready.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        !(self.readable || self.writable || self.read_closed || self.write_closed)
    }

    /// Whether reading may succeed, or return the end of the stream.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.readable || self.read_closed
    }

    /// Whether writing may succeed, or return an error.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.writable || self.write_closed
    }

    /// Whether the peer has shut down its writing half, or the connection failed.
    #[must_use]
    pub const fn is_read_closed(self) -> bool {
        self.read_closed
    }

    /// Whether both halves are shut down, or the connection failed.
    #[must_use]
    pub const fn is_write_closed(self) -> bool {
        self.write_closed
    }
}
