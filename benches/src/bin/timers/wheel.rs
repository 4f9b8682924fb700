//! The alternative that was used before: a hierarchical wheel that keeps deadlines to the nanosecond.
//!
//! A slot is moved whole: with many timers pending, some turns move thousands.
//!
//! Eleven levels of 64 slots cover every `u64`: a deadline stands on the level of the highest base-64
//! digit in which it differs from `elapsed`, in the slot of that digit. (Varghese and Lauck, "Hashed and
//! hierarchical timing wheels", 1987; with one level per digit the wheel is a radix heap.) Each slot
//! knows a lower bound of its deadlines, so the earliest is found without looking into slots.
//!
//! # Invariants
//!
//! 1. Every deadline on level `n` agrees with `elapsed` in all digits above `n`, and its digit `n` is the
//!    greater one (on level 0, or equal): so lower levels, and lower slots of a level, come first.
//! 2. A slot's `earliest` is at most each deadline in it.
//! 3. `elapsed` never goes back, and nothing pending is due before it.

use slab::Slab;

const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;

/// The end of a list.
const NONE: u32 = u32::MAX;

/// Names a timer until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u32);

/// The timers of one runtime, each with something to return when it fires.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    entries: Slab<Entry<T>>,
    wheel: Box<[[Slot; SLOTS]; LEVELS]>,
    /// For each level, which slots are in use.
    used: [u64; LEVELS],
    /// Which levels are in use.
    levels: u32,
    elapsed: u64,
    next_order: u32,
    /// Room for one firing's deadlines.
    due: Vec<(u64, u32, u32)>,
}

#[derive(Debug)]
struct Entry<T> {
    deadline: u64,
    /// Tells equal deadlines apart: first come, first fired.
    order: u32,
    next: u32,
    previous: u32,
    place: Option<Place>,
    /// Taken when the timer fires.
    item: Option<T>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    level: u8,
    slot: u8,
}

/// A doubly linked list of entries.
#[derive(Clone, Copy, Debug)]
struct Slot {
    earliest: u64,
    first: u32,
}

impl<T> Wheel<T> {
    /// Makes an empty wheel whose time starts at `now`.
    pub(crate) fn new(now: u64) -> Self {
        const EMPTY: Slot = Slot {
            earliest: u64::MAX,
            first: NONE,
        };
        let wheel = vec![[EMPTY; SLOTS]; LEVELS].into_boxed_slice();
        Self {
            entries: Slab::new(),
            wheel: wheel.try_into().expect("the vector has `LEVELS` elements"),
            used: [0; LEVELS],
            levels: 0,
            elapsed: now,
            next_order: 0,
            due: Vec::new(),
        }
    }

    /// Adds a timer that returns `item` when it fires.
    ///
    /// # Panics
    ///
    /// When 2^32 - 1 timers are pending.
    pub(crate) fn insert(&mut self, deadline: u64, item: T) -> Key {
        let key = self.entries.insert(Entry {
            deadline,
            order: 0,
            next: NONE,
            previous: NONE,
            place: None,
            item: Some(item),
        });
        let key = u32::try_from(key).expect("fewer than 2^32 timers are pending");
        assert_ne!(key, NONE, "fewer than 2^32 timers are pending");
        self.enqueue(key, deadline);
        Key(key)
    }

    /// Ends a timer; returns its item unless it has fired.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.unlink(key.0);
        self.entries.remove(key.0 as usize).item
    }

    fn is_empty(&self) -> bool {
        self.levels == 0
    }

    /// A time before which no timer is due, and which is the earliest deadline unless that one was
    /// removed; `None` without pending timers.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        let slot = self.used[level].trailing_zeros() as usize;
        Some(self.wheel[level][slot].earliest)
    }

    /// Fires what is due at `now`, in the order of deadlines: hands each timer's item to `fired`.
    pub(crate) fn fire(&mut self, now: u64, mut fired: impl FnMut(Key, T)) {
        if self.next_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let now = now.max(self.elapsed);
        let before = std::mem::replace(&mut self.elapsed, now);
        for level in 0..LEVELS {
            let passed = self.used[level] & passed(level, before, now);
            for slot in bits(passed) {
                self.empty(level, slot, now);
            }
        }
        let mut due = std::mem::take(&mut self.due);
        due.sort_unstable_by_key(|&(deadline, order, _)| (deadline, order));
        for (_, _, key) in due.drain(..) {
            if let Some(item) = self.entry(key).item.take() {
                fired(Key(key), item);
            }
        }
        self.due = due;
    }

    /// Moves a slot's timers to `due`, or to a lower level.
    fn empty(&mut self, level: usize, slot: usize, now: u64) {
        let mut next = std::mem::replace(&mut self.wheel[level][slot].first, NONE);
        self.mark_unused(level, slot);
        while next != NONE {
            let key = next;
            let entry = self.entry(key);
            next = entry.next;
            let (deadline, order) = (entry.deadline, entry.order);
            entry.place = None;
            if deadline <= now {
                self.due.push((deadline, order, key));
            } else {
                self.link(key, deadline);
            }
        }
    }

    fn enqueue(&mut self, key: u32, deadline: u64) {
        let order = self.next_order;
        self.next_order = order.wrapping_add(1);
        self.entry(key).order = order;
        self.link(key, deadline);
    }

    #[inline]
    fn link(&mut self, key: u32, deadline: u64) {
        let (level, slot) = place(deadline, self.elapsed);
        let list = &mut self.wheel[level][slot];
        let first = std::mem::replace(&mut list.first, key);
        if first == NONE {
            list.earliest = deadline;
            self.used[level] |= 1 << slot;
            self.levels |= 1 << level;
        } else {
            list.earliest = list.earliest.min(deadline);
            self.entry(first).previous = key;
        }
        let entry = self.entry(key);
        entry.next = first;
        entry.previous = NONE;
        entry.place = Some(Place {
            level: low_byte(level),
            slot: low_byte(slot),
        });
    }

    #[inline]
    fn unlink(&mut self, key: u32) {
        let entry = self.entry(key);
        let Some(place) = entry.place.take() else {
            return;
        };
        let (level, slot) = (usize::from(place.level), usize::from(place.slot));
        let (next, previous) = (entry.next, entry.previous);
        if next != NONE {
            self.entry(next).previous = previous;
        }
        if previous != NONE {
            self.entry(previous).next = next;
            return;
        }
        self.wheel[level][slot].first = next;
        if next == NONE {
            self.mark_unused(level, slot);
        }
    }

    fn mark_unused(&mut self, level: usize, slot: usize) {
        self.used[level] &= !(1 << slot);
        if self.used[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    #[inline]
    fn entry(&mut self, key: u32) -> &mut Entry<T> {
        &mut self.entries[key as usize]
    }
}

/// Where a deadline stands: on the level of the highest digit that differs from `elapsed`'s.
#[inline]
fn place(deadline: u64, elapsed: u64) -> (usize, usize) {
    let deadline = deadline.max(elapsed);
    let highest_bit = u64::BITS - 1 - ((deadline ^ elapsed) | 1).leading_zeros();
    let level = highest_bit / DIGIT_BITS;
    (level as usize, digit(deadline, level * DIGIT_BITS))
}

/// The slots of a level that time has reached when it goes from `before` to `now`.
fn passed(level: usize, before: u64, now: u64) -> u64 {
    let shift = DIGIT_BITS * u32::try_from(level).unwrap_or(u32::MAX);
    let above = shift + DIGIT_BITS;
    let rest = |time: u64| time.checked_shr(above).unwrap_or(0);
    if rest(before) == rest(now) {
        u64::MAX >> (SLOTS - 1 - digit(now, shift))
    } else {
        u64::MAX
    }
}

/// The base-64 digit of `time` that starts at bit `shift`.
#[inline]
fn digit(time: u64, shift: u32) -> usize {
    low_byte_of(time >> shift) % SLOTS
}

#[inline]
fn low_byte_of(value: u64) -> usize {
    usize::from(value.to_le_bytes()[0])
}

#[inline]
fn low_byte(value: usize) -> u8 {
    value.to_le_bytes()[0]
}

/// The positions of the bits that are set.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (word != 0).then(|| {
            let lowest = word.trailing_zeros() as usize;
            word &= word - 1;
            lowest
        })
    })
}
