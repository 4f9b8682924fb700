//! Name look-ups while the resolver is slow: few threads, first come first served, and nothing for nobody.
//!
//! The binary has a `getaddrinfo` of its own, which answers when a test says so.
#![expect(
    unsafe_code,
    reason = "what takes the place of libc's functions has their signatures"
)]

mod common;

use std::ffi::{CStr, c_char};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Wake, Waker};
use std::thread;

use common::process::{
    Resource, alone, become_nobody, fork, leave, limit, resolving_threads,
    wait_for_resolving_threads,
};
use common::sockets::poll_with;
use common::{WakeCount, listen_at_localhost};
use libc::{addrinfo, c_int, sockaddr_in};
use runtime::net::{TcpStream, lookup_host};
use runtime::time::Duration;

/// How many threads may look names up.
const MOST: usize = 16;

/// The names that the resolver was asked for, in order, and how many of them it may answer.
struct Resolver {
    asked: Vec<String>,
    answers: usize,
    answered: usize,
}

static RESOLVER: Mutex<Resolver> = Mutex::new(Resolver {
    asked: Vec::new(),
    answers: 0,
    answered: 0,
});
static CHANGED: Condvar = Condvar::new();

fn resolver() -> MutexGuard<'static, Resolver> {
    RESOLVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the resolver give so many more answers.
fn answer(answers: usize) {
    let mut resolver = resolver();
    resolver.answers = resolver.answers.saturating_add(answers);
    CHANGED.notify_all();
}

fn asked() -> Vec<String> {
    resolver().asked.clone()
}

/// Waits until the resolver was asked for so many names.
fn wait_until_asked(names: usize) -> Vec<String> {
    let resolver = CHANGED.wait_while(resolver(), |resolver| resolver.asked.len() < names);
    resolver.unwrap().asked.clone()
}

// SAFETY: the signature is that of libc's function; the answer is 127.0.0.1 at port 0, freed below.
#[unsafe(no_mangle)]
unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    _service: *const c_char,
    _hints: *const addrinfo,
    result: *mut *mut addrinfo,
) -> c_int {
    // SAFETY: the caller passes a string that ends in NUL.
    let name = unsafe { CStr::from_ptr(node) };
    let mut resolver = resolver();
    resolver.asked.push(name.to_str().unwrap().to_owned());
    CHANGED.notify_all();
    let mut resolver = CHANGED
        .wait_while(resolver, |resolver| resolver.answered >= resolver.answers)
        .unwrap();
    resolver.answered += 1;
    drop(resolver);
    let address = Box::into_raw(Box::new(sockaddr_in {
        sin_family: libc::AF_INET.try_into().unwrap(),
        sin_port: 0,
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes([127, 0, 0, 1]),
        },
        sin_zero: [0; 8],
    }));
    let answer = Box::into_raw(Box::new(addrinfo {
        ai_flags: 0,
        ai_family: libc::AF_INET,
        ai_socktype: libc::SOCK_STREAM,
        ai_protocol: 0,
        ai_addrlen: size_of::<sockaddr_in>().try_into().unwrap(),
        ai_addr: address.cast(),
        ai_canonname: ptr::null_mut(),
        ai_next: ptr::null_mut(),
    }));
    // SAFETY: the caller passes a pointer that is valid for writing.
    unsafe { result.write(answer) };
    0
}

// SAFETY: the signature is that of libc's function; what it gets is what the function above made.
#[unsafe(no_mangle)]
unsafe extern "C" fn freeaddrinfo(answer: *mut addrinfo) {
    // SAFETY: `getaddrinfo` above made it, and each answer is freed once.
    let answer = unsafe { Box::from_raw(answer) };
    // SAFETY: as above.
    drop(unsafe { Box::from_raw(answer.ai_addr.cast::<sockaddr_in>()) });
}

type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>>>>;

fn lookup(name: impl Into<String>) -> Lookup {
    let name = name.into();
    Box::pin(async { lookup_host((name, 7)).await.map(Vec::from_iter) })
}

/// Look-ups of names with these numbers, each polled once, and so begun.
fn begin(numbers: std::ops::Range<usize>, waker: &Waker) -> Vec<Lookup> {
    let mut lookups = Vec::from_iter(numbers.map(|number| lookup(format!("name{number}"))));
    for lookup in &mut lookups {
        assert!(poll_with(lookup, waker).is_pending());
    }
    lookups
}

fn names(numbers: std::ops::Range<usize>) -> Vec<String> {
    Vec::from_iter(numbers.map(|number| format!("name{number}")))
}

/// Waits for an answer, outside of any runtime.
fn finish(lookup: &mut Lookup) -> io::Result<Vec<SocketAddr>> {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    loop {
        if let Poll::Ready(result) = poll_with(lookup, &waker) {
            return result;
        }
        thread::park();
    }
}

#[test]
fn connects_by_name_that_are_given_up_leave_few_threads_and_no_work() {
    alone(|| {
        let most = runtime::block_on(async {
            let connects = Vec::from_iter((0..2000).map(|number| {
                runtime::spawn(async move {
                    let name = format!("name{number}");
                    TcpStream::connect_timeout((name, 7), Duration::from_millis(100)).await
                })
            }));
            let mut most = 0;
            for (number, connect) in connects.into_iter().enumerate() {
                let error = connect.await.unwrap().unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                if number % 100 == 0 {
                    most = most.max(resolving_threads());
                }
            }
            most
        });
        assert!(most <= MOST, "{most} threads");
        assert_eq!(wait_until_asked(MOST).len(), MOST);
        answer(usize::MAX);
        wait_for_resolving_threads();
        assert_eq!(asked().len(), MOST, "what was given up was looked up");
        runtime::block_on(async {
            let (_listener, address) = listen_at_localhost().await;
            TcpStream::connect(("name", address.port())).await.unwrap();
        });
    });
}

#[test]
fn names_that_wait_for_a_thread_are_looked_up_in_order() {
    alone(|| {
        let (_, waker) = WakeCount::new();
        let mut lookups = begin(0..MOST + 20, &waker);
        let mut first = wait_until_asked(MOST);
        first.sort_by_key(|name| name[4..].parse::<usize>().unwrap());
        assert_eq!(first, names(0..MOST));
        for next in MOST..MOST + 20 {
            answer(1);
            assert_eq!(wait_until_asked(next + 1)[next], format!("name{next}"));
        }
        answer(usize::MAX);
        for lookup in &mut lookups {
            assert_eq!(finish(lookup).unwrap().len(), 1);
        }
        assert_eq!(asked().len(), MOST + 20);
    });
}

#[test]
fn only_what_waits_for_a_thread_can_be_taken_back() {
    alone(|| {
        let (count, waker) = WakeCount::new();
        let mut lookups = begin(0..MOST + 9, &waker);
        wait_until_asked(MOST);
        // Of the first ones, which have begun, and of those that wait.
        let given_up = Vec::from_iter(lookups.drain(MOST - 3..MOST + 3));
        drop(given_up);
        answer(usize::MAX);
        for lookup in &mut lookups {
            finish(lookup).unwrap();
        }
        wait_for_resolving_threads();
        let expected = [names(0..MOST), names(MOST + 3..MOST + 9)].concat();
        let mut asked = asked();
        asked.sort_by_key(|name| name[4..].parse::<usize>().unwrap());
        assert_eq!(asked, expected);
        drop(lookups);
        drop(waker);
        assert_eq!(Arc::strong_count(&count), 1, "a waker is kept");
    });
}

#[test]
fn a_look_up_for_which_no_thread_can_be_started_waits_for_one_that_runs() {
    alone(|| {
        let (_, waker) = WakeCount::new();
        let mut first = begin(0..1, &waker);
        wait_until_asked(1);
        become_nobody();
        let before = limit(Resource::Threads, 0);
        let mut second = begin(1..3, &waker);
        answer(usize::MAX);
        for lookup in first.iter_mut().chain(&mut second) {
            finish(lookup).unwrap();
        }
        wait_for_resolving_threads();
        let error = finish(&mut lookup("name3")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        limit(Resource::Threads, before);
        finish(&mut lookup("name4")).unwrap();
    });
}

/// A waker that looks a name up and panics, whenever it is woken or dropped.
struct Meddles;

impl Meddles {
    fn meddle() {
        let _ = poll_with(&mut lookup("meddled"), Waker::noop());
    }
}

impl Wake for Meddles {
    fn wake(self: Arc<Self>) {
        Self::meddle();
        panic!("a waker panics");
    }
}

impl Drop for Meddles {
    fn drop(&mut self) {
        Self::meddle();
    }
}

#[test]
fn wakers_may_look_names_up_and_panic() {
    alone(|| {
        // More than there are threads, so that each of these meets such a waker.
        let (_, waker) = WakeCount::new();
        let mut lookups = Vec::new();
        for number in 0..2 * MOST {
            lookups.extend(begin(number..number + 1, &Arc::new(Meddles).into()));
        }
        wait_until_asked(MOST);
        for lookup in &mut lookups[..MOST / 2] {
            assert!(poll_with(lookup, &waker).is_pending());
        }
        lookups.truncate(2 * MOST - 3);
        answer(usize::MAX);
        wait_for_resolving_threads();
        for lookup in &mut lookups {
            assert!(poll_with(lookup, &waker).is_ready());
        }
        finish(&mut lookup("last")).unwrap();
    });
}

#[test]
#[cfg_attr(
    runtime_tsan,
    ignore = "ThreadSanitizer allows no threads in a child of a process that had several"
)]
fn a_child_has_threads_of_its_own() {
    alone(|| {
        let (_, waker) = WakeCount::new();
        let mut lookups = begin(0..MOST + 3, &waker);
        wait_until_asked(MOST);
        // Held by this thread, so that no other holds it at the fork.
        let held = resolver();
        let Some(child) = fork() else {
            leave(|| {
                drop(held);
                assert_eq!(resolving_threads(), 0);
                answer(usize::MAX);
                finish(&mut lookup("child")).unwrap();
                let asked = asked();
                assert_eq!(asked.len(), MOST + 1);
                assert_eq!(asked[MOST], "child");
                // What the parent waits for, the child gives up.
                drop(lookups);
                finish(&mut lookup("child")).unwrap();
            })
        };
        drop(held);
        child.join();
        answer(usize::MAX);
        for lookup in &mut lookups {
            finish(lookup).unwrap();
        }
    });
}
