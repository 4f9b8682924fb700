//! A kernel that has not counted ticks for long, as a virtual processor's that did not run: the coarse clock is behind.
#![expect(
    unsafe_code,
    reason = "only a function of the same name replaces one of libc's"
)]

mod common;

use std::future::pending;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use common::run;
use common::sockets::poll_here;
use runtime::time::{Instant, sleep, timeout};

/// By how many seconds the coarse clock is behind the exact one.
static LAG: AtomicI64 = AtomicI64::new(0);

/// What this process has instead of libc's function.
#[unsafe(no_mangle)]
extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    let lag = match clock {
        libc::CLOCK_MONOTONIC_COARSE => LAG.load(Ordering::Relaxed),
        _ => 0,
    };
    // SAFETY: the caller passes what the call needs: a pointer that is valid for writing.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    // SAFETY: as above.
    let seconds = unsafe { &raw mut (*time).tv_sec };
    // SAFETY: as above, and the call has written it.
    unsafe { *seconds -= lag };
    i32::try_from(result).unwrap()
}

#[test]
fn a_timer_that_has_fired_is_done_however_far_the_coarse_clock_is_behind() {
    LAG.store(3600, Ordering::Relaxed);
    let before = Instant::now();
    run(async {
        sleep(Duration::from_millis(1)).await;
        let never = pending::<()>();
        assert!(timeout(Duration::from_millis(1), never).await.is_err());
        let mut timer = sleep(Duration::MAX);
        assert!(poll_here(&mut timer).await.is_pending());
        timer.reset(Instant::now() + Duration::from_millis(1));
        timer.await;
    });
    assert!(before.elapsed() >= Duration::from_millis(3));
}
