//! One fault a life: each call fails once, at each of its places in turn, with each error it may have.

use std::fs;
use std::path::Path;
use std::thread;

use super::alone;
use super::common::{LIMIT, open_fds, within};
use super::journal::{Journal, Outcome};
use super::life::live;
use super::script::{self, Call, Fault, Script, Tally};
use super::table::TABLE;

/// No call of a life has so many places.
const PLACES: u32 = 1000;

/// A life waits about thirty times; one in which the loop spins does so for milliseconds.
const WAITS: u32 = 120;

/// Lives once on a thread that bears the name of what is tried, so that whoever reports a failure names it.
pub(super) fn lived(name: &str, script: Script, outcome: Outcome) -> Tally {
    let before = open_fds();
    let life = move || {
        within(LIMIT, || {
            script::follow(script);
            let journal = Journal::new(outcome);
            live(&journal);
            script::tally()
        })
    };
    let thread = thread::Builder::new().name(name.to_owned());
    let tally = thread
        .spawn(life)
        .expect("there is room for a thread")
        .join();
    let tally = tally.unwrap_or_else(|_| panic!("`{name}` ended in a panic"));
    assert_eq!(open_fds(), before, "`{name}` left descriptors open");
    let waits = tally.made(Call::EpollWait);
    assert!(
        waits < WAITS,
        "`{name}` made the loop go round {waits} times"
    );
    tally
}

/// What is called of libc and cannot fail, or only for want of memory.
const NEVER_FAIL: &[&str] = &["clock_gettime", "mmap", "munmap", "pthread_atfork"];

#[test]
fn every_function_of_libc_that_the_source_calls_is_interposed() {
    let _alone = alone();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sys");
    let mut calls = 0;
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for rest in text.split("libc::").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let (name, rest) = rest.split_at(end.unwrap_or(rest.len()));
            if rest.starts_with('(') && !NEVER_FAIL.contains(&name) {
                let definition = format!("fn {name}(");
                assert!(
                    include_str!("interposed.rs").contains(&definition),
                    "{name}"
                );
                calls += 1;
            }
        }
    }
    assert!(calls > 10, "the source was not found");
}

#[test]
fn a_life_without_faults_makes_every_call() {
    let _alone = alone();
    let tally = lived("no fault", Script::EMPTY, Outcome::Mended);
    for call in Call::all() {
        println!("{call}: {}", tally.made(call));
        assert!(
            tally.made(call) > 0,
            "{call} is not intercepted, or not in the life"
        );
    }
}

#[test]
fn each_fault_at_each_call_is_made_good_or_told_to_its_caller() {
    let _alone = alone();
    let mut faults = 0;
    for row in TABLE {
        if !Call::all().any(|call| call == row.call) {
            continue;
        }
        for &errno in row.errors {
            let fault = Fault {
                call: row.call,
                errno,
                way: row.way,
            };
            let places = swept(fault, row.outcome);
            println!("{fault}: {places} places, {:?}", row.outcome);
            assert!(places > 0, "{fault} has not come");
            faults += places;
        }
    }
    println!("{faults} faults, one a life");
}

/// Lets a fault come at each place; returns how many there are.
fn swept(fault: Fault, outcome: Outcome) -> u32 {
    for place in 0..PLACES {
        let name = format!("no. {place} of {fault}");
        if lived(&name, Script::once(fault, place), outcome).injected == 0 {
            // That life was one without a fault, after all the others.
            return place;
        }
    }
    panic!("{fault} has more places than {PLACES}");
}
