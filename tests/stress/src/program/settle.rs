//! The main future of each `block_on`: it runs code, then lets the runtime come to rest.

use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::Poll;

use runtime::task::yield_now;
use runtime::time::{Duration, Instant, sleep, sleep_until};

use super::machine::{Caller, Machine, Planned};
use super::model::{HomeNo, Who};
use super::op::{Op, Place};

/// Runs what stands at `place` until it says `Run`, then waits until nothing happens any more.
pub(super) async fn main(machine: &Machine, home: HomeNo, place: &mut Place) {
    while let Some(op) = machine.next(place) {
        match op {
            Op::Run { .. } => break,
            Op::Yield => yield_now().await,
            Op::Panic => resume_unwind(Box::new(Planned(machine.new_panic()))),
            op => perform(machine, op, *place).await,
        }
    }
    rest(machine, home).await;
}

async fn perform(machine: &Machine, op: Op, place: Place) {
    poll_fn(|cx| {
        let caller = Caller {
            who: Who::Main,
            waker: Some(cx.waker()),
        };
        machine.perform(op, place, caller);
        Poll::Ready(())
    })
    .await;
}

/// How many turns of the reactor bring in the events of all sockets that a program can have.
const TURNS: u32 = 8;

/// Returns when the reactor has turned: woken by a timer whose deadline passes while it waits.
async fn turned() {
    let mut timer = sleep(Duration::MAX);
    let mut is_due = false;
    poll_fn(|cx| {
        if is_due {
            return Poll::Ready(());
        }
        assert!(Pin::new(&mut timer).poll(cx).is_pending());
        timer.reset(Instant::now());
        is_due = true;
        Poll::Pending
    })
    .await;
}

/// Waits until what is due soon is over and nobody has been polled for so many turns of the reactor; then
/// nothing may be left undone.
async fn rest(machine: &Machine, home: HomeNo) {
    loop {
        let before = machine.model(|model| model.activity);
        if let Some(deadline) = machine.latest_deadline(home) {
            sleep_until(deadline).await;
        }
        let time = Instant::now();
        for _ in 0..TURNS {
            turned().await;
        }
        // If somebody is due by the last one, a tick polls them.
        for _ in 0..2 {
            yield_now().await;
        }
        if machine.model(|model| model.activity) == before {
            machine.model(|model| model.check_rest(home, time));
            return machine.check_timers(home, time);
        }
    }
}
