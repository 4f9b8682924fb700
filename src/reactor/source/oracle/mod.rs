//! The states of a source against a model of the kernel: who waits while there is something will be told.
//!
//! Steps of the kernel, the loop and the tasks come in any order; `world` and `tasks` play them and check.

mod kernel;
mod tasks;
mod world;

use proptest::collection::vec;
use proptest::prelude::*;

use self::world::World;
use super::{Direction, Trigger};
use crate::sys::epoll::Flags;

const DIRECTIONS: [Direction; 2] = [Direction::Read, Direction::Write];

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000, // unless `PROPTEST_CASES` says otherwise
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn who_waits_for_a_stream_is_told_of_whatever_comes(steps in vec(stream_step(), 0..30)) {
        play(Trigger::Edge, steps);
    }

    #[test]
    fn who_waits_for_a_listener_is_told_of_each_connection(steps in vec(listener_step(), 0..30)) {
        play(Trigger::Level, steps);
    }
}

#[test]
fn each_set_of_events_tells_those_for_whom_it_is_meant() {
    let each = [
        (Flags::IN, [true, false]),
        (Flags::PRI, [true, false]),
        (Flags::RDHUP, [true, false]),
        (Flags::OUT, [false, true]),
        (Flags::HUP, [true, true]),
        (Flags::ERR, [true, true]),
    ];
    for bits in 0..1 << each.len() {
        let mut world = World::new(Trigger::Edge);
        for task in 0..5 {
            for direction in DIRECTIONS {
                world.poll_ready(task, direction);
            }
        }
        world.kernel.wait();
        for direction in DIRECTIONS {
            world.source.on_would_block(direction);
        }
        for task in 0..5 {
            for direction in DIRECTIONS {
                world.poll_ready(task, direction);
            }
        }
        let chosen = (0..).zip(each).filter(|(bit, _)| bits >> bit & 1 != 0);
        let (mut event, mut is_meant) = (Flags::NONE, [false; 2]);
        for (_, (flag, meant_for)) in chosen {
            event = event.union(flag);
            is_meant = [0, 1].map(|side| is_meant[side] || meant_for[side]);
        }
        world.on_event(event);
        let waits = DIRECTIONS.map(|direction| world.waits(direction));
        assert_eq!(waits, is_meant.map(|is_meant| if is_meant { 0 } else { 5 }));
        for (direction, is_meant) in DIRECTIONS.into_iter().zip(is_meant) {
            assert_eq!(world.source.is_ready(direction), is_meant, "{event:?}");
        }
    }
}

fn play(trigger: Trigger, steps: Vec<Step>) {
    let mut world = World::new(trigger);
    for step in steps {
        world.take(step);
        world.check();
    }
    world.settle_down();
    world.end();
}

/// Something that happens in the kernel, in the loop, or in a task.
#[derive(Clone, Debug)]
enum Step {
    Arrive(usize),
    Mark,
    Shut,
    Reset,
    Fail,
    MakeRoom(usize),
    /// The loop takes events; it may wait for them, and has so many of others.
    Turn {
        waits: bool,
        others: usize,
    },
    /// The loop has nothing to do but to wait.
    Idle,
    Poll(u8, Direction, usize),
    PollReady(u8, Direction),
    Try(Direction, usize),
    /// More wait than are kept without knowing whether they still do.
    Crowd(Direction),
    Cancel(u8, Direction),
    /// An operation runs out of resources.
    Exhaust(u8),
    Resume(Direction),
    /// Another thread takes the descriptor out of the set, and a direction with it.
    Displace(Direction),
    ReadLetter,
    /// The next call of `epoll_ctl` fails.
    Refuse,
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![2 => Just(Direction::Read), 1 => Just(Direction::Write)]
}

/// What the loop does, and what tasks of one runtime do to the waits of another's.
fn loop_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<bool>(), 0..3_usize).prop_map(|(waits, others)| Step::Turn { waits, others }),
        2 => Just(Step::Idle),
        2 => direction().prop_map(Step::Resume),
        1 => direction().prop_map(Step::Displace),
        1 => Just(Step::ReadLetter),
        1 => Just(Step::Refuse),
    ]
}

fn stream_step() -> impl Strategy<Value = Step> {
    let kernel = prop_oneof![
        6 => (1..6_usize).prop_map(Step::Arrive),
        2 => Just(Step::Mark),
        1 => Just(Step::Shut),
        1 => Just(Step::Reset),
        1 => Just(Step::Fail),
        4 => (1..9_usize).prop_map(Step::MakeRoom),
    ];
    let task = prop_oneof![
        8 => (0..5_u8, direction(), 1..8_usize).prop_map(|(t, d, most)| Step::Poll(t, d, most)),
        4 => (0..5_u8, direction()).prop_map(|(task, direction)| Step::PollReady(task, direction)),
        2 => (direction(), 1..8_usize).prop_map(|(direction, most)| Step::Try(direction, most)),
        1 => direction().prop_map(Step::Crowd),
        2 => (1..3_u8, direction()).prop_map(|(task, direction)| Step::Cancel(task, direction)),
    ];
    prop_oneof![kernel, task, loop_step()]
}

fn listener_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..4_usize).prop_map(Step::Arrive),
        8 => (1..5_u8).prop_map(|task| Step::Poll(task, Direction::Read, 1)),
        1 => Just(Step::Crowd(Direction::Read)),
        2 => (1..3_u8).prop_map(|task| Step::Cancel(task, Direction::Read)),
        1 => (1..5_u8).prop_map(Step::Exhaust),
        8 => loop_step(),
    ]
}
