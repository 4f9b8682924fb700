//! Wakers that are values: a word that says which task of which runtime, and nothing to count.
//!
//! Called by whoever holds a `Waker`, on any thread; calls `executor` on the task's own thread and
//! `remote` from anywhere else.
//!
//! # Invariants
//!
//! 1. The data pointer of a waker of ours is an [`Address`], never a pointer to memory; so cloning,
//!    dropping and outliving task and runtime cannot go wrong.

#![expect(
    unsafe_code,
    reason = "a `RawWaker` promises what the compiler cannot check"
)]

use std::mem::ManuallyDrop;
use std::ptr;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::join::Id;
use super::{local, remote};

const SLOT_BITS: u32 = 24;
const GENERATION_BITS: u32 = 27;
const RUNTIME_SHIFT: u32 = SLOT_BITS + GENERATION_BITS;

const _: () = assert!(remote::MAX_SLOTS <= 1 << SLOT_BITS);
/// The top bit is left over, see [`Address::odd`].
const _: () = assert!(remote::MAX_RUNTIMES < 1 << (usize::BITS - 1 - RUNTIME_SHIFT));

/// Which task of which runtime, in one word: runtime number, generation, slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(usize);

impl Address {
    /// No task's address: the table has no place for this runtime number.
    pub(crate) const NOBODY: Self = Self(usize::MAX);

    /// The address of the task in `slot`; a later tenant of the slot has another generation.
    #[inline]
    pub(crate) fn new(runtime: u16, slot: u32, generation: Generation) -> Self {
        Self(
            usize::from(runtime) << RUNTIME_SHIFT
                | (generation.0 as usize) << SLOT_BITS
                | slot as usize,
        )
    }

    pub(crate) fn runtime(self) -> u16 {
        low_u16(self.0 >> RUNTIME_SHIFT)
    }

    pub(crate) fn slot(self) -> u32 {
        low_bits(self.0, SLOT_BITS)
    }

    pub(crate) fn generation(self) -> Generation {
        Generation(low_bits(self.0 >> SLOT_BITS, GENERATION_BITS))
    }

    /// Makes the task due; on the wrong thread, or late, that is allowed too.
    #[inline]
    pub(crate) fn wake(self) {
        let is_ours = local::with(|current| match current {
            Some(executor) if executor.number() == self.runtime() => {
                executor.wake(self);
                true
            }
            _ => false,
        });
        if !is_ours {
            remote::wake(self.runtime(), self.slot());
        }
    }

    /// The waker of the task; it needs no drop.
    #[inline]
    pub(crate) fn waker(self) -> ManuallyDrop<Waker> {
        // SAFETY: the vtable's functions must be thread-safe and own nothing that a clone or a drop
        // could get wrong: they only read the address (invariant 1).
        ManuallyDrop::new(unsafe { Waker::from_raw(self.raw()) })
    }

    /// The same waker for keeping.
    #[inline]
    pub(super) fn to_waker(self) -> Waker {
        Waker::clone(&self.waker())
    }

    /// The address that a waker holds, if it is ours.
    #[inline]
    pub(super) fn of(waker: &Waker) -> Option<Self> {
        ptr::eq(waker.vtable(), &raw const VTABLE).then(|| Self(waker.data().addr()))
    }

    /// The address as an odd number, which no pointer to a waker is.
    #[inline]
    pub(super) fn odd(self) -> usize {
        self.0 << 1 | 1
    }

    /// Undoes [`Address::odd`].
    #[inline]
    pub(super) fn from_odd(word: usize) -> Option<Self> {
        (word & 1 == 1).then_some(Self(word >> 1))
    }

    #[inline]
    fn raw(self) -> RawWaker {
        RawWaker::new(ptr::without_provenance(self.0), &VTABLE)
    }
}

/// Tells the tenants of a slot apart: the low bits of the task's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u32);

impl Generation {
    /// The main future's.
    pub(crate) const MAIN: Self = Self(0);

    #[expect(
        clippy::cast_possible_truncation,
        reason = "`usize` has 64 bits, or the crate does not compile"
    )]
    #[inline]
    pub(crate) fn of(id: Id) -> Self {
        Self(low_bits(id.0.get() as usize, GENERATION_BITS))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the rest is masked away")]
const fn low_bits(word: usize, bits: u32) -> u32 {
    (word & ((1 << bits) - 1)) as u32
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a runtime's number has 12 bits"
)]
const fn low_u16(word: usize) -> u16 {
    word as u16
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| Address(data.addr()).raw(),
    |data| Address(data.addr()).wake(),
    |data| Address(data.addr()).wake(),
    |_| (),
);
