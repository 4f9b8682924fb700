//! What a turn of the loop touches: not the tasks and sockets that are idle, in a debug build neither.
//!
//! Counted in pages of anonymous memory that the kernel has marked as accessed since it was told to forget. One
//! test, as the marks are the process's.

#![cfg(not(runtime_full_checks))]
#![expect(unsafe_code, reason = "large pages are switched off by a system call")]

mod common;

use std::fs;
use std::future::pending;
use std::net::TcpListener as StdListener;
use std::task::{Context, Waker};

use common::sockets::sources;
use common::{LIMIT, anywhere, pair_with_std, within};
use runtime::Runtime;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::{TcpListener, TcpStream};
use runtime::spawn;

const TASKS: usize = 10_000;
const SOCKETS: usize = 5_000;
/// How many descriptors the test may have open besides.
const OTHERS: usize = 100;

/// How many KiB of anonymous memory were accessed since [`forget_accesses`].
fn accessed_kib() -> usize {
    let maps = fs::read_to_string("/proc/self/smaps").expect("procfs is mounted");
    let (mut accessed, mut is_anonymous) = (0, false);
    for line in maps.lines() {
        let fields = Vec::from_iter(line.split_whitespace());
        if fields[0] == "Referenced:" && is_anonymous {
            accessed += fields[1].parse::<usize>().unwrap();
        } else if !fields[0].ends_with(':') {
            // A mapping begins: its inode comes fifth, and is 0 if there is no file.
            is_anonymous = fields[4] == "0";
        }
    }
    accessed
}

fn forget_accesses() {
    fs::write("/proc/self/clear_refs", "1").expect("the kernel can be told");
}

/// A message goes to a task and back, and the loop waits for either in the kernel.
async fn round_trips(count: usize) {
    let (near, mut far) = pair_with_std().await;
    let mut near = TcpStream::from_std(near).unwrap();
    spawn(async move {
        let mut byte = [0];
        while let Ok(1) = far.read(&mut byte).await {
            far.write_all(&byte).await.unwrap();
        }
    });
    let mut byte = [0];
    for _ in 0..count {
        near.write_all(b".").await.unwrap();
        near.read_exact(&mut byte).await.unwrap();
    }
}

/// How many KiB some round trips touch beside idle tasks and sockets.
fn touched_beside(tasks: usize, sockets: usize) -> usize {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let mut idle = Vec::new();
        for _ in 0..sockets {
            let listener = StdListener::bind(anywhere()).unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            let mut cx = Context::from_waker(Waker::noop());
            assert!(listener.poll_accept(&mut cx).is_pending());
            idle.push(listener);
        }
        for _ in 0..tasks {
            spawn(pending::<()>());
        }
        // All that is set up once is there, what the count itself needs included.
        round_trips(10).await;
        let _ = accessed_kib();
        forget_accesses();
        round_trips(10).await;
        let touched = accessed_kib();
        assert!(sources(&runtime) >= sockets);
        touched
    })
}

/// Lets the process have so many descriptors, or as many as it may; returns how many.
fn raise_limit(wanted: usize) -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer must be valid for writing one `rlimit`: it is the local above.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(result, 0);
    let wanted = u64::try_from(wanted).unwrap().min(limit.rlim_max);
    limit.rlim_cur = limit.rlim_cur.max(wanted);
    // SAFETY: the pointer must be valid for reading one `rlimit`: it is the local above.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(result, 0);
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

#[test]
fn a_turn_touches_few_pages_more_beside_thousands_of_idle_tasks_and_sockets() {
    // SAFETY: no pointers are passed. (A mark would be a large page's.)
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    let sockets = SOCKETS.min(raise_limit(SOCKETS + OTHERS) - OTHERS);
    within(LIMIT, || {
        let alone = touched_beside(0, 0);
        for (tasks, sockets) in [(0, sockets), (TASKS, 0)] {
            let beside = touched_beside(tasks, sockets);
            assert!(
                beside <= alone + 128,
                "{beside} KiB beside {tasks} tasks and {sockets} sockets, {alone} KiB beside none"
            );
        }
    });
}
