//! Names a runtime, among all that are or ever were in this process.

use std::fmt;
use std::num::NonZeroU32;

/// How many runtimes a process may have at the same time. (Models are small.)
pub(crate) const MAX_RUNTIMES: usize = if cfg!(runtime_loom) { 2 } else { 4095 };

/// Bits of the index; the serial number takes the others but the top one.
const INDEX_BITS: u32 = 12;
/// The top bit stays clear, so that 32 bits can hold an id or something else.
const SERIAL_END: u32 = 1 << (31 - INDEX_BITS);

const _: () = assert!(MAX_RUNTIMES <= 1 << INDEX_BITS);

/// The id of a runtime: its index in the registry, which a later runtime may have again, and a serial
/// number, which tells the runtimes that had this index apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RuntimeId(NonZeroU32);

impl RuntimeId {
    /// The id of the first runtime at `index`.
    pub(super) fn first(index: u16) -> Self {
        Self(NonZeroU32::MIN.saturating_add((1 << INDEX_BITS) - 1 + u32::from(index)))
    }

    /// The id of the next runtime at the same index; `None` when that index has no serial numbers left.
    pub(super) fn next(self) -> Option<Self> {
        let next = self.0.checked_add(1 << INDEX_BITS)?;
        (next.get() >> INDEX_BITS < SERIAL_END).then_some(Self(next))
    }

    /// The id that [`RuntimeId::to_bits`] gave.
    #[inline]
    pub(crate) fn from_bits(bits: u32) -> Option<Self> {
        NonZeroU32::new(bits).map(Self)
    }

    /// The id as a number: not zero, and with the top bit clear.
    #[inline]
    pub(crate) fn to_bits(self) -> u32 {
        self.0.get()
    }

    /// The index in the registry.
    #[inline]
    pub(crate) fn index(self) -> u16 {
        let bits = self.0.get() & ((1 << INDEX_BITS) - 1);
        u16::try_from(bits).expect("an index has 12 bits")
    }
}

impl fmt::Debug for RuntimeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index(), self.0.get() >> INDEX_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_index_differ_until_they_are_used_up() {
        let first = RuntimeId::first(4094);
        assert_eq!(first.index(), 4094);
        let mut ids = std::iter::successors(Some(first), |id| id.next());
        let last = ids.by_ref().last().expect("there is a first one");
        assert_eq!(last.index(), 4094);
        assert_eq!(last.to_bits() >> INDEX_BITS, SERIAL_END - 1);
        assert_eq!(last.to_bits() >> 31, 0);
        assert_eq!(last.next(), None);
        assert_eq!(RuntimeId::from_bits(last.to_bits()), Some(last));
        assert_eq!(RuntimeId::from_bits(0), None);
    }
}
