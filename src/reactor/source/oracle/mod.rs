//! The states of a source against a model of the kernel: what waits while there is something will be woken.
//!
//! Steps of the kernel, the loop and the tasks come in any order; `world` and `tasks` play them and check.

mod kernel;
mod tasks;
mod world;

use proptest::collection::vec;
use proptest::prelude::*;

use self::kernel::Happening;
use self::tasks::Task;
use self::world::World;
use super::{Direction, Trigger};
use crate::sys::epoll::Flags;

const TASKS: [Task; 7] = [
    Task::Exclusive,
    Task::Ticket(1),
    Task::Ticket(2),
    Task::Anonymous(0),
    Task::Anonymous(1),
    Task::Anonymous(2),
    Task::Anonymous(3),
];

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
        (Flags::IN, [true, false], [false, false]),
        (Flags::PRI, [true, false], [false, false]),
        (Flags::RDHUP, [true, false], [true, false]),
        (Flags::OUT, [false, true], [false, false]),
        (Flags::HUP, [true, true], [true, true]),
        (Flags::ERR, [true, true], [false, false]),
    ];
    for bits in 0..1 << each.len() {
        let mut world = World::new(Trigger::Edge);
        for direction in Direction::EACH {
            for task in TASKS {
                world.poll_ready(task, direction);
            }
        }
        let chosen = (0..).zip(each).filter(|(bit, _)| bits >> bit & 1 != 0);
        let (mut event, mut is_meant, mut is_closed) = (Flags::NONE, [false; 2], [false; 2]);
        for (_, (flag, meant_for, closes)) in chosen {
            event = event.union(flag);
            is_meant = [0, 1].map(|side| is_meant[side] || meant_for[side]);
            is_closed = [0, 1].map(|side| is_closed[side] || closes[side]);
        }
        world.on_event(event);
        let waits = Direction::EACH.map(|direction| world.sides[direction as usize].waits.len());
        let left = is_meant.map(|is_meant| if is_meant { 0 } else { TASKS.len() });
        assert_eq!(waits, left, "{event:?}");
        let ready = Direction::EACH.map(|direction| world.source.is_ready(direction));
        assert_eq!(ready, is_meant, "{event:?}");
        let closed = Direction::EACH.map(|direction| world.source.is_closed(direction));
        assert_eq!(closed, is_closed, "{event:?}");
    }
}

#[test]
fn a_short_read_may_be_the_end_once_an_event_without_errors_follows_a_queued_one() {
    use Happening::{Arrive, MakeRoom, QueueError, ReadErrors};
    let poll = || Step::Poll(Task::Exclusive, Direction::Read, 1);
    let mut steps = vec![Step::Kernel(QueueError), poll(), Step::Turn(false, false)];
    steps.extend([Step::Kernel(MakeRoom(1)), poll(), Step::Kernel(Arrive(9))]);
    steps.extend([Step::Turn(false, false), Step::Kernel(QueueError)]);
    steps.extend([Step::Kernel(ReadErrors), Step::Turn(false, false)]);
    play(Trigger::Edge, steps);
}

fn play(trigger: Trigger, steps: Vec<Step>) {
    let mut world = World::new(trigger);
    for step in steps {
        world.take(step);
        world.check();
    }
    world.finish();
}

/// Something that happens in the kernel, in the loop, or in a task.
#[derive(Clone, Debug)]
enum Step {
    Kernel(Happening),
    /// The loop takes an event: whether it waits for it, and whether no other comes with it.
    Turn(bool, bool),
    /// The loop has nothing to do but to wait.
    Idle,
    Poll(Task, Direction, usize),
    PollReady(Task, Direction),
    Try(Direction, usize),
    /// Many wait who are known by their wakers; or did, and are gone.
    Crowd(Direction, bool),
    Cancel(u8, Direction),
    /// An operation runs out of resources.
    Exhaust(Task),
    /// A rest ends.
    Resume,
    /// Another runtime comes to wait, too.
    Share,
    /// The descriptor is dropped elsewhere, and another one comes.
    Release,
    /// The next call of `epoll_ctl` fails, or is left out for messages that are to be read first.
    Refuse,
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![2 => Just(Direction::Read), 1 => Just(Direction::Write)]
}

fn task() -> impl Strategy<Value = Task> {
    (0..TASKS.len()).prop_map(|index| TASKS[index])
}

/// What the loop and other threads do.
fn loop_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any::<(bool, bool)>().prop_map(|(waits, is_alone)| Step::Turn(waits, is_alone)),
        3 => Just(Step::Idle),
        2 => Just(Step::Share),
        1 => Just(Step::Release),
        1 => Just(Step::Refuse),
    ]
}

fn stream_step() -> impl Strategy<Value = Step> {
    let kernel = prop_oneof![
        6 => (1..6_usize).prop_map(Happening::Arrive),
        2 => Just(Happening::Mark),
        1 => Just(Happening::Shut),
        1 => Just(Happening::Reset),
        2 => Just(Happening::Fail),
        2 => Just(Happening::QueueError),
        1 => Just(Happening::ReadErrors),
        4 => (1..9_usize).prop_map(Happening::MakeRoom),
        2 => (direction(), 1..8_usize).prop_map(|(d, most)| Happening::Elsewhere(d, most)),
    ];
    let task = prop_oneof![
        8 => (task(), direction(), 1..8_usize).prop_map(|(t, d, most)| Step::Poll(t, d, most)),
        4 => (task(), direction()).prop_map(|(task, direction)| Step::PollReady(task, direction)),
        2 => (direction(), 1..8_usize).prop_map(|(direction, most)| Step::Try(direction, most)),
        1 => (direction(), any::<bool>()).prop_map(|(d, are_gone)| Step::Crowd(d, are_gone)),
        2 => (1..3_u8, direction()).prop_map(|(number, direction)| Step::Cancel(number, direction)),
        1 => task().prop_map(Step::Exhaust),
        1 => Just(Step::Resume),
    ];
    prop_oneof![kernel.prop_map(Step::Kernel), task, loop_step()]
}

fn listener_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..4_usize).prop_map(|many| Step::Kernel(Happening::Arrive(many))),
        1 => Just(Step::Kernel(Happening::Elsewhere(Direction::Read, 1))),
        8 => task().prop_map(|task| Step::Poll(task, Direction::Read, 1)),
        1 => any::<bool>().prop_map(|are_gone| Step::Crowd(Direction::Read, are_gone)),
        2 => (1..3_u8).prop_map(|number| Step::Cancel(number, Direction::Read)),
        1 => task().prop_map(Step::Exhaust),
        2 => Just(Step::Resume),
        8 => loop_step(),
    ]
}
