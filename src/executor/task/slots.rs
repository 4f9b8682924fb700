//! The tasks of one executor by slot, and which of them are due.
//!
//! Called by `scheduler`. The run queues and the list of free slots are threaded through the slots, so a task
//! that becomes due, is spawned or ends takes no memory of its own, and no queue is ever moved.
//!
//! # Invariants
//!
//! 1. A slot is free (`FREE`, on the free list), idle (its generation alone), or due (`DUE`, in exactly one
//!    queue). So a removed slot is never queued: only an idle one may be removed.
//! 2. Slot 0 is no task's, and stands for the end of a list.
//! 3. No method of [`Slots`] calls another, or any code of others: it has the table to itself. (A `RefCell` would
//!    say the same for four instructions each time, eight of some 120 that a yield takes.)

use std::cell::UnsafeCell;

/// Bits of a slot's word besides the generation.
const DUE: u32 = 1 << 31;
const FREE: u32 = 1 << 30;

/// The end of a list.
const NONE: u32 = 0;
/// How many slots are made at a time.
const STEP: usize = 64;
/// A table of this many slots is never made smaller.
const SMALL: usize = 4096;
/// A table is never made smaller while a task has a slot from here on: a trim looks at the slots before it.
const LOW: usize = 1 << 16;

/// Which queue a due task waits in; the two take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Woken by an event, a timer or another thread.
    Event,
    /// Spawned, yielded, or woken by a task.
    Task,
}

/// The slots, with a `T` in each that is not free.
pub(crate) struct Slots<T>(UnsafeCell<Table<T>>);

struct Table<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    events: Queue,
    tasks: Queue,
    /// Whose turn it is if both queues have tasks.
    turn: Class,
    occupied: u32,
}

struct Slot<T> {
    task: Option<T>,
    /// The generation and `DUE`, or `FREE` alone.
    word: u32,
    next: u32,
}

/// A list of due slots; `head` is [`NONE`] if it is empty, and `tail` then means nothing.
#[derive(Clone, Copy)]
struct Queue {
    head: u32,
    tail: u32,
}

impl<T: Copy> Slots<T> {
    /// Makes a table without slots.
    pub(crate) fn new() -> Self {
        Self(UnsafeCell::new(Table::new()))
    }

    #[expect(clippy::mut_from_ref, reason = "invariant 3")]
    #[inline(always)]
    fn table(&self) -> &mut Table<T> {
        // SAFETY: no other reference to the table may be alive: invariant 3, and the cell is not `Sync`.
        unsafe { &mut *self.0.get() }
    }

    /// How many tasks there are.
    pub(crate) fn occupied(&self) -> u32 {
        self.table().occupied
    }

    /// Whether no task is due.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.table().is_idle()
    }

    /// The slot that the next task gets, if one is free.
    #[inline]
    pub(crate) fn vacant(&self) -> Option<u32> {
        let free = self.table().free;
        (free != NONE).then_some(free)
    }

    /// Puts a task into the slot that [`Slots::vacant`] named; it is due, behind the other tasks.
    #[inline]
    pub(crate) fn occupy(&self, task: T, generation: u32) {
        let table = self.table();
        let number = table.free;
        let slot = &mut table.slots[number as usize];
        debug_assert!(
            slot.word & FREE != 0,
            "an occupied slot is on the free list"
        );
        table.free = slot.next;
        slot.task = Some(task);
        slot.word = generation;
        table.occupied += 1;
        table.push(number, Class::Task);
    }

    /// Makes more slots, up to `limit` in all; false if there are as many.
    pub(crate) fn grow(&self, limit: u32) -> bool {
        let table = self.table();
        if table.slots.is_empty() {
            // Slot 0.
            table.slots.push(Slot::free());
        }
        let first = table.slots.len();
        if first == table.slots.capacity() {
            table.slots.reserve_exact((first / 4).max(STEP));
        }
        let end = table.slots.capacity().min(first + STEP).min(limit as usize);
        table.slots.resize_with(end.max(first), Slot::free);
        for number in (first..end).rev() {
            table.push_free(number_of(number));
        }
        end > first
    }

    /// One past the last slot.
    pub(crate) fn end(&self) -> u32 {
        number_of(self.table().slots.len())
    }

    /// Takes the task that runs next, and makes it idle: its slot, generation and the task.
    #[inline(always)]
    pub(crate) fn next_due(&self) -> Option<(u32, u32, T)> {
        let table = self.table();
        if table.events.head == NONE {
            return Table::pop(&mut table.slots, &mut table.tasks);
        }
        if table.tasks.head == NONE || table.turn == Class::Event {
            table.turn = Class::Task;
            return Table::pop(&mut table.slots, &mut table.events);
        }
        table.turn = Class::Event;
        Table::pop(&mut table.slots, &mut table.tasks)
    }

    /// Makes the task due again that ran last.
    #[inline]
    pub(crate) fn requeue(&self, number: u32) {
        let table = self.table();
        let slot = &table.slots[number as usize];
        debug_assert!(slot.word & (DUE | FREE) == 0, "it is idle");
        table.push(number, Class::Task);
    }

    /// Makes the task of a slot due, if it is idle and of this generation.
    #[inline]
    pub(crate) fn wake(&self, number: u32, generation: u32, class: Class) {
        let table = self.table();
        if let Some(slot) = table.slots.get(number as usize)
            && slot.word == generation
        {
            table.push(number, class);
        }
    }

    /// Makes whatever task is in a slot due, if it is idle.
    pub(crate) fn wake_any(&self, number: u32, class: Class) {
        let table = self.table();
        if let Some(slot) = table.slots.get(number as usize)
            && slot.word & (DUE | FREE) == 0
        {
            table.push(number, class);
        }
    }

    /// Takes an idle task out of its slot.
    #[inline]
    pub(crate) fn remove(&self, number: u32) {
        let table = self.table();
        let slot = &mut table.slots[number as usize];
        assert!(
            slot.word & (DUE | FREE) == 0,
            "a removed slot is never queued"
        );
        slot.task = None;
        table.occupied -= 1;
        table.push_free(number);
    }

    /// The task in a slot, due or not, if it is of this generation.
    pub(crate) fn get(&self, number: u32, generation: u32) -> Option<T> {
        let slot = self.table().slots.get(number as usize)?;
        slot.task.filter(|_| slot.word & !DUE == generation)
    }

    /// Takes everything out: nothing is free or due afterwards.
    pub(crate) fn take_all(&self) -> impl Iterator<Item = (u32, T)> + use<T> {
        let slots = std::mem::replace(self.table(), Table::new()).slots;
        let numbered = (NONE..).zip(slots);
        numbered.filter_map(|(number, slot)| Some((number, slot.task?)))
    }

    /// Whether the table is much larger than what it holds.
    pub(crate) fn has_excess(&self) -> bool {
        let table = self.table();
        table.slots.len() > SMALL && table.slots.len() / 4 > table.occupied as usize
    }

    /// Makes the table smaller if no task has one of its high slots; looks at no more than [`LOW`] others.
    pub(crate) fn trim(&self) {
        let table = self.table();
        let mut occupied = 0;
        let mut end = 0;
        while occupied < table.occupied || end < SMALL.max(4 * occupied as usize) {
            if end == LOW.min(table.slots.len()) {
                return;
            }
            occupied += u32::from(table.slots[end].word & FREE == 0);
            end += 1;
        }
        table.slots.truncate(end);
        table.slots.shrink_to_fit();
        table.free = NONE;
        for number in (1..end).rev() {
            if table.slots[number].word & FREE != 0 {
                table.push_free(number_of(number));
            }
        }
    }

    /// Whether a slot from `first` to `first + count` is due though no queue has any, which only a bug does.
    #[cfg(debug_assertions)]
    pub(crate) fn has_lost_one(&self, first: u32, count: usize) -> bool {
        let table = self.table();
        let slots = table.slots.iter().skip(first as usize).take(count);
        table.is_idle() && slots.into_iter().any(|slot| slot.word & DUE != 0)
    }
}

impl<T: Copy> Table<T> {
    fn new() -> Self {
        let empty = Queue {
            head: NONE,
            tail: NONE,
        };
        Self {
            slots: Vec::new(),
            free: NONE,
            events: empty,
            tasks: empty,
            turn: Class::Event,
            occupied: 0,
        }
    }

    #[inline]
    fn is_idle(&self) -> bool {
        self.tasks.head == NONE && self.events.head == NONE
    }

    #[inline(always)]
    fn pop(slots: &mut [Slot<T>], queue: &mut Queue) -> Option<(u32, u32, T)> {
        let number = queue.head;
        if number == NONE {
            return None;
        }
        let slot = &mut slots[number as usize];
        queue.head = slot.next;
        slot.word &= !DUE;
        let task = slot.task.expect("a removed slot is never queued");
        Some((number, slot.word, task))
    }

    /// Makes a slot due, at the end of a queue.
    #[inline(always)]
    fn push(&mut self, number: u32, class: Class) {
        let slot = &mut self.slots[number as usize];
        slot.word |= DUE;
        slot.next = NONE;
        let queue = match class {
            Class::Event => &mut self.events,
            Class::Task => &mut self.tasks,
        };
        if queue.head == NONE {
            queue.head = number;
        } else {
            self.slots[queue.tail as usize].next = number;
        }
        queue.tail = number;
    }

    #[inline]
    fn push_free(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        slot.word = FREE;
        slot.next = self.free;
        self.free = number;
    }
}

impl<T> Slot<T> {
    fn free() -> Self {
        Self {
            task: None,
            word: FREE,
            next: NONE,
        }
    }
}

/// What the table takes for each task.
#[cfg(test)]
pub(crate) const SLOT_SIZE: usize = size_of::<Slot<super::TaskPtr>>();

fn number_of(index: usize) -> u32 {
    u32::try_from(index).expect("slots have 24 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// What the slots should be: the tasks by slot, and the queues.
    #[derive(Default)]
    struct Model {
        tasks: Vec<Option<(u32, u64)>>,
        queues: [VecDeque<u32>; 2],
        is_tasks_turn: bool,
        serial: u64,
    }

    impl Model {
        fn is_due(&self, slot: u32) -> bool {
            self.queues.iter().any(|queue| queue.contains(&slot))
        }

        fn occupied(&self) -> impl Iterator<Item = u32> {
            (0..)
                .zip(&self.tasks)
                .filter_map(|(slot, task)| task.and(Some(slot)))
        }

        fn wake(&mut self, slot: u32, class: Class) {
            if !self.is_due(slot) {
                self.queues[class as usize].push_back(slot);
            }
        }

        fn next(&mut self) -> Option<(u32, u32, u64)> {
            let [events, tasks] = &mut self.queues;
            let is_event = !events.is_empty() && (tasks.is_empty() || !self.is_tasks_turn);
            if !events.is_empty() {
                self.is_tasks_turn = is_event;
            }
            let slot = if is_event { events } else { tasks }.pop_front()?;
            let (generation, task) = self.tasks[slot as usize].expect("a queued slot has a task");
            Some((slot, generation, task))
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Spawn(u8),
        /// Wakes one of the tasks, or one that is gone.
        Wake(usize, bool),
        WakeAny(usize, bool),
        /// Runs so many, each of which yields, stays, or ends.
        Run(Vec<u8>),
        Trim,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => (1..100_u8).prop_map(Step::Spawn),
            4 => (any::<usize>(), any::<bool>()).prop_map(|(which, event)| Step::Wake(which, event)),
            1 => (any::<usize>(), any::<bool>()).prop_map(|(which, event)| Step::WakeAny(which, event)),
            4 => vec(0..3_u8, 1..100).prop_map(Step::Run),
            1 => Just(Step::Trim),
        ]
    }

    fn class(is_event: bool) -> Class {
        if is_event { Class::Event } else { Class::Task }
    }

    fn spawn(slots: &Slots<u64>, model: &mut Model) {
        if slots.vacant().is_none() {
            assert!(slots.grow(1 << 24));
            model.tasks.resize(slots.end() as usize, None);
        }
        let slot = slots.vacant().expect("there are more now");
        assert_eq!(model.tasks[slot as usize], None);
        model.serial += 1;
        let generation = u32::try_from(model.serial).expect("a test is short");
        slots.occupy(model.serial, generation);
        model.tasks[slot as usize] = Some((generation, model.serial));
        model.wake(slot, Class::Task);
    }

    fn run(slots: &Slots<u64>, model: &mut Model, outcome: u8) {
        let next = slots.next_due();
        assert_eq!(next, model.next());
        match (next, outcome) {
            (None, _) | (_, 0) => {}
            (Some((slot, ..)), 1) => {
                slots.requeue(slot);
                model.wake(slot, Class::Task);
            }
            (Some((slot, ..)), _) => {
                slots.remove(slot);
                model.tasks[slot as usize] = None;
            }
        }
    }

    fn take(step: Step, slots: &Slots<u64>, model: &mut Model) {
        match step {
            Step::Spawn(count) => (0..count).for_each(|_| spawn(slots, model)),
            Step::Wake(which, is_event) => {
                let occupied: Vec<_> = model.occupied().collect();
                if let Some(&slot) = occupied.get(which % occupied.len().max(1)) {
                    let (generation, _) = model.tasks[slot as usize].expect("it is occupied");
                    slots.wake(slot, generation, class(is_event));
                    model.wake(slot, class(is_event));
                    // An earlier task of the slot.
                    slots.wake(slot, generation.wrapping_sub(1), class(is_event));
                }
            }
            Step::WakeAny(which, is_event) => {
                let slot = u32::try_from(which % (model.tasks.len() + 2)).expect("it is small");
                slots.wake_any(slot, class(is_event));
                if model.tasks.get(slot as usize).copied().flatten().is_some() {
                    model.wake(slot, class(is_event));
                }
            }
            Step::Run(outcomes) => outcomes
                .into_iter()
                .for_each(|outcome| run(slots, model, outcome)),
            Step::Trim => {
                slots.trim();
                // A free slot need not be the one that was freed last any more.
                let end = slots.end() as usize;
                assert!(model.tasks.drain(end..).all(|task| task.is_none()));
            }
        }
        let is_idle = model.queues.iter().all(VecDeque::is_empty);
        assert_eq!(slots.is_idle(), is_idle);
        assert_eq!(slots.occupied() as usize, model.occupied().count());
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 300, // unless `PROPTEST_CASES` says otherwise
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn slots_and_queues_agree_with_a_vector_and_two_deques(steps in vec(step(), 0..60)) {
            let (slots, mut model) = (Slots::new(), Model::default());
            for step in steps {
                take(step, &slots, &mut model);
            }
            for (slot, task) in slots.take_all() {
                assert_eq!(model.tasks[slot as usize].take().map(|(_, task)| task), Some(task));
            }
            assert!(slots.is_idle() && model.occupied().next().is_none());
        }
    }

    #[test]
    #[should_panic(expected = "a removed slot is never queued")]
    fn a_slot_that_is_queued_cannot_be_removed() {
        let slots = Slots::new();
        slots.grow(1 << 24);
        let slot = slots.vacant().expect("it has grown");
        slots.occupy('a', 1);
        slots.remove(slot);
    }

    #[test]
    fn slots_end_at_the_limit() {
        let slots = Slots::new();
        let mut count = 0;
        while slots.vacant().is_some() || slots.grow(200) {
            slots.occupy((), 1);
            count += 1;
        }
        assert_eq!((count, slots.end()), (199, 200));
    }

    #[test]
    fn a_table_that_was_much_too_large_becomes_small_unless_a_task_has_a_high_slot() {
        const LIVE: [u32; 2] = [5_000, 80_000];
        let slots = Slots::new();
        for number in 1..100_000 {
            if slots.vacant().is_none() {
                slots.grow(1 << 24);
            }
            slots.occupy(number, number);
        }
        while let Some((slot, _, number)) = slots.next_due() {
            assert_eq!(slot, number);
            if !LIVE.contains(&number) {
                slots.remove(slot);
            }
        }
        assert!(slots.has_excess());
        slots.trim();
        assert_eq!(slots.get(80_000, 80_000), Some(80_000));
        assert!(slots.has_excess(), "a high slot is in use");
        slots.remove(80_000);
        slots.trim();
        assert_eq!((slots.end(), slots.occupied()), (5_001, 1));
        assert!(slots.table().slots.capacity() < 6_000);
        // All others are free, once each, the lowest first.
        for number in (1..5_000).chain([5_001]) {
            if slots.vacant().is_none() {
                slots.grow(1 << 24);
            }
            assert_eq!(slots.vacant(), Some(number));
            slots.occupy(number, number);
        }
    }
}
