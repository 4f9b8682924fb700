//! Faults that come again and again, and what only shows where several meet.

use std::io::{Read as _, Write as _};
use std::net::TcpStream as StdStream;
use std::pin::pin;

use libc::{EAGAIN, EINTR, EMFILE, ENOMEM, ENOSPC};
use runtime::Runtime;
use runtime::io::AsyncReadExt;
use runtime::net::TcpStream;
use runtime::time::{Duration, Instant, sleep};

use super::alone;
use super::common::sockets::{full_listener, poll_here, sources};
use super::common::{LIMIT, listen, open_fds, pair_with_std, within};
use super::journal::Outcome;
use super::script::{self, Call, Fault, Faults, Script, Way, aside, aside_async};
use super::sweep::lived;
use super::table::{ACCEPT_EXHAUSTED, ACCEPT_TRANSIENT};

const fn refused(call: Call, errno: libc::c_int) -> Fault {
    Fault {
        call,
        errno,
        way: Way::Refused,
    }
}

const NO_SPACE: Fault = refused(Call::EpollAdd, ENOSPC);

/// Every call that a signal may interrupt.
const INTERRUPTIONS: &[Fault] = &[
    refused(Call::EpollAdd, EINTR),
    refused(Call::EpollMod, EINTR),
    refused(Call::EpollDel, EINTR),
    refused(Call::EpollWait, EINTR),
    refused(Call::TimerFdSetTime, EINTR),
    refused(Call::Write, EINTR),
    refused(Call::Accept, EINTR),
    refused(Call::Recv, EINTR),
    refused(Call::RecvMsg, EINTR),
    refused(Call::Send, EINTR),
    refused(Call::SendMsg, EINTR),
    Fault {
        call: Call::Connect,
        errno: EINTR,
        way: Way::Done,
    },
];

/// Runs a test in a runtime that is empty, and a process that has no more descriptors, after it.
fn leaving_nothing(test: impl AsyncFnOnce()) {
    let _alone = alone();
    let before = open_fds();
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(test());
        script::follow(Script::EMPTY);
        runtime.block_on(async {});
        assert_eq!(sources(&runtime), 0);
    });
    assert_eq!(open_fds(), before);
}

/// How often this thread has made a call since it began to follow its script.
fn made(call: Call) -> u32 {
    script::tally().made(call)
}

#[test]
fn signals_that_interrupt_every_second_call_end_nothing() {
    let _alone = alone();
    let script = Script {
        every: 2,
        ..Script::always(Faults::Each(INTERRUPTIONS))
    };
    let tally = lived("each second call is interrupted", script, Outcome::Mended);
    assert!(tally.injected > 50, "{}", tally.injected);
}

#[test]
fn a_thousand_refused_registrations_leave_no_entry_and_the_sockets_work_after_that() {
    leaving_nothing(async || {
        let (listener, address) = listen().await;
        let (mut peer, mut stream) = pair_with_std().await;
        script::follow(Script::always(Faults::One(NO_SPACE)));
        let mut buffer = [0; 8];
        for _ in 0..1000 {
            let error = listener.accept().await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(ENOSPC));
            let error = stream.read(&mut buffer).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(ENOSPC));
            let error = stream.writable().await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(ENOSPC));
        }
        peer.write_all(b"1").unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 1);
        script::follow(Script::EMPTY);
        assert!(poll_here(&mut stream.read(&mut buffer)).await.is_pending());
        peer.write_all(b"22").unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 2);
        let mut accept = pin!(listener.accept());
        assert!(poll_here(&mut accept).await.is_pending());
        let _client = StdStream::connect(address).unwrap();
        accept.await.unwrap();
    });
}

#[test]
fn a_connect_that_cannot_be_waited_for_says_so() {
    leaving_nothing(async || {
        let (_listener, address, _clients) = full_listener().await;
        script::follow(Script::always(Faults::One(NO_SPACE)));
        let error = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(ENOSPC));
    });
}

#[test]
fn accepting_rests_once_for_each_time_that_resources_are_missing() {
    const TIMES: u32 = 3;
    for &errno in ACCEPT_EXHAUSTED {
        leaving_nothing(async || {
            let (listener, address) = listen().await;
            let _client = StdStream::connect(address).unwrap();
            script::follow(Script {
                until: TIMES,
                ..Script::always(Faults::One(refused(Call::Accept, errno)))
            });
            listener.accept().await.unwrap();
            assert_eq!(made(Call::Accept), TIMES + 1);
        });
    }
}

#[test]
fn accepting_that_can_neither_go_on_nor_rest_says_why_it_cannot_go_on() {
    const FAULTS: &[Fault] = &[refused(Call::Accept, EMFILE), NO_SPACE];
    leaving_nothing(async || {
        let (listener, address) = listen().await;
        let _client = StdStream::connect(address).unwrap();
        script::follow(Script::always(Faults::Each(FAULTS)));
        let error = listener.accept().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(EMFILE));
        script::follow(Script::EMPTY);
        listener.accept().await.unwrap();
    });
}

#[test]
fn a_connection_lost_in_the_backlog_costs_only_itself() {
    for &errno in ACCEPT_TRANSIENT {
        leaving_nothing(async || {
            let (listener, address) = listen().await;
            let connect = || StdStream::connect(address).unwrap();
            let (mut lost, next) = (connect(), connect());
            let fault = Fault {
                way: Way::Done,
                ..refused(Call::Accept, errno)
            };
            script::follow(Script::once(fault, 0));
            let (_server, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, next.local_addr().unwrap());
            assert_eq!(aside(|| lost.read(&mut [0]).unwrap_or(0)), 0);
        });
    }
}

#[test]
fn timers_fire_and_the_loop_does_not_spin_while_the_alarm_cannot_be_set() {
    leaving_nothing(async || {
        let fault = Faults::One(refused(Call::TimerFdSetTime, ENOMEM));
        script::follow(Script::always(fault));
        let start = Instant::now();
        for millis in [1, 10, 3] {
            let limit = Duration::from_millis(millis);
            let start = Instant::now();
            sleep(limit).await;
            assert!(start.elapsed() >= limit);
        }
        // Each wait takes a millisecond, but for the one that begins each sleep.
        let turns = start.elapsed().as_millis() + 6;
        assert!(u128::from(made(Call::EpollWait)) <= turns);
        script::follow(Script::EMPTY);
        sleep(Duration::from_millis(20)).await;
        assert_eq!(made(Call::TimerFdSetTime), 1);
        assert!(made(Call::EpollWait) < 5, "the alarm is set again");
    });
}

#[test]
fn an_event_without_data_is_followed_by_the_next_one() {
    let fault = Fault {
        way: Way::Announced,
        ..refused(Call::Recv, EAGAIN)
    };
    leaving_nothing(async || {
        let (mut peer, mut stream) = aside_async(pair_with_std()).await;
        let mut buffer = [0; 8];
        assert!(poll_here(&mut stream.read(&mut buffer)).await.is_pending());
        peer.write_all(b"late").unwrap();
        script::follow(Script {
            until: 100,
            ..Script::always(Faults::One(fault))
        });
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 4);
        assert_eq!(made(Call::Recv), 101);
    });
}
