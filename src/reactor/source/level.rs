//! Level-triggered reports, for listeners: how many operations an event allows.

/// How epoll reports a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// When there is something new.
    #[default]
    Edge,
    /// For as long as there is something: for a listener, from which one connection at a time is taken.
    /// Reading only.
    Level,
}

/// How many operations are tried before the next event is awaited.
#[derive(Debug, Default)]
pub(super) struct Credit(u32);

impl Credit {
    /// So many that only `EAGAIN` ends them.
    pub(super) const UNLIMITED: u32 = u32::MAX;

    /// Sets how many operations the event that just came allows.
    pub(super) fn set(&mut self, operations: u32) {
        self.0 = operations;
    }

    /// Takes one operation; true if it was the last.
    pub(super) fn take(&mut self) -> bool {
        if self.0 != Self::UNLIMITED {
            self.0 = self.0.saturating_sub(1);
        }
        self.0 == 0
    }
}
