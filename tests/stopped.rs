//! A process that is stopped for a while and continued: late timers, and everything that came meanwhile.

mod common;

use std::cell::RefCell;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use common::process::{alone, in_a_child};
use common::sockets::{counted, rounds};
use common::{listen_at_localhost, turn_of_all};
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::{TcpListener, TcpStream};
use runtime::time::{Duration, Instant, MissedTickBehavior, interval, sleep_until};
use socket2::SockRef;

/// How long the process stands still.
const STANDSTILL: Duration = Duration::from_secs(3);
/// How many connections wait for it in its backlog.
const CALLERS: usize = 50;

/// Times that pass before, during and after the standstill.
fn offsets() -> impl Iterator<Item = Duration> {
    (1..=4000).map(Duration::from_millis)
}

/// Sleeps side by side, each of which ends once, in order and not early.
async fn timers() {
    let start = Instant::now();
    let ended = Rc::new(RefCell::new(Vec::new()));
    let sleep = |offset| {
        let ended = Rc::clone(&ended);
        runtime::spawn(async move {
            let polls = Arc::new(AtomicUsize::new(0));
            counted(Arc::clone(&polls), sleep_until(start + offset)).await;
            assert!(start + offset <= Instant::now());
            // Once to begin and once to end, unless it was over when it began.
            assert!(polls.load(Ordering::SeqCst) <= 2);
            ended.borrow_mut().push(offset);
        })
    };
    for task in Vec::from_iter(offsets().map(sleep)) {
        task.await.unwrap();
    }
    assert!(offsets().eq(ended.take()));
}

/// Ticks, none of which is early; what the standstill swallowed is made up for, left out, or shifts the rest.
async fn ticks(behavior: MissedTickBehavior) {
    const PERIOD: Duration = Duration::from_millis(100);
    let mut interval = interval(PERIOD);
    interval.set_missed_tick_behavior(behavior);
    let start = interval.tick().await;
    let (mut last, mut next) = (start, start + PERIOD);
    while start.elapsed() < STANDSTILL + PERIOD {
        let tick = interval.tick().await;
        assert!(tick <= Instant::now());
        match behavior {
            MissedTickBehavior::Burst => assert_eq!(tick, next),
            MissedTickBehavior::Delay => assert!(last + PERIOD <= tick),
            MissedTickBehavior::Skip => {
                let since = (tick - start).as_nanos();
                assert!(last < tick && since.is_multiple_of(PERIOD.as_nanos()));
            }
        }
        (last, next) = (tick, next + PERIOD);
    }
}

/// Sends back what comes until the end.
async fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).await.unwrap() {
            0 => return,
            length => stream.write_all(&buffer[..length]).await.unwrap(),
        }
    }
}

/// What the process does that is stopped: it calls its parent, and is called.
async fn live(parent: SocketAddr) {
    let (listener, address) = listen_at_localhost().await;
    let [mut talking, mut ending, mut resetting] = [
        TcpStream::connect(parent).await.unwrap(),
        TcpStream::connect(parent).await.unwrap(),
        TcpStream::connect(parent).await.unwrap(),
    ];
    let lasting = Vec::from([
        runtime::spawn(timers()),
        runtime::spawn(ticks(MissedTickBehavior::Burst)),
        runtime::spawn(ticks(MissedTickBehavior::Skip)),
        runtime::spawn(ticks(MissedTickBehavior::Delay)),
        runtime::spawn(async move {
            assert_eq!(ending.read(&mut [0]).await.unwrap(), 0);
            let error = resetting.read(&mut [0]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }),
        runtime::spawn(answer(listener)),
    ]);
    turn_of_all().await;
    // All wait now, and the parent may stop this process.
    rounds(3).await;
    let port = address.port().to_be_bytes();
    talking.write_all(&port).await.unwrap();
    echo(talking).await;
    for task in lasting {
        task.await.unwrap();
    }
}

/// Answers those who called while the process stood still.
async fn answer(listener: TcpListener) {
    for _ in 0..CALLERS {
        let (stream, _) = listener.accept().await.unwrap();
        echo(stream).await;
    }
}

#[test]
fn a_process_that_stood_still_for_three_seconds_has_lost_nothing() {
    alone(|| {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let child = in_a_child(|| runtime::block_on(live(address)));
        let accept = |_| listener.accept().unwrap().0;
        let [mut talking, ending, resetting] = [(); 3].map(accept);
        let mut port = [0; 2];
        talking.read_exact(&mut port).unwrap();
        child.stop();
        let begin = Instant::now();
        let said = Vec::from_iter((0..1 << 16).map(|at: usize| at.to_le_bytes()[1]));
        talking.write_all(&said).unwrap();
        drop(ending);
        SockRef::from(&resetting)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(resetting);
        let callee = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::from_be_bytes(port)));
        let call = |_| {
            let mut caller = StdStream::connect(callee).unwrap();
            caller.write_all(b"!").unwrap();
            caller
        };
        let callers = Vec::from_iter((0..CALLERS).map(call));
        // The standstill is the subject, nothing is awaited by it.
        thread::sleep(STANDSTILL.saturating_sub(begin.elapsed()));
        child.resume();
        let mut heard = vec![0; said.len()];
        talking.read_exact(&mut heard).unwrap();
        assert!(said == heard);
        for mut caller in callers {
            caller.read_exact(&mut [0]).unwrap();
        }
        drop(talking);
        child.join();
    });
}
