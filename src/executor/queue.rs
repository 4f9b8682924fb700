//! The run queue: a ring of slots, first come first served.
//!
//! Called by `executor`. A `VecDeque` would do; this one spends half the instructions on a push and a
//! pop, which every poll pays (see `docs/decisions.md`).
//!
//! # Invariants
//!
//! 1. The ring's length is a power of two, and `tail - head` (wrapping) is at most that.

/// A queue of slots.
#[derive(Debug)]
pub(super) struct Queue {
    ring: Box<[u32]>,
    /// Counts pops.
    head: u32,
    /// Counts pushes.
    tail: u32,
}

impl Queue {
    const FIRST_LENGTH: usize = 64;

    pub(super) fn new() -> Self {
        Self {
            ring: vec![0; Self::FIRST_LENGTH].into_boxed_slice(),
            head: 0,
            tail: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tail.wrapping_sub(self.head) as usize
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    #[inline]
    pub(super) fn push(&mut self, slot: u32) {
        if self.len() == self.ring.len() {
            self.grow();
        }
        let place = self.place(self.tail);
        self.ring[place] = slot;
        self.tail = self.tail.wrapping_add(1);
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        let slot = self.ring[self.place(self.head)];
        self.head = self.head.wrapping_add(1);
        Some(slot)
    }

    pub(super) fn clear(&mut self) {
        self.head = self.tail;
    }

    #[inline]
    fn place(&self, count: u32) -> usize {
        count as usize & (self.ring.len() - 1)
    }

    #[cold]
    fn grow(&mut self) {
        let mut ring = vec![0; self.ring.len() * 2].into_boxed_slice();
        let length = self.len();
        for slot in &mut ring[..length] {
            *slot = self.ring[self.place(self.head)];
            self.head = self.head.wrapping_add(1);
        }
        self.ring = ring;
        self.head = 0;
        self.tail = u32::try_from(length).expect("slots have 24 bits, and each is queued once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn slots_come_out_in_the_order_in_which_they_went_in() {
        proptest::proptest!(|(steps in proptest::collection::vec(0..3_u32, 0..2000), start: u32)| {
            let mut queue = Queue::new();
            (queue.head, queue.tail) = (start, start);
            let mut model = VecDeque::new();
            for (number, step) in (0..).zip(steps) {
                if step > 0 {
                    queue.push(number);
                    model.push_back(number);
                } else {
                    assert_eq!(queue.pop(), model.pop_front());
                }
                assert_eq!(queue.len(), model.len());
                assert_eq!(queue.is_empty(), model.is_empty());
            }
        });
    }
}
