//! The simplest alternative: one 4-ary heap of deadlines that knows where each key stands.

use slab::Slab;

const ARITY: usize = 4;

/// Pending deadlines, the earliest on top.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    /// Deadline and key; each node is not later than its four children.
    nodes: Vec<(u64, u32)>,
    /// Where each key stands in `nodes`.
    places: Slab<usize>,
}

impl Heap {
    pub(crate) fn insert(&mut self, deadline: u64) -> u32 {
        let place = self.nodes.len();
        let key = u32::try_from(self.places.insert(place)).expect("there are few timers");
        self.nodes.push((deadline, key));
        self.rise(place);
        key
    }

    pub(crate) fn remove(&mut self, key: u32) {
        let place = self.places.remove(key as usize);
        self.nodes.swap_remove(place);
        if place < self.nodes.len() {
            self.places[self.nodes[place].1 as usize] = place;
            self.rise(place);
            self.sink(place);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.nodes.first().map(|&(deadline, _)| deadline)
    }

    pub(crate) fn fire(&mut self, now: u64, mut fired: impl FnMut(u32)) {
        while let Some(&(deadline, key)) = self.nodes.first()
            && deadline <= now
        {
            self.remove(key);
            fired(key);
        }
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / ARITY;
            if self.nodes[parent].0 <= self.nodes[place].0 {
                return;
            }
            self.swap(parent, place);
            place = parent;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let first = place * ARITY + 1;
            let children = first..(first + ARITY).min(self.nodes.len());
            let Some(least) = children.min_by_key(|&child| self.nodes[child].0) else {
                return;
            };
            if self.nodes[place].0 <= self.nodes[least].0 {
                return;
            }
            self.swap(place, least);
            place = least;
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.nodes.swap(one, other);
        self.places[self.nodes[one].1 as usize] = one;
        self.places[self.nodes[other].1 as usize] = other;
    }
}
