//! Replays the programs that fuzzing found worth keeping, and some that are made up here.

use std::fs;
use std::ops::Range;
use std::path::Path;

use fastrand::Rng;
use runtime_stress::program::{OPERATIONS, check};

#[test]
fn the_model_agrees_with_every_program_of_the_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut programs = 0;
    for file in fs::read_dir(corpus).expect("the corpus is in the repository") {
        let path = file.expect("the corpus can be read").path();
        let code = fs::read(&path).expect("the corpus can be read");
        if let Err(panic) = check(&code) {
            panic!("{}: {panic}", path.display());
        }
        programs += 1;
    }
    assert!(programs > 20, "{programs} programs are no corpus");
}

#[test]
fn the_model_agrees_with_random_programs() {
    check_random(0..10_000, |_| (0..=u8::MAX).collect());
}

/// Few kinds of operations meet each other more often than many do.
#[test]
fn the_model_agrees_with_random_programs_of_few_kinds() {
    check_random(10_000..30_000, |random| {
        let count = random.usize(3..14);
        let kinds = random.choose_multiple(0..OPERATIONS, count);
        let bytes = 0..=u8::MAX;
        bytes
            .filter(|byte| kinds.contains(&(byte % OPERATIONS)))
            .collect()
    });
}

/// Checks a program for each seed, made of the bytes that `choose` leaves.
fn check_random(seeds: Range<u64>, choose: impl Fn(&mut Rng) -> Vec<u8>) {
    for seed in seeds {
        let mut random = Rng::with_seed(seed);
        let bytes = choose(&mut random);
        let code: Vec<u8> = (0..random.usize(1..400))
            .map(|_| bytes[random.usize(..bytes.len())])
            .collect();
        if let Err(panic) = check(&code) {
            panic!("seed {seed}: {panic}");
        }
    }
}
