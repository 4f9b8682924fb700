//! Timers fire in the order of their deadlines, equal ones in the order in which they began to wait.

mod common;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use common::{LIMIT, run, turned_after, within};
use runtime::Builder;
use runtime::time::{Duration, Instant, Timer, sleep_until};

/// Notes its number when it is woken.
struct Note {
    number: usize,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap().push(self.number);
    }
}

/// Timers that have begun to wait, within one poll, for deadlines this far from a common start.
///
/// The start lies ahead; should the machine have been too slow for it, it is moved further ahead.
fn waiting(offsets: &[u64], wakers: &[Waker]) -> (Vec<Timer>, Instant) {
    for lead in [5, 50, 500, 5000] {
        let start = Instant::now() + Duration::from_millis(lead);
        let deadline = |offset: &u64| start + Duration::from_nanos(*offset);
        let mut timers: Vec<Timer> = offsets.iter().map(|at| sleep_until(deadline(at))).collect();
        let is_pending = timers.iter_mut().zip(wakers).all(|(timer, waker)| {
            let mut cx = Context::from_waker(waker);
            Pin::new(timer).poll(&mut cx).is_pending()
        });
        if is_pending {
            let last = offsets.iter().max().copied().unwrap_or_default();
            return (timers, deadline(&last));
        }
    }
    panic!("the machine stood still for seconds");
}

/// The order in which timers with these deadlines wake their wakers.
async fn order_of(offsets: &[u64]) -> Vec<usize> {
    let woken = Arc::new(Mutex::new(Vec::new()));
    let wakers: Vec<Waker> = (0..offsets.len())
        .map(|number| {
            let woken = Arc::clone(&woken);
            Waker::from(Arc::new(Note { number, woken }))
        })
        .collect();
    let (timers, last) = waiting(offsets, &wakers);
    turned_after(last).await;
    drop(timers);
    std::mem::take(&mut *woken.lock().unwrap())
}

/// The numbers of the offsets, sorted by offset, then by number.
fn sorted(offsets: &[u64]) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..offsets.len()).collect();
    numbers.sort_by_key(|&number| offsets[number]);
    numbers
}

/// Deadlines that look random, spread over every magnitude up to `range`.
fn scattered(count: u64, range: u64) -> Vec<u64> {
    let scatter = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    (0..count)
        .map(|number| (scatter(number) % range) >> (number % 24))
        .collect()
}

#[test]
fn deadlines_next_to_each_other_fire_in_their_order() {
    run(async {
        let offsets: Vec<u64> = (0..300).rev().collect();
        assert_eq!(order_of(&offsets).await, sorted(&offsets));
    });
}

#[test]
fn two_thousand_scattered_deadlines_fire_in_their_order() {
    run(async {
        let offsets = scattered(2000, 20_000_000);
        assert_eq!(order_of(&offsets).await, sorted(&offsets));
    });
}

#[test]
fn deadlines_at_the_places_where_digits_carry_fire_in_their_order() {
    run(async {
        let mut offsets = Vec::new();
        for bit in (0..24).rev() {
            offsets.extend([(1_u64 << bit) + 1, (1 << bit) - 1, 1 << bit]);
        }
        assert_eq!(order_of(&offsets).await, sorted(&offsets));
    });
}

#[test]
fn equal_deadlines_fire_in_the_order_in_which_they_began_to_wait() {
    run(async {
        let offsets = [7, 1000, 7, 3_000_000, 7, 1000, 0, 7, 3_000_000];
        assert_eq!(order_of(&offsets).await, [6, 0, 2, 4, 7, 1, 5, 3, 8]);
        let equal = [12_345; 500];
        assert_eq!(order_of(&equal).await, Vec::from_iter(0..500));
    });
}

#[test]
fn a_reset_timer_queues_behind_the_others_of_its_new_deadline() {
    run(async {
        let woken = Arc::new(Mutex::new(Vec::new()));
        let wakers: Vec<Waker> = (0..3)
            .map(|number| {
                let woken = Arc::clone(&woken);
                Waker::from(Arc::new(Note { number, woken }))
            })
            .collect();
        let (mut timers, last) = waiting(&[5, 9_000_000, 9_000_000], &wakers);
        timers[0].reset(last);
        turned_after(last).await;
        assert_eq!(*woken.lock().unwrap(), [1, 2, 0]);
    });
}

#[test]
fn tasks_go_on_in_the_order_of_their_deadlines() {
    within(LIMIT, || {
        // All tasks begin to wait before the reactor first turns.
        let runtime = Builder::new().event_interval(100_000).build().unwrap();
        runtime.block_on(async {
            let offsets = scattered(1000, 10_000_000);
            let (timers, _) = waiting(&offsets, &vec![Waker::noop().clone(); offsets.len()]);
            let start =
                timers[0].deadline() - Duration::from_nanos(offsets[0]) + Duration::from_millis(20);
            let woken = Rc::new(RefCell::new(Vec::new()));
            let slow = Rc::new(RefCell::new(0));
            let tasks: Vec<_> = offsets
                .iter()
                .enumerate()
                .map(|(number, &offset)| {
                    let (woken, slow) = (Rc::clone(&woken), Rc::clone(&slow));
                    runtime::spawn(async move {
                        let mut timer = sleep_until(start + Duration::from_nanos(offset));
                        poll_fn(|cx| {
                            if Pin::new(&mut timer).poll(cx).is_ready() {
                                *slow.borrow_mut() += 1;
                            }
                            Poll::Ready(())
                        })
                        .await;
                        timer.await;
                        woken.borrow_mut().push(number);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            // On a machine that was too slow, some had passed before they could wait.
            if *slow.borrow() == 0 {
                assert_eq!(*woken.borrow(), sorted(&offsets));
            }
        });
    });
}
