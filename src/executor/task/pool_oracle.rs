//! The pool against a list of what is live, step by step.
//!
//! One thread allocates and frees, as tasks and their handles never leave it, so there is nothing for a model
//! of threads to order.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashMap;

/// Blocks of few sizes, so that chunks fill, empty and change their class.
const SIZES: [usize; 5] = [16, 56, 1024, 5000, 8192];

fn id() -> RuntimeId {
    RuntimeId::from_bits(1).expect("it is not zero")
}

#[test]
fn every_size_has_the_smallest_class_that_holds_it() {
    for size in 1..=MAX_SIZE {
        let class = class_of_size(size);
        assert!(size_of_class(class) >= size, "{size}");
        assert!(class == 0 || size_of_class(class - 1) < size, "{size}");
        let waste = size_of_class(class) - size;
        assert!(waste < 8 || waste * 8 < size, "{waste} bytes for {size}");
    }
    assert_eq!(class_of_size(MAX_SIZE) + 1, CLASSES);
}

#[test]
fn huge_and_strangely_aligned_blocks_are_not_pooled() {
    let layout = |size, align| Layout::from_size_align(size, align).expect("it is one");
    assert!(class_of(layout(MAX_SIZE + 8, 8)).is_none());
    assert!(class_of(layout(128, 128)).is_none());
    assert!(class_of(layout(320, 64)).is_some());
    assert!(class_of(layout(272, 16)).is_some());
    // Its class would have blocks at multiples of 288.
    assert!(class_of(layout(288, 64)).is_none());
}

/// How many blocks one step allocates or frees at most, and how many steps there are.
const MOST: usize = if cfg!(miri) { 10 } else { 200 };
const STEPS: usize = if cfg!(miri) { 30 } else { 60 };

/// What is live: by address, the size and the byte that fills it.
#[derive(Default)]
struct Model {
    live: Vec<(NonNull<u8>, usize, u8)>,
    fill: u8,
}

impl Model {
    fn allocate(&mut self, pool: &Pool, size: usize) {
        let class = class_of(Layout::from_size_align(size, 8).expect("it is one"));
        let block = pool.allocate(class.expect("it is pooled"));
        self.fill = self.fill.wrapping_add(1);
        // SAFETY: it must be valid for writing `size` bytes: it was allocated for as many.
        unsafe { block.write_bytes(self.fill, size) };
        self.live.push((block, size, self.fill));
    }

    fn free(&mut self, index: usize) {
        let (block, size, fill) = self.live.swap_remove(index % self.live.len());
        // SAFETY: it must be valid for reading `size` bytes: they were written.
        let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), size) };
        assert!(bytes == vec![fill; size], "blocks overlap");
        // SAFETY: it came from the pool, and the model forgets it.
        unsafe { free(block) };
    }
}

/// Chunks that have blocks out, by the model.
fn chunks(model: &Model) -> HashMap<usize, u32> {
    let mut used = HashMap::new();
    for (block, ..) in &model.live {
        *used.entry(block.addr().get() / CHUNK).or_insert(0) += 1;
    }
    used
}

fn check(pool: &Pool, model: &Model) {
    let used = chunks(model);
    for &(block, ..) in &model.live {
        let chunk = chunk_of(block);
        let is_current = chunk.list().current.get() == Some(chunk);
        let expected = used[&(block.addr().get() / CHUNK)] + u32::from(is_current);
        assert_eq!(chunk.used.get(), expected);
    }
    let most = KEPT + pool.0.learned.get();
    assert!(pool.0.room.get() <= most);
    let current = pool.0.classes.iter();
    let current = current.filter_map(|class| class.current.get());
    let idle = current.filter(|chunk| chunk.used.get() == 1).count();
    let owners = 1 + used.len() + idle + (most - pool.0.room.get()) as usize;
    assert_eq!(Rc::strong_count(&pool.0), owners, "a chunk is lost");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40, // unless `PROPTEST_CASES` says otherwise
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn blocks_never_overlap_and_every_chunk_is_accounted_for(
        steps in vec((0..4_u8, 0..SIZES.len(), 1..MOST), 0..STEPS),
    ) {
        let pool = Pool::new(id());
        let mut model = Model::default();
        for (step, size, count) in steps {
            for index in 0..count {
                match step {
                    0 | 1 => model.allocate(&pool, SIZES[size]),
                    _ if model.live.is_empty() => {}
                    2 => model.free(index * 7919),
                    _ => model.free(0),
                }
            }
            if step == 3 && count < 10 {
                pool.trim();
                assert_eq!(pool.0.room.get(), KEPT);
            }
            check(&pool, &model);
        }
        // The pool goes first: each chunk is left to its last block, and the shared part to its last chunk.
        let shared = Rc::clone(&pool.0);
        drop(pool);
        while !model.live.is_empty() {
            assert_eq!(Rc::strong_count(&shared), 1 + chunks(&model).len());
            model.free(7919);
        }
        assert_eq!(Rc::strong_count(&shared), 1);
    }
}

#[test]
fn at_most_a_mebibyte_of_empty_chunks_is_kept_and_none_after_a_trim() {
    let pool = Pool::new(id());
    let mut model = Model::default();
    for _ in 0..100_000 {
        model.allocate(&pool, 56);
    }
    while !model.live.is_empty() {
        model.free(0);
    }
    assert_eq!((KEPT - pool.0.room.get()) as usize * CHUNK, 1 << 20);
    check(&pool, &model);
    pool.trim();
    assert!(!pool.has_excess());
    check(&pool, &model);
}

#[test]
fn a_burst_that_follows_one_as_large_finds_its_memory_until_the_pool_is_trimmed() {
    let pool = Pool::new(id());
    let mut model = Model::default();
    let kept = || {
        let chunks = std::iter::successors(pool.0.empty.get(), |chunk| chunk.next.get());
        chunks.count()
    };
    for (burst, is_trimmed) in [(0, false), (1, false), (2, true), (3, false)] {
        for _ in 0..10_000 {
            model.allocate(&pool, 1024);
        }
        let used = chunks(&model).len();
        while !model.live.is_empty() {
            model.free(0);
        }
        // The current one is kept as well.
        let expected = if burst % 3 == 0 {
            KEPT as usize
        } else {
            used - 1
        };
        assert_eq!(kept(), expected, "after burst {burst}");
        if is_trimmed {
            pool.trim();
            assert_eq!(kept(), 0);
        }
    }
    check(&pool, &model);
}
