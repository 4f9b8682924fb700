//! TCP: listeners, streams, their halves, and sockets that are neither yet.

pub(super) mod listener;
mod options;
pub(super) mod socket;
pub(super) mod split;
pub(super) mod stream;
