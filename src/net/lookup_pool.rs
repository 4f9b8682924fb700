//! A bounded number of threads for name look-ups; a general pool for blocking calls can replace it.
//!
//! Called by `resolve`, which passes the blocking call.
//!
//! # Invariants
//!
//! 1. `Pool::threads` counts the threads that run or are being started. A thread looks for a waiting job under
//!    the lock before it stops to count, so a job does not wait while none is counted.
//! 2. At most [`MAX_THREADS`] are counted. Jobs start in the order in which they came; one whose future is
//!    dropped before it starts is removed.
//! 3. No job and no waker is called, cloned or dropped under a lock.
//! 4. A child process starts with an empty pool, as the threads stay with the parent.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::quiet::quietly;
use crate::sync::{Arc, Mutex, shared};
use crate::sys::fork::Process;

/// How many look-ups run at once in a process. A look-up that hangs occupies its thread until the resolver
/// gives up (`resolv.conf(5)`: 10 s by default, for each server).
const MAX_THREADS: usize = 16;

type Output = io::Result<Vec<SocketAddr>>;

/// A blocking call, and where its result goes.
struct Job {
    call: Box<dyn FnOnce() -> Output + Send>,
    answer: Arc<Mutex<Answer>>,
}

/// What the thread and the future share.
#[derive(Default)]
struct Answer {
    output: Option<Output>,
    waker: Option<Waker>,
}

/// The jobs that wait for a thread, by number, and how many threads there are.
struct Pool {
    waiting: BTreeMap<u64, Job>,
    next: u64,
    threads: usize,
    /// The process that the threads run in.
    process: Option<Process>,
}

shared! {
    static POOL: Mutex<Pool> = Mutex::new(Pool {
        waiting: BTreeMap::new(),
        next: 0,
        threads: 0,
        process: None,
    });
}

/// Runs `call` on a thread of the pool.
///
/// # Errors
///
/// Those of the call; if no thread runs and none can be started, that.
pub(super) async fn run(call: impl FnOnce() -> Output + Send + 'static) -> Output {
    let lookup = Lookup::start(Box::new(call));
    poll_fn(|cx| lookup.poll(cx)).await
}

/// A job that was started or queued; dropping it removes it from the queue.
struct Lookup {
    number: u64,
    answer: Arc<Mutex<Answer>>,
}

impl Lookup {
    fn start(call: Box<dyn FnOnce() -> Output + Send>) -> Self {
        let answer = Arc::<Mutex<Answer>>::default();
        let job = Job {
            call,
            answer: Arc::clone(&answer),
        };
        let process = Some(Process::current());
        let mut pool = POOL.lock();
        let mut of_parent = BTreeMap::new();
        if pool.process != process {
            pool.process = process;
            pool.threads = 0;
            of_parent = mem::take(&mut pool.waiting);
        }
        let number = pool.next;
        pool.next += 1;
        pool.waiting.insert(number, job);
        let needs_thread = pool.threads < MAX_THREADS;
        pool.threads += usize::from(needs_thread);
        drop(pool);
        drop(of_parent);
        if needs_thread {
            start_thread();
        }
        Self { number, answer }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Output> {
        let waker = cx.waker().clone();
        let mut answer = self.answer.lock();
        if let Some(output) = answer.output.take() {
            return Poll::Ready(output);
        }
        let before = answer.waker.replace(waker);
        drop(answer);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        let job = POOL.lock().waiting.remove(&self.number);
        drop(job);
        let waker = self.answer.lock().waker.take();
        drop(waker);
    }
}

impl Job {
    fn run(self) {
        let mut output = None;
        quietly(|| output = Some((self.call)()));
        let panicked = || Err(io::Error::other("the name resolver panicked"));
        answer(&self.answer, output.unwrap_or_else(panicked));
    }
}

fn answer(answer: &Mutex<Answer>, output: Output) {
    let waker = {
        let mut answer = answer.lock();
        answer.output = Some(output);
        answer.waker.take()
    };
    if let Some(waker) = waker {
        quietly(|| waker.wake());
    }
}

/// Starts a thread that is counted already. If that fails and no other runs, all that waits fails.
fn start_thread() {
    let thread = thread::Builder::new().name("runtime-resolve".into());
    let Err(error) = thread.spawn(run_jobs) else {
        return;
    };
    let mut pool = POOL.lock();
    pool.threads -= 1;
    let mut stranded = BTreeMap::new();
    if pool.threads == 0 {
        stranded = mem::take(&mut pool.waiting);
    }
    drop(pool);
    for job in stranded.into_values() {
        answer(&job.answer, Err(spawn_error(&error)));
    }
}

/// Runs jobs until none waits.
fn run_jobs() {
    while let Some(job) = next_job() {
        job.run();
    }
}

fn next_job() -> Option<Job> {
    let mut pool = POOL.lock();
    let job = pool.waiting.pop_first();
    if job.is_none() {
        pool.threads -= 1;
    }
    job.map(|(_, job)| job)
}

/// Why no thread could be started. The kernel's `EAGAIN` must not pass for `WouldBlock`: nothing will become
/// ready.
fn spawn_error(error: &io::Error) -> io::Error {
    let kind = match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::QuotaExceeded,
        kind => kind,
    };
    let text =
        format!("no thread could be started to look a name up (is a limit reached?): {error}");
    io::Error::new(kind, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_panics_is_an_error_and_its_thread_goes_on() {
        let wait = |call: fn() -> Output| futures::executor::block_on(run(call));
        for _ in 0..2 * MAX_THREADS {
            let error = wait(|| panic!("the resolver panics")).unwrap_err();
            assert!(error.to_string().contains("panicked"), "{error}");
        }
        assert_eq!(wait(|| Ok(Vec::new())).unwrap(), []);
    }
}
