//! Threads without a runtime, which wake tasks and answer them.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Poll, Waker};
use std::thread;

use fastrand::Rng;

const THREADS: usize = 3;

/// How many wakers each thread keeps after their use, to wake them late.
const KEPT: usize = 64;

/// The threads, as tasks see them.
#[derive(Debug)]
pub(crate) struct Threads {
    orders: Vec<Sender<Order>>,
    questions: async_channel::Sender<Question>,
}

/// Who is to be woken, and what is to be set before.
#[derive(Debug)]
struct Order {
    waker: Waker,
    is_set: Arc<AtomicBool>,
    times: u8,
    /// The place of the earlier waker that is woken as well.
    stale: usize,
}

#[derive(Debug)]
struct Question {
    number: u64,
    reply: async_channel::Sender<u64>,
}

impl Threads {
    pub(crate) fn start() -> Self {
        let (questions, asked) = async_channel::bounded(4);
        let orders = (0..THREADS).map(|_| {
            let (sender, orders) = mpsc::channel();
            thread::spawn(move || carry_out(&orders));
            sender
        });
        let orders = orders.collect();
        for _ in 0..THREADS {
            let asked = asked.clone();
            thread::spawn(move || answer(&asked));
        }
        Self { orders, questions }
    }

    /// Waits until a thread has woken this task, for good and for nothing.
    pub(crate) async fn wake(&self, random: &mut Rng) {
        let is_set = Arc::new(AtomicBool::new(false));
        let mut is_ordered = false;
        poll_fn(|cx| {
            if is_set.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut is_ordered, true) {
                self.order(cx.waker(), &is_set, random);
            }
            Poll::Pending
        })
        .await;
    }

    fn order(&self, waker: &Waker, is_set: &Arc<AtomicBool>, random: &mut Rng) {
        let order = Order {
            waker: waker.clone(),
            is_set: Arc::clone(is_set),
            times: random.u8(1..4),
            stale: random.usize(..KEPT),
        };
        let thread = &self.orders[random.usize(..THREADS)];
        thread.send(order).expect("the threads run");
    }

    /// Asks a thread over a channel.
    pub(crate) async fn ask(&self, random: &mut Rng) {
        let number = random.u64(..);
        let (reply, answer) = async_channel::bounded(1);
        let question = Question { number, reply };
        self.questions
            .send(question)
            .await
            .expect("the threads run");
        assert_eq!(answer.recv().await, Ok(!number));
    }
}

fn carry_out(orders: &Receiver<Order>) {
    let mut kept: Vec<Waker> = Vec::with_capacity(KEPT);
    for Order {
        waker,
        is_set,
        times,
        stale,
    } in orders
    {
        is_set.store(true, Ordering::Release);
        for _ in 0..times {
            waker.wake_by_ref();
        }
        if kept.len() < KEPT {
            kept.push(waker);
        } else {
            std::mem::replace(&mut kept[stale], waker).wake();
        }
    }
}

fn answer(questions: &async_channel::Receiver<Question>) {
    while let Ok(Question { number, reply }) = questions.recv_blocking() {
        // Who asked may be gone with its runtime.
        let _ = reply.send_blocking(!number);
    }
}
