//! The bell: a wake from another thread costs a system call only where it ends a sleep.
//!
//! Nobody reads the eventfd, so its counter, which procfs shows, is the number of rings. One test, as
//! the descriptor is found by its kind and a second runtime in the process would be mistaken for it.

mod common;

use std::fs;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;

use common::parked::{park, this_thread, wait_until_parked};
use common::{LIMIT, within};
use futures::channel::oneshot;
use runtime::{Runtime, spawn};

/// How often the one eventfd of this process was written to.
fn rings() -> u64 {
    let infos = fs::read_dir("/proc/self/fdinfo").unwrap();
    let counts = infos.filter_map(|info| {
        let info = fs::read_to_string(info.ok()?.path()).ok()?;
        let count = info
            .lines()
            .find_map(|line| line.strip_prefix("eventfd-count:"))?;
        u64::from_str_radix(count.trim(), 16).ok()
    });
    let [count] = Vec::from_iter(counts)[..] else {
        panic!("there is not exactly one eventfd");
    };
    count
}

#[test]
fn a_sleep_is_ended_by_one_ring_and_a_runtime_that_is_awake_is_not_rung() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (ready, is_ready) = mpsc::channel::<(PathBuf, Waker, oneshot::Sender<()>)>();
        let (stay_awake, is_awake) = mpsc::channel::<()>();
        let waking = thread::spawn(move || {
            let (sleeper, waker, end) = is_ready.recv().unwrap();
            // The runtime is in a poll, so awake: no number of wakes rings.
            (0..1000).for_each(|_| waker.wake_by_ref());
            assert_eq!(rings(), 0);
            drop(stay_awake);
            for ringed in 0..10 {
                let before = wait_until_parked(&sleeper);
                assert_eq!(rings(), ringed);
                waker.wake_by_ref();
                while park(&sleeper).is_none_or(|now| now == before) {
                    thread::yield_now();
                }
                assert_eq!(rings(), ringed + 1);
            }
            end.send(()).unwrap();
        });
        runtime.block_on(async {
            let (end, ended) = oneshot::channel();
            let mut first = Some((end, is_awake));
            spawn(poll_fn(move |cx| {
                if let Some((end, is_awake)) = first.take() {
                    let waker = cx.waker().clone();
                    ready.send((this_thread(), waker, end)).unwrap();
                    // Blocks the thread until the wakes have been counted.
                    is_awake.recv().unwrap_err();
                    // Wakes of its own do not ring either.
                    (0..1000).for_each(|_| cx.waker().wake_by_ref());
                }
                Poll::<()>::Pending
            }));
            ended.await.unwrap();
        });
        waking.join().unwrap();
        assert_eq!(rings(), 11);
    });
}
