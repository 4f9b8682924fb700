//! What an operation did, and what that says of the next one.

/// An operation that succeeded.
pub(crate) struct Completion<R> {
    pub(crate) value: R,
    /// How many it moved, for the budget.
    pub(crate) bytes: usize,
    pub(crate) after: After,
}

/// What an operation says of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Only `EAGAIN` tells that there is no more.
    MayHaveMore,
    /// There is no more: the socket is drained, or full.
    Drained,
    /// A level-triggered descriptor is reported again if there is more; any other [may have
    /// more](Self::MayHaveMore).
    LevelReported,
}

impl<R> Completion<R> {
    /// An operation of which only `EAGAIN` tells that there is no more.
    pub(crate) fn may_have_more(value: R) -> Self {
        let (bytes, after) = (0, After::MayHaveMore);
        Self {
            value,
            bytes,
            after,
        }
    }

    /// An operation that took one of several things.
    pub(crate) fn level_reported(value: R) -> Self {
        let (bytes, after) = (0, After::LevelReported);
        Self {
            value,
            bytes,
            after,
        }
    }
}

impl Completion<usize> {
    /// A transfer on a TCP stream of `moved` bytes where there was room for `room`: a short one drains the socket.
    /// Nothing moved is no short transfer: it is the end of the stream, which stays.
    #[inline]
    pub(crate) fn of_stream(moved: usize, room: usize) -> Self {
        // 0 < moved && moved < room, as one comparison.
        let after = match moved.wrapping_sub(1) < room.wrapping_sub(1) {
            true => After::Drained,
            false => After::MayHaveMore,
        };
        Self {
            value: moved,
            bytes: moved,
            after,
        }
    }
}
