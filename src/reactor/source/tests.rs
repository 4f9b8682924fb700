//! What a source knows and says, one rule at a time.

use super::*;
use crate::remote::Generation;

fn waker(slot: u32) -> StoredWaker {
    StoredWaker::Target(WakeTarget::new(1, slot, Generation::MAIN))
}

fn watching(directions: Directions) -> Source {
    let mut source = Source::new(0, -1, Trigger::Edge);
    source.set_watched(directions);
    source
}

/// Takes in an event; returns the slots of those that it wakes.
fn woken_by(source: &mut Source, event: Flags) -> Vec<u32> {
    let mut woken = Vec::new();
    source.on_event(event, |waker| woken.push(slot(&waker)));
    woken
}

fn slot(waker: &StoredWaker) -> u32 {
    match waker {
        StoredWaker::Target(target) => target.slot(),
        StoredWaker::Foreign(_) => panic!("it is none of ours"),
    }
}

#[test]
fn an_unwatched_direction_counts_as_ready() {
    let source = watching(Directions::READ);
    assert!(!source.is_ready(Direction::Read));
    assert!(source.is_ready(Direction::Write));
}

#[test]
fn what_leaves_the_set_counts_as_ready_and_what_comes_back_waits_for_its_event() {
    let mut source = watching(Directions::BOTH);
    source.set_watched(Directions::WRITE);
    assert!(source.is_ready(Direction::Read) && !source.is_ready(Direction::Write));
    source.on_would_block(Direction::Read);
    assert!(
        source.is_ready(Direction::Read),
        "no event will tell of more"
    );
    source.set_watched(Directions::BOTH);
    assert!(!source.is_ready(Direction::Read));
}

#[test]
fn each_event_makes_the_right_directions_ready() {
    let cases = [
        (Flags::IN, true, false),
        (Flags::OUT, false, true),
        (Flags::RDHUP, true, false),
        (Flags::HUP, true, true),
        (Flags::ERR, true, true),
    ];
    for (event, read, write) in cases {
        let mut source = watching(Directions::BOTH);
        woken_by(&mut source, event);
        assert_eq!(source.is_ready(Direction::Read), read, "{event:?}");
        assert_eq!(source.is_ready(Direction::Write), write, "{event:?}");
    }
}

#[test]
fn would_block_on_one_side_leaves_the_other_ready() {
    let mut source = watching(Directions::BOTH);
    woken_by(&mut source, Flags::IN.union(Flags::OUT));
    source.on_would_block(Direction::Read);
    assert!(!source.is_ready(Direction::Read));
    assert!(source.is_ready(Direction::Write));
}

#[test]
fn a_short_read_clears_readiness_only_before_the_hang_up() {
    let mut source = watching(Directions::BOTH);
    woken_by(&mut source, Flags::IN);
    source.on_completed(Direction::Read, After::Drained);
    assert!(!source.is_ready(Direction::Read));
    woken_by(&mut source, Flags::IN.union(Flags::RDHUP));
    source.on_completed(Direction::Read, After::Drained);
    assert!(source.is_ready(Direction::Read));
    source.on_would_block(Direction::Read);
    assert!(!source.is_ready(Direction::Read));
}

#[test]
fn a_short_read_says_nothing_once_urgent_data_has_come() {
    let mut source = watching(Directions::BOTH);
    woken_by(&mut source, Flags::IN.union(Flags::PRI).union(Flags::OUT));
    source.on_completed(Direction::Read, After::Drained);
    assert!(source.is_ready(Direction::Read));
    assert!(!source.is_closed(Direction::Read));
    source.on_completed(Direction::Write, After::Drained);
    assert!(
        !source.is_ready(Direction::Write),
        "writes do not stop at it"
    );
}

#[test]
fn an_error_is_not_the_end_and_a_short_read_says_nothing_until_the_next_would_block() {
    let both = Flags::IN.union(Flags::OUT);
    for direction in Direction::EACH {
        let mut source = watching(Directions::BOTH);
        woken_by(&mut source, Flags::ERR);
        assert!(!source.is_closed(direction));
        source.on_completed(direction, After::Drained);
        assert!(source.is_ready(direction), "the error may be pending");
        source.on_would_block(direction);
        assert!(!source.is_ready(direction));
        woken_by(&mut source, both);
        source.on_completed(direction, After::Drained);
        assert!(!source.is_ready(direction), "the error is gone");
    }
}

#[test]
fn an_error_that_stays_in_the_queue_makes_one_short_read_inconclusive() {
    let both = Flags::IN.union(Flags::OUT);
    for direction in Direction::EACH {
        let mut source = watching(Directions::BOTH);
        for _ in 0..2 {
            woken_by(&mut source, both.union(Flags::ERR));
            source.on_completed(direction, After::Drained);
            assert!(source.is_ready(direction), "the error may be pending");
            source.on_would_block(direction);
            woken_by(&mut source, both.union(Flags::ERR));
            source.on_completed(direction, After::Drained);
            assert!(!source.is_ready(direction), "it is in the queue");
            woken_by(&mut source, both);
            source.on_would_block(direction);
        }
    }
}

#[test]
fn an_event_is_good_for_as_many_operations_as_its_credit() {
    let mut source = Source::new(0, -1, Trigger::Level);
    source.set_watched(Directions::READ);
    for credit in [1, 3] {
        woken_by(&mut source, Flags::IN);
        source.set_credit(Some(credit));
        for _ in 0..credit {
            assert!(source.is_ready(Direction::Read));
            source.on_completed(Direction::Read, After::LevelReported);
        }
        assert!(!source.is_ready(Direction::Read));
    }
    woken_by(&mut source, Flags::IN);
    source.set_credit(None);
    for _ in 0..10_000 {
        source.on_completed(Direction::Read, After::LevelReported);
    }
    assert!(source.is_ready(Direction::Read), "a busy loop takes all");
    source.on_would_block(Direction::Read);
    assert!(!source.is_ready(Direction::Read));
}

#[test]
fn what_nobody_waits_for_or_what_rests_is_unneeded() {
    let mut source = watching(Directions::BOTH);
    let both = Flags::IN.union(Flags::OUT);
    assert_eq!(source.unneeded(both), Directions::BOTH);
    assert_eq!(source.unneeded(Flags::OUT), Directions::WRITE);
    source.wait_exclusively(Direction::Read, waker(1));
    source.wait_with_ticket(Direction::Write, Ticket(0), waker(2));
    assert_eq!(source.unneeded(both), Directions::default());
    source.back_off(Direction::Read);
    assert_eq!(source.unneeded(both), Directions::READ);
    source.set_watched(Directions::WRITE);
    assert_eq!(source.unneeded(Flags::ERR), Directions::default());
}

#[test]
fn a_later_waker_of_the_exclusive_waiter_replaces_the_earlier_one() {
    let mut source = watching(Directions::BOTH);
    assert!(source.wait_exclusively(Direction::Read, waker(1)).is_none());
    let replaced = source.wait_exclusively(Direction::Read, waker(2));
    assert_eq!(slot(&replaced), 1);
    assert_eq!(woken_by(&mut source, Flags::IN), [2]);
}

#[test]
fn all_tickets_are_woken_but_the_cancelled_one() {
    let mut source = watching(Directions::BOTH);
    for number in 0..3 {
        source.wait_with_ticket(Direction::Read, Ticket(number.into()), waker(number));
    }
    assert_eq!(slot(&source.cancel(Direction::Read, Ticket(1))), 1);
    assert!(source.cancel(Direction::Read, Ticket(1)).is_none());
    assert_eq!(woken_by(&mut source, Flags::IN), [0, 2]);
}

#[test]
fn who_waits_for_what_is_ready_is_found_out() {
    let waits: [fn(&mut Source); 3] = [
        |source| drop(source.wait_exclusively(Direction::Read, waker(1))),
        |source| source.wait_anonymously(Direction::Read, waker(1), |_| false),
        |source| drop(source.wait_with_ticket(Direction::Read, Ticket(0), waker(1))),
    ];
    for wait in waits {
        let mut source = watching(Directions::READ);
        wait(&mut source);
        assert!(!source.has_lost_a_wake());
        woken_by(&mut source, Flags::IN);
        assert!(!source.has_lost_a_wake());
        wait(&mut source);
        assert!(source.has_lost_a_wake());
    }
}

#[test]
fn events_during_a_rest_wake_nobody_and_its_end_wakes_all() {
    let mut source = watching(Directions::BOTH);
    source.back_off(Direction::Read);
    source.wait_exclusively(Direction::Read, waker(1));
    source.wait_anonymously(Direction::Read, waker(2), |_| false);
    assert!(woken_by(&mut source, Flags::IN).is_empty());
    assert!(!source.is_ready(Direction::Read) && !source.has_lost_a_wake());
    let mut woken = Vec::new();
    source.resume(Direction::Read, |waker| woken.push(slot(&waker)));
    assert_eq!(woken, [1, 2]);
    assert!(source.is_ready(Direction::Read));
}
