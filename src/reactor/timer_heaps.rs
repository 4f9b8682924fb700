//! Pending deadlines: 4-ary heaps, one for each magnitude of the time that was left at insertion.
//!
//! Called by `reactor`; knows neither clocks nor wakers, only numbers and what is stored under them.
//!
//! Heap `n` takes the timers that were due in 2^n to 2^(n+1) nanoseconds when they were set. So the short ones, of which most
//! are made, do not sift through the long ones, of which most are pending. The earliest deadline is the least of the roots.
//! Setting, resetting, removing and firing a timer each move at most as many nodes as its heap has levels; nothing else moves any.
//!
//! # Invariants
//!
//! 1. No node is before its parent in its heap.
//! 2. A slot has an item exactly while there is a node with its key, and then says where that is.
//! 3. A bit of `used` is set exactly while that heap has nodes.
//! 4. `vacant` has each vacant slot once, and perhaps such as were dropped since; slots are added only when it is empty.
//! 5. `elapsed` never goes back, and is never ahead of the clock.

/// The children of a node are 64 bytes.
const ARITY: usize = 4;
const HEAPS: usize = u64::BITS as usize;

/// Memory for so many timers is never given back: 192 KiB. Beyond it at most twice what is in use is kept.
const KEPT: usize = if cfg!(test) { 8 } else { 4096 };

/// The order of the first timer: in tests, the counter soon wraps.
const FIRST_ORDER: u32 = if cfg!(test) { u32::MAX - 20 } else { 0 };

/// Memory is given back after so many removals, and as many vacant slots are looked for then, four for each.
const BETWEEN_TRIMS: u8 = if cfg!(test) { 4 } else { 32 };

/// In place of a heap: the timer was removed.
const VACANT: u8 = u8::MAX;

/// Names a timer until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u32);

/// The timers of one runtime, each with something to return when it fires.
#[derive(Debug)]
pub(crate) struct TimerHeaps<T> {
    slots: Vec<Slot<T>>,
    /// What may be vacant in `slots`, the latest last.
    vacant: Vec<u32>,
    /// How many slots are not vacant.
    len: u32,
    /// Counts them, to begin again at 256.
    removals: u8,
    /// Down to where `vacant` was last searched.
    swept: usize,
    next_order: u32,
    heaps: Box<[Vec<Node>; HEAPS]>,
    /// Which heaps have nodes.
    used: u64,
    /// The latest time that is known: distances are measured from it.
    elapsed: u64,
}

/// What a key names.
#[derive(Debug)]
struct Slot<T> {
    /// Taken when the timer fires.
    item: Option<T>,
    position: u32,
    /// Or `VACANT`.
    heap: u8,
}

/// A timer in a heap.
#[derive(Clone, Copy, Debug)]
struct Node {
    deadline: u64,
    /// Tells equal deadlines apart: first come, first fired.
    order: u32,
    key: u32,
}

impl Node {
    /// Deadline and age as one number. `newest` is the order that the next timer will get: the counter may have wrapped, but once
    /// at most in a timer's life.
    #[inline]
    fn rank(self, newest: u32) -> u128 {
        let order = self.order.wrapping_sub(newest);
        u128::from(self.deadline) << 64 | u128::from(order)
    }
}

impl<T> TimerHeaps<T> {
    /// Makes empty heaps whose time starts at `now`.
    pub(crate) fn new(now: u64) -> Self {
        Self {
            slots: Vec::new(),
            vacant: Vec::new(),
            len: 0,
            removals: 0,
            swept: 0,
            next_order: FIRST_ORDER,
            heaps: Box::new([const { Vec::new() }; HEAPS]),
            used: 0,
            elapsed: now,
        }
    }

    /// Says that it is at least `now`: what is set then goes into the heap of its distance from there.
    #[inline]
    pub(crate) fn advance(&mut self, now: u64) {
        self.elapsed = self.elapsed.max(now);
    }

    /// Adds a timer that returns `item` when it fires.
    ///
    /// # Panics
    ///
    /// When 2^32 timers are pending.
    #[inline(always)] // 44 instructions of 377, together with `remove`
    pub(crate) fn insert(&mut self, deadline: u64, item: T) -> Key {
        let vacant = self.vacant_slot();
        let key = vacant.unwrap_or_else(|| {
            let key = u32::try_from(self.slots.len());
            key.expect("at most 2^32 timers are pending")
        });
        let (heap, position) = self.push(key, deadline);
        let slot = Slot {
            item: Some(item),
            position,
            heap,
        };
        match vacant {
            Some(key) => self.slots[key as usize] = slot,
            None => self.slots.push(slot),
        }
        self.len += 1;
        self.let_rise(heap, position);
        Key(key)
    }

    /// Gives a timer that has not fired another deadline.
    pub(crate) fn reset(&mut self, key: Key, deadline: u64) {
        let slot = &self.slots[key.0 as usize];
        if slot.item.is_some() {
            self.unlink(slot.heap, slot.position);
            let (heap, position) = self.push(key.0, deadline);
            let slot = &mut self.slots[key.0 as usize];
            (slot.heap, slot.position) = (heap, position);
            self.let_rise(heap, position);
        }
    }

    /// Ends a timer; returns its item unless it has fired.
    #[inline(always)]
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = &mut self.slots[key.0 as usize];
        let (item, heap, position) = (slot.item.take(), slot.heap, slot.position);
        slot.heap = VACANT;
        self.vacant.push(key.0);
        self.len -= 1;
        if item.is_some() {
            self.unlink(heap, position);
        }
        self.removals = self.removals.wrapping_add(1);
        if self.removals.is_multiple_of(BETWEEN_TRIMS) || (self.len == 0 && self.slots.len() > KEPT)
        {
            self.trim();
        }
        item
    }

    /// What the timer will return; `None` once it has fired.
    pub(crate) fn item(&mut self, key: Key) -> Option<&mut T> {
        self.slots[key.0 as usize].item.as_mut()
    }

    /// Takes the items of all timers that have not fired; none will fire any more.
    pub(crate) fn take_items(&mut self) -> impl Iterator<Item = T> + '_ {
        self.heaps.fill_with(Vec::new);
        self.used = 0;
        self.slots.iter_mut().filter_map(|slot| slot.item.take())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// How many timers there are, also such as have fired and were not removed yet.
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// The earliest deadline; `None` without pending timers.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.roots().map(|(root, _)| root.deadline).min()
    }

    /// Fires the timer that is due first, if one is due at `now`: it stays, without its item, until it is removed.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(Key, T)> {
        self.advance(now);
        let newest = self.next_order;
        let (root, heap) = self.roots().min_by_key(|(root, _)| root.rank(newest))?;
        if root.deadline > self.elapsed {
            return None;
        }
        let slot = &mut self.slots[root.key as usize];
        let item = slot.item.take()?;
        self.unlink(heap, 0);
        Some((Key(root.key), item))
    }

    #[inline]
    fn roots(&self) -> impl Iterator<Item = (Node, u8)> {
        let mut left = self.used;
        std::iter::from_fn(move || {
            let heap = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            let root = self.heaps.get(heap as usize)?.first()?;
            Some((*root, low_byte(heap)))
        })
    }

    /// Takes the latest vacant slot, if there is one.
    #[inline]
    fn vacant_slot(&mut self) -> Option<u32> {
        loop {
            let key = self.vacant.pop()?;
            if (key as usize) < self.slots.len() {
                return Some(key);
            }
        }
    }

    /// Drops some vacant slots from the end, or all, and gives memory back.
    #[cold]
    fn trim(&mut self) {
        for _ in 0..4 * BETWEEN_TRIMS {
            if self.slots.last().is_none_or(|slot| slot.heap != VACANT) {
                break;
            }
            self.slots.pop();
        }
        if self.vacant.len() > KEPT {
            self.sweep();
        }
        if self.len == 0 {
            self.slots.clear();
            self.vacant.clear();
        }
        give_back(&mut self.slots);
        give_back(&mut self.vacant);
        for nodes in self.heaps.iter_mut() {
            give_back(nodes);
        }
    }

    /// Forgets some of the vacant slots that were dropped.
    fn sweep(&mut self) {
        for _ in 0..4 * BETWEEN_TRIMS {
            let length = self.vacant.len();
            self.swept = self.swept.min(length).checked_sub(1).unwrap_or(length);
            let key = self.vacant.get(self.swept);
            if key.is_some_and(|&key| key as usize >= self.slots.len()) {
                self.vacant.swap_remove(self.swept);
            }
        }
    }

    /// Puts a timer at the end of the heap of its distance; returns which that is, and where it stands.
    #[inline]
    fn push(&mut self, key: u32, deadline: u64) -> (u8, u32) {
        // What is overdue queues behind the others that are due: set again and again, it would keep them waiting.
        let deadline = deadline.max(self.elapsed);
        let heap = ((deadline - self.elapsed) | 1).ilog2();
        let order = self.next_order;
        self.next_order = order.wrapping_add(1);
        self.used |= 1 << heap;
        let nodes = &mut self.heaps[heap as usize];
        let position = low_half(nodes.len());
        nodes.push(Node {
            deadline,
            order,
            key,
        });
        (low_byte(heap), position)
    }

    /// Moves the node that came last up to where it belongs.
    #[inline]
    fn let_rise(&mut self, heap: u8, position: u32) {
        let nodes = &mut self.heaps[usize::from(heap)];
        let position = position as usize;
        // What is due at the same time came before it.
        let is_before = |one: Node, other: Node| one.deadline < other.deadline;
        let node = nodes[position];
        if position > 0 && is_before(node, nodes[(position - 1) / ARITY]) {
            rise(nodes, &mut self.slots, position, node, is_before);
        }
    }

    /// Takes a node out of a heap.
    #[inline]
    fn unlink(&mut self, heap: u8, position: u32) {
        let nodes = &mut self.heaps[usize::from(heap)];
        let Some(last) = nodes.pop() else { return };
        if position as usize != nodes.len() {
            self.fill_gap(heap, position as usize, last);
        } else if position == 0 {
            self.used &= !(1 << heap);
        }
    }

    /// Puts the node that was the last of a heap where another was taken out.
    fn fill_gap(&mut self, heap: u8, position: usize, last: Node) {
        let nodes = &mut self.heaps[usize::from(heap)];
        let newest = self.next_order;
        let is_before = |one: Node, other: Node| one.rank(newest) < other.rank(newest);
        if position > 0 && is_before(last, nodes[(position - 1) / ARITY]) {
            rise(nodes, &mut self.slots, position, last, is_before);
        } else {
            sink(nodes, &mut self.slots, position, last, is_before);
        }
    }
}

/// Gives memory back, a part of it at a time, when there is more than twice what is in use.
#[inline]
fn give_back<E>(list: &mut Vec<E>) {
    if list.capacity() > 2 * list.len() + KEPT {
        list.shrink_to(list.len() + list.len() / 2 + KEPT / 2);
    }
}

#[inline]
fn low_byte(value: u32) -> u8 {
    value.to_le_bytes()[0]
}

/// A position: there are at most as many as keys.
#[inline]
fn low_half(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// Puts `node` where `position` is, or where one of the nodes above it was.
fn rise<T>(
    nodes: &mut [Node],
    slots: &mut [Slot<T>],
    mut position: usize,
    node: Node,
    is_before: impl Fn(Node, Node) -> bool,
) {
    while position > 0 {
        let above = (position - 1) / ARITY;
        let parent = nodes[above];
        if !is_before(node, parent) {
            break;
        }
        put(nodes, slots, position, parent);
        position = above;
    }
    put(nodes, slots, position, node);
}

/// Puts `node` where `position` is, or where one of the nodes below it was.
fn sink<T>(
    nodes: &mut [Node],
    slots: &mut [Slot<T>],
    mut position: usize,
    node: Node,
    is_before: impl Fn(Node, Node) -> bool,
) {
    loop {
        let first = position * ARITY + 1;
        let last = nodes.len().min(first + ARITY);
        let Some((mut below, mut least)) = nodes.get(first).map(|&child| (first, child)) else {
            break;
        };
        for (child, &other) in (first + 1..).zip(&nodes[first + 1..last]) {
            if is_before(other, least) {
                (below, least) = (child, other);
            }
        }
        if !is_before(least, node) {
            break;
        }
        put(nodes, slots, position, least);
        position = below;
    }
    put(nodes, slots, position, node);
}

/// Puts `node` where `position` is, and tells its slot.
#[inline]
fn put<T>(nodes: &mut [Node], slots: &mut [Slot<T>], position: usize, node: Node) {
    #[cfg(test)]
    tests::MOVES.set(tests::MOVES.get() + 1);
    nodes[position] = node;
    slots[node.key as usize].position = low_half(position);
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How many nodes were put somewhere, by insertions and removals.
        pub(super) static MOVES: Cell<usize> = const { Cell::new(0) };
    }

    fn fired(timers: &mut TimerHeaps<u32>, now: u64) -> Vec<u32> {
        std::iter::from_fn(|| timers.pop_due(now))
            .map(|(_, item)| item)
            .collect()
    }

    /// Marsaglia's xorshift.
    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    /// `count` deadlines, evenly spread over `span`, in random order.
    fn shuffled(count: u64, span: u64) -> Vec<u64> {
        let mut deadlines = Vec::from_iter((1..=count).map(|number| number * (span / count)));
        let mut state = 0x9E37_79B9_7F4A_7C15;
        for last in (1..deadlines.len()).rev() {
            let other = random(&mut state) % (last as u64 + 1);
            deadlines.swap(last, usize::try_from(other).unwrap());
        }
        deadlines
    }

    #[test]
    fn a_turn_moves_no_more_nodes_than_lie_on_the_ways_of_those_that_it_fires() {
        const COUNT: u64 = 100_000;
        const SECOND: u64 = 1_000_000_000;
        let mut timers = TimerHeaps::new(0);
        for deadline in shuffled(COUNT, SECOND) {
            timers.insert(deadline, 0);
        }
        // Four to the ninth power is more than a hundred thousand.
        let levels = 9;
        let (mut left, mut turns) = (timers.len(), 0);
        while let Some(now) = timers.next_deadline() {
            MOVES.set(0);
            let mut fired = 0;
            // A turn comes late, so that some 16 are due.
            while let Some((key, _)) = timers.pop_due(now + 150_000) {
                timers.remove(key);
                fired += 1;
            }
            assert!(fired > 0, "an exact deadline passed in vain");
            let moves = MOVES.get();
            assert!(
                moves <= fired * levels,
                "{moves} moves to fire {fired} at {now}"
            );
            left -= fired;
            turns += 1;
        }
        assert_eq!(left, 0);
        assert!(turns > 5000, "{turns}");
    }

    #[test]
    fn memory_is_given_back_in_whatever_order_timers_end() {
        let ends: [fn(&mut Vec<Key>) -> Key; 3] = [
            |keys| keys.pop().unwrap(),
            |keys| keys.remove(0),
            |keys| keys.swap_remove(keys.len() / 2),
        ];
        for end in ends {
            for is_one_left in [false, true] {
                let mut timers = TimerHeaps::new(0);
                let first = timers.insert(1, 0);
                let deadlines = shuffled(2000, 1 << 40);
                let mut keys = Vec::from_iter(deadlines.iter().map(|&at| timers.insert(at, 0)));
                if !is_one_left {
                    timers.remove(first);
                }
                while !keys.is_empty() {
                    timers.remove(end(&mut keys));
                }
                if is_one_left {
                    // What lay before the last to end goes with the next ones.
                    for _ in 0..2000 {
                        let key = timers.insert(2, 0);
                        timers.remove(key);
                    }
                }
                let slots = timers.slots.capacity() + timers.vacant.capacity();
                let nodes = timers.heaps.iter().map(Vec::capacity).max();
                assert!(slots <= 4 * KEPT, "{slots}");
                assert!(nodes <= Some(2 * KEPT), "{nodes:?}");
            }
        }
    }

    #[test]
    fn a_timer_fires_at_its_nanosecond_and_not_before() {
        let mut timers = TimerHeaps::new(0);
        timers.insert(1_000_000_007, 1);
        assert_eq!(timers.next_deadline(), Some(1_000_000_007));
        assert_eq!(fired(&mut timers, 1_000_000_006), []);
        assert_eq!(fired(&mut timers, 1_000_000_007), [1]);
        assert!(timers.is_empty());
    }

    #[test]
    fn equal_deadlines_fire_in_the_order_of_insertion_whatever_their_level() {
        let mut timers = TimerHeaps::new(0);
        timers.insert(1 << 40, 1);
        timers.insert(5, 0);
        assert_eq!(fired(&mut timers, (1 << 40) - 3), [0]);
        timers.insert(1 << 40, 2);
        timers.insert(1 << 40, 3);
        assert_eq!(fired(&mut timers, 1 << 40), [1, 2, 3]);
    }

    #[test]
    fn a_deadline_in_the_past_is_due_at_once() {
        let mut timers = TimerHeaps::new(0);
        timers.insert(1000, 1);
        assert_eq!(fired(&mut timers, 1000), [1]);
        for item in [2, 3, 4] {
            timers.insert(1000 - u64::from(item), item);
        }
        assert_eq!(timers.next_deadline(), Some(1000));
        assert_eq!(
            fired(&mut timers, 1000),
            [2, 3, 4],
            "first come, first fired"
        );
    }

    #[test]
    fn the_last_nanosecond_of_the_clock_is_a_deadline_like_others() {
        let mut timers = TimerHeaps::new(0);
        timers.insert(u64::MAX, 1);
        assert_eq!(fired(&mut timers, u64::MAX - 1), []);
        assert_eq!(fired(&mut timers, u64::MAX), [1]);
    }

    #[test]
    fn a_fired_timer_stays_until_it_is_removed() {
        let mut timers = TimerHeaps::new(0);
        let key = timers.insert(10, 1);
        assert_eq!(fired(&mut timers, 10), [1]);
        assert!(timers.item(key).is_none());
        timers.reset(key, 20);
        assert_eq!(fired(&mut timers, 20), []);
        assert_eq!(timers.remove(key), None);
    }
}
