//! What a waker of ours wakes: a task of a runtime, packed into one word.
//!
//! Made by `executor`; kept by `executor` and `reactor` in place of a `Waker`.

use std::num::NonZeroUsize;

use super::id::MAX_RUNTIMES;
use super::wake_set::MAX_SLOTS;

const SLOT_BITS: u32 = 24;
const GENERATION_BITS: u32 = 27;
const RUNTIME_SHIFT: u32 = SLOT_BITS + GENERATION_BITS;

const _: () = assert!(MAX_SLOTS <= 1 << SLOT_BITS);
/// The top bit is left over, see [`WakeTarget::to_tagged`].
const _: () = assert!(MAX_RUNTIMES < 1 << (usize::BITS - 1 - RUNTIME_SHIFT));

/// Which task of which runtime, in one word: registry index, generation, slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WakeTarget(usize);

impl WakeTarget {
    /// No task: the registry has no such index.
    pub(crate) const NONE: Self = Self(usize::MAX);

    /// The task in `slot`; a later task of the slot has another generation.
    #[inline]
    pub(crate) fn new(runtime_index: u16, slot: u32, generation: Generation) -> Self {
        Self(
            usize::from(runtime_index) << RUNTIME_SHIFT
                | (generation.0 as usize) << SLOT_BITS
                | slot as usize,
        )
    }

    /// The task in `slot` of the runtime whose main future this is.
    #[inline]
    pub(crate) fn beside(self, slot: u32, generation: Generation) -> Self {
        Self(self.0 | (generation.0 as usize) << SLOT_BITS | slot as usize)
    }

    /// Whether this is a target of the runtime whose main future `main` is.
    #[inline]
    pub(crate) fn is_of(self, main: Self) -> bool {
        (self.0 ^ main.0) >> RUNTIME_SHIFT == 0
    }

    /// The target that [`WakeTarget::to_bits`] gave.
    #[inline]
    pub(crate) fn from_bits(bits: usize) -> Self {
        Self(bits)
    }

    #[inline]
    pub(crate) fn to_bits(self) -> usize {
        self.0
    }

    #[inline]
    pub(crate) fn runtime_index(self) -> u16 {
        u16::try_from(low_bits(self.0 >> RUNTIME_SHIFT, 16)).expect("it has 16 bits")
    }

    #[inline]
    pub(crate) fn slot(self) -> u32 {
        low_bits(self.0, SLOT_BITS)
    }

    #[inline]
    pub(crate) fn generation(self) -> Generation {
        Generation(low_bits(self.0 >> SLOT_BITS, GENERATION_BITS))
    }

    /// The target as an odd number, which no aligned pointer is.
    #[inline]
    pub(crate) fn to_tagged(self) -> NonZeroUsize {
        NonZeroUsize::MIN | (self.0 << 1)
    }

    /// Undoes [`WakeTarget::to_tagged`]; `None` for an even number.
    #[inline]
    pub(crate) fn from_tagged(word: usize) -> Option<Self> {
        (word & 1 == 1).then_some(Self(word >> 1))
    }
}

/// Tells the tasks of a slot apart: 27 bits of a number that differs from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u32);

impl Generation {
    /// The main future's.
    pub(crate) const MAIN: Self = Self(0);

    /// The generation that [`Generation::to_bits`] gave.
    #[inline]
    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The generation as a number of 27 bits.
    #[inline]
    pub(crate) fn to_bits(self) -> u32 {
        self.0
    }

    /// The generation after this one; after the last comes the first.
    #[inline]
    pub(crate) fn next(self) -> Self {
        Self((self.0 + 1) & ((1 << GENERATION_BITS) - 1))
    }
}

/// The lowest bits of a word.
#[inline]
fn low_bits(word: usize, bits: u32) -> u32 {
    u32::try_from(word & ((1 << bits) - 1)).expect("the rest is masked away")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_last_generation_comes_the_first() {
        let last = Generation((1 << GENERATION_BITS) - 1);
        assert_eq!(last.next(), Generation(0));
        let target = WakeTarget::new(4094, (1 << SLOT_BITS) - 1, last);
        assert_eq!(target.generation(), last);
        assert_eq!(
            WakeTarget::from_tagged(target.to_tagged().get()),
            Some(target)
        );
    }

    #[test]
    fn tasks_of_a_runtime_stand_beside_its_main_future() {
        let main = WakeTarget::new(7, 0, Generation::MAIN);
        let task = main.beside(5, Generation(9));
        assert_eq!(task, WakeTarget::new(7, 5, Generation(9)));
        assert!(task.is_of(main) && main.is_of(main));
        assert!(!task.is_of(WakeTarget::new(6, 0, Generation::MAIN)));
    }
}
